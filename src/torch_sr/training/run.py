"""Train the networks of a configuration, and store models and checkpoints."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from lightning_fabric import Fabric

from torch_sr.aliases import Progress
from torch_sr.config import PSNR_STAGE, Hyperparameters, load_config, parse_config
from torch_sr.errors import CheckpointError, ConfigError
from torch_sr.evaluation.metric_table import MetricFunction
from torch_sr.losses import PerceptualLoss
from torch_sr.models.zoo import find_model
from torch_sr.networks.rrdb import RRDBNet
from torch_sr.training.agreement import check_same_images, check_same_run, share_start
from torch_sr.training.building import (
    build_generator,
    build_perceptual_loss,
    build_stage,
    prepare_network,
)
from torch_sr.training.context import RunContext
from torch_sr.training.launch import (
    explain_lost_process,
    is_first_process,
    launch,
    leave_in_order,
)
from torch_sr.training.loggers.base import Logger
from torch_sr.training.loggers.combined import CombinedLogger
from torch_sr.training.loggers.opening import open_loggers
from torch_sr.training.loop.trainer import Trainer
from torch_sr.training.notes import describe_no_validation, notes_on_stage
from torch_sr.training.runs.names import find_checkpoint, reserved_run
from torch_sr.training.runs.result import StageResult, TrainingResult
from torch_sr.training.runs.starting_point import StartingPoint, read_start
from torch_sr.training.settings import RunSettings
from torch_sr.training.stage_data import StageData, open_stage_data
from torch_sr.training.validation import (
    PERCEPTUAL_LOSS,
    build_extra_metrics,
    check_extra_metrics,
)

_NOT_MEASURED = (
    "val/perceptual_loss is not measured, because this stage does not learn from it; add "
    "--val-metrics perceptual_loss to measure it"
)


def train(
    config: Hyperparameters | Mapping[str, Any] | str | Path,
    settings: RunSettings | None = None,
    *,
    loggers: Sequence[Logger] = (),
    start: StartingPoint | None = None,
    cache_progress: Progress | None = None,
) -> TrainingResult:
    """Train the networks of a configuration, as ``torch-sr train`` does.

    The PSNR stage runs first, then the GAN stage. Everything that can fail is checked before the
    first step: data, weights of the perceptual loss, the model or checkpoint to start from.

    Args:
        config: the hyper-parameters, or a JSON file or dict of them; a stage with ``num_epoch`` 0
            is left out.
        settings: everything else, such as folders, device and intervals. A checkpoint in
            ``resume`` is resumed; a model is the start of a new run.
        loggers: loggers in addition to those that the settings select; all are closed at the end.
        start: the result of reading ``settings.resume``, if it was read already.
        cache_progress: called while images are decoded for the first time.

    Returns:
        the paths of the models and checkpoints, with their scores.

    Raises:
        ConfigError: a hyper-parameter is wrong, or a validation metric is unknown.
        CheckpointError: a checkpoint cannot be resumed or written, or the name is taken.
        DataError, ImageError: the data are missing or unfit.
        DeviceError: the device or precision is not available.
        LogError: the logs cannot be written.
        ModelError: the weights of the perceptual loss are not available, or a model cannot be
            read.
        TrainingError: the training diverges, see :class:`~torch_sr.config.WatchConfig`, or another
            of several processes ended.

    >>> import tempfile
    >>> import numpy as np
    >>> from torch_sr.images import Image, write_image
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for number in range(4):  # images to learn from
    ...         pixels = np.random.default_rng(number).integers(0, 256, (32, 32, 3), np.uint8)
    ...         _ = write_image(f"{folder}/{number}.png", Image(pixels))
    ...     config = {
    ...         "batch_size": 2,
    ...         "generator": {"rrdb_channels": 4, "growth_channels": 2, "num_basic_blocks": 1},
    ...         "pretraining": {
    ...             "num_epoch": 2,
    ...             "cr_patch_size": [16, 16],
    ...             "train_datasets": [folder],
    ...             "val_datasets": [],
    ...         },
    ...         "training": {"num_epoch": 0},
    ...     }
    ...     settings = RunSettings(out_dir=Path(folder, "out"), name="tiny", tensorboard=False)
    ...     result = train(config, settings)
    ...     print(result.finished, result.last_model.name, result.last_model.is_file())
    True tiny_RRDB_PSNR_x4_model.safetensors True
    """
    hparams = _read_hparams(config)
    settings = settings or RunSettings()
    with ExitStack() as stack:
        for logger in loggers:
            stack.callback(logger.close)
        start = start or _read_start(settings)
        run = stack.enter_context(reserved_run(settings, start))
        if is_first_process():
            opened = open_loggers(settings, run)
            for logger in opened:
                stack.callback(logger.close)
            loggers = [*loggers, *opened]
        return train_run(
            hparams,
            settings,
            run=run,
            start=start,
            loggers=loggers,
            cache_progress=cache_progress,
        )


def train_run(
    config: Hyperparameters,
    settings: RunSettings,
    *,
    run: str,
    start: StartingPoint | None = None,
    loggers: Sequence[Logger] = (),
    cache_progress: Progress | None = None,
) -> TrainingResult:
    """Train with a given name and only the given loggers; otherwise like :func:`train`.

    Args:
        config: the hyper-parameters.
        settings: everything else.
        run: the name of the run, reserved by the caller.
        start: see :func:`train`.
        loggers: closed by the caller.
        cache_progress: see :func:`train`.
    """
    if not config.stages:
        raise ConfigError("pretraining.num_epoch and training.num_epoch are both 0; raise one")
    check_extra_metrics(settings.val_metrics)
    with leave_in_order(), explain_lost_process():
        start = start or _read_start(settings)
        changes = start.check(config)
        fabric = launch(settings)
        context = RunContext(
            fabric.broadcast(run),  # a name derived from the time differs between processes
            fabric,
            config,
            settings,
            CombinedLogger(loggers if fabric.is_global_zero else ()),
        )
        check_same_run(fabric, config, settings)
        shared = share_start(fabric, start)
        changes = changes if shared is start else shared.check(config)
        data, perceptual = _open_in_turn(context, shared.stages(config), cache_progress)
        check_same_images(fabric, data)
        return _train_stages(context, shared, changes, data, perceptual)


def _read_hparams(config: Hyperparameters | Mapping[str, Any] | str | Path) -> Hyperparameters:
    if isinstance(config, Hyperparameters):
        return config
    return parse_config(config) if isinstance(config, Mapping) else load_config(config)


def _read_start(settings: RunSettings) -> StartingPoint:
    """Read the newest checkpoint for ``resume_auto``, otherwise what ``resume`` names."""
    if settings.resume_auto:
        found = find_checkpoint(settings.models_dir, settings.name)
        if found is not None:
            return read_start(found)
    path = None if settings.resume is None else find_model(settings.resume)
    return read_start(path, stage=settings.start_stage, partial=settings.partial)


def _open_in_turn(
    context: RunContext, stages: Sequence[str], progress: Progress | None
) -> tuple[dict[str, StageData], PerceptualLoss | None]:
    """Open the data of the stages and the perceptual loss: decode images, download weights.

    The first process comes first, then the first of each machine, which may have a cache of its
    own, then the others.
    """
    fabric = context.fabric

    def open_all() -> tuple[dict[str, StageData], PerceptualLoss | None]:
        extra = _build_extra_metrics(fabric, context.config, context.settings)
        data = {name: open_stage_data(name, context, extra, progress) for name in stages}
        return data, _build_perceptual(context, data)

    with fabric.rank_zero_first():
        opened = open_all() if fabric.is_global_zero else None
    with fabric.rank_zero_first(local=True):
        return open_all() if opened is None else opened


def _build_extra_metrics(
    fabric: Fabric, config: Hyperparameters, settings: RunSettings
) -> dict[str, MetricFunction]:
    """Build the extra metrics on the first process, the only one that validates."""
    if not fabric.is_global_zero:
        return {}
    return build_extra_metrics(settings.val_metrics, config.scale_factor, str(fabric.device))


def _build_perceptual(
    context: RunContext, stages: Mapping[str, StageData]
) -> PerceptualLoss | None:
    """The perceptual loss on the device, if a stage learns from it or measures it."""
    config, settings = context.config, context.settings
    learned = any(map(config.needs_features, stages))
    if not learned and PERCEPTUAL_LOSS not in settings.val_metrics:
        return None
    return prepare_network(build_perceptual_loss(config), settings).to(context.fabric.device)


def _train_stages(
    context: RunContext,
    start: StartingPoint,
    changes: Sequence[str],
    data: Mapping[str, StageData],
    perceptual: PerceptualLoss | None,
) -> TrainingResult:
    """Train one stage after another; each starts with the generator of the previous one."""
    config, settings = context.config, context.settings
    generator = prepare_network(build_generator(config), settings)
    notes = [*start.describe(config), *start.fill(generator)]
    trained = start.model is not None
    results: list[StageResult] = []
    for name in data:
        trainer = _build_trainer(context, name, data[name], generator, perceptual, trained)
        notes += _describe_stage(context, start, name, data, perceptual)
        results.append(_fit(trainer, start, changes, notes))
        if not results[-1].finished:
            break
        if name == PSNR_STAGE:
            generator.load_state_dict(trainer.stage.evaluated.state_dict())
        trained, notes = True, []
    # If the first process dies while it stores the model, the others must not have finished.
    context.fabric.barrier()
    return TrainingResult(tuple(results))


def _build_trainer(
    context: RunContext,
    name: str,
    data: StageData,
    generator: RRDBNet,
    perceptual: PerceptualLoss | None,
    trained: bool,
) -> Trainer:
    stage = build_stage(
        name,
        context,
        generator=generator,
        perceptual=perceptual,
        total_steps=data.total_steps,
    )
    return Trainer(context, stage, data, measure_start=trained)


def _fit(
    trainer: Trainer, start: StartingPoint, changes: Sequence[str], notes: Sequence[str]
) -> StageResult:
    """Train a stage; restore its checkpoint first if the run starts from one."""
    checkpoint = start.checkpoint
    if checkpoint is not None and checkpoint["stage"] == trainer.stage.name:
        changes = [*changes, *_restore(trainer, start, checkpoint)]
        notes = [f"changed since the checkpoint: {change}" for change in changes]
    return trainer.fit(notes)


def _restore(trainer: Trainer, start: StartingPoint, checkpoint: Mapping[str, Any]) -> list[str]:
    try:
        return trainer.store.restore(checkpoint)
    except (AttributeError, KeyError, RuntimeError, TypeError, ValueError) as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise CheckpointError(
            f"{start.path}: use an earlier checkpoint, or start a new run from a model: the "
            f"contents of this one cannot be restored ({reason})"
        ) from error


def _describe_stage(
    context: RunContext,
    start: StartingPoint,
    name: str,
    data: Mapping[str, StageData],
    perceptual: PerceptualLoss | None,
) -> Iterator[str]:
    """Notes for the user about a stage, before it starts."""
    stage = data[name]
    if not stage.validation:
        yield describe_no_validation(name)
    elif perceptual is None:
        yield _NOT_MEASURED
    yield from notes_on_stage(
        context.config,
        name,
        batch_size=stage.sampler.batch_size,
        steps=stage.total_steps,
        from_scratch=start.path is None and name == next(iter(data)),
    )

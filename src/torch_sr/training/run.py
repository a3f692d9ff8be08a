"""From a configuration and a run's settings to a trained model: puts the parts together."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import nn

from torch_sr.config import Hyperparameters
from torch_sr.data.cache import Progress as CacheProgress
from torch_sr.data.loaders import RandomCrops, training_loader
from torch_sr.data.open import open_pairs
from torch_sr.devices import FABRIC_PRECISIONS, choose_device, choose_precision
from torch_sr.errors import CheckpointError
from torch_sr.models.loading import load_generator
from torch_sr.models.rrdb import RRDBNet
from torch_sr.training.checkpoints import is_checkpoint, load_checkpoint
from torch_sr.training.loggers import Logger
from torch_sr.training.stages import PSNRStage
from torch_sr.training.trainer import Intervals, RunFiles, StageLimits, Trainer


@dataclass(frozen=True)
class RunSettings:
    """The settings of one run: everything that is not a hyper-parameter.

    Args:
        data_root: where the data sets lie.
        out_dir: parent of ``saved_models/`` and ``logs/``.
        resume: a checkpoint to go on from, or a model to start from.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        precision: ``fp32``, ``bf16`` or ``fp16``; mixed, with weights in fp32.
        num_workers: processes that cut crops; 0 does it in the training process.
        intervals: how often to validate and store.
        cache_dir: where decoded images are kept.
    """

    data_root: Path = Path("data")
    out_dir: Path = Path()
    resume: Path | None = None
    device: str = "auto"
    precision: str = "fp32"
    num_workers: int = 0
    intervals: Intervals = field(default_factory=Intervals)
    cache_dir: Path | None = None

    @property
    def models_dir(self) -> Path:
        """Where checkpoints and models are stored."""
        return self.out_dir / "saved_models"

    def logs_dir(self, run: str) -> Path:
        """Where the logs of a run are stored."""
        return self.out_dir / "logs" / run


@dataclass(frozen=True)
class TrainingResult:
    """How a training ended: ``finished`` is False where a signal stopped it before its limits."""

    finished: bool
    checkpoint: Path
    model: Path | None


def new_run_name() -> str:
    """A name for a run: the time it started, in seconds, so that names sort."""
    return str(int(time.time()))


def pretrain(
    config: Hyperparameters,
    settings: RunSettings,
    *,
    run: str,
    loggers: Sequence[Logger] = (),
    cache_progress: CacheProgress | None = None,
) -> TrainingResult:
    """Run the PSNR-driven stage of a configuration (description, section 8.1).

    Args:
        config: the hyper-parameters.
        settings: everything else.
        run: a name, the first part of all files of the run; see :func:`run_name`.
        loggers: told of all that happens; closed by the caller.
        cache_progress: called while images are decoded for the first time.

    Raises:
        CheckpointError: when the checkpoint to go on from does not fit, or none can be written.
        DataError, ImageError: when the data are missing or unfit.
        DeviceError: when device or precision is not to be had.
    """
    stage_config = config.pretraining
    fabric = _fabric(settings)
    shared: dict[str, Any] = {
        "data_root": settings.data_root,
        "scale_factor": config.scale_factor,
        "channels": config.img_channels,
        "cache_dir": settings.cache_dir,
        "progress": cache_progress,
    }
    images = open_pairs(stage_config.train_datasets, purpose="train", **shared)
    validation = (
        open_pairs(stage_config.val_datasets, purpose="val", **shared)
        if stage_config.val_datasets
        else None
    )
    crops = RandomCrops(images, stage_config.cr_patch_size, config.seed)
    loader, sampler = training_loader(crops, config.batch_size, settings.num_workers)
    total_steps = stage_config.num_epoch * sampler.batches
    if stage_config.num_steps is not None:
        total_steps = min(total_steps, stage_config.num_steps)

    torch.manual_seed(config.seed)
    # Convolutions run a quarter faster on channels-last weights, on CPUs and tensor cores alike.
    generator = RRDBNet(**config.generator_kwargs).to(memory_format=torch.channels_last)
    stage = PSNRStage(fabric, generator, stage_config, config.content_loss.loss_f, total_steps)
    trainer = Trainer(
        fabric=fabric,
        stage=stage,
        loader=loader,
        sampler=sampler,
        validation=validation,
        limits=StageLimits(stage_config.num_epoch, stage_config.num_steps),
        intervals=settings.intervals,
        files=RunFiles(settings.models_dir, run, stage.label, config.scale_factor),
        loggers=loggers,
        hparams=config.to_dict(),
        datasets=stage_config.train_datasets,
    )
    if settings.resume is not None:
        _continue_from(trainer, settings.resume)
    finished = trainer.fit()
    return TrainingResult(
        finished, trainer.checkpoint_file, trainer.model_file if finished else None
    )


def run_name(settings: RunSettings) -> str:
    """The name of the run whose checkpoint is gone on with, or a new one."""
    if settings.resume is None or not is_checkpoint(settings.resume):
        return new_run_name()
    return str(load_checkpoint(settings.resume)["run"])


def _fabric(settings: RunSettings) -> Fabric:
    device = choose_device(settings.device)
    precision = choose_precision(settings.precision, device)
    return Fabric(
        accelerator=device.type,
        devices=1,
        precision=FABRIC_PRECISIONS[precision],  # type: ignore[arg-type]
    )


def _continue_from(trainer: Trainer, path: Path) -> None:
    if not is_checkpoint(path):
        _start_from(trainer.stage.generator, path)
        return
    state = load_checkpoint(path)
    if state["stage"] != trainer.stage.name:
        raise CheckpointError(f"{path}: a checkpoint of {state['stage']}, not of pre-training")
    if state["hparams"]["generator"] != trainer.hparams["generator"]:
        raise CheckpointError(
            f"{path}: its generator is {state['hparams']['generator']}, the configuration's is "
            f"{trainer.hparams['generator']}; use the configuration it was trained with"
        )
    trainer.load_state_dict(state)


def _start_from(generator: nn.Module, path: Path) -> None:
    """Take over the weights of a finished model, of whatever file format and layout."""
    found = load_generator(path)
    try:
        generator.load_state_dict(found.network.state_dict())
    except RuntimeError as error:
        raise CheckpointError(
            f"{path}: holds a {found.info.architecture} with {found.info.hparams}, which is not "
            "the generator of the configuration"
        ) from error

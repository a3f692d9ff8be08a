"""Plan a training for a folder of photographs and this machine.

``torch-sr train --images FOLDER`` needs no other option. Everything else is decided here: the
images for training and validation (:mod:`torch_sr.data.photos.selection`), the model to start from,
and the crop size, batch size, learning rate and length, for which the speed of this machine is
measured. The result is an ordinary configuration with ordinary settings: the user can read it,
change it, and run it again.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from torch_sr.aliases import Progress
from torch_sr.config import GAN_STAGE, PSNR_STAGE, Hyperparameters
from torch_sr.data.photos.selection import ChosenImages, choose_images
from torch_sr.errors import CheckpointError, ConfigError, DataError, ModelError
from torch_sr.losses import PerceptualLoss
from torch_sr.machine import usable_cpus
from torch_sr.models.zoo import find_model
from torch_sr.training.building import build_perceptual_loss
from torch_sr.training.launch import launch
from torch_sr.training.photos.draft import ConfigDraft, choose_crop, image_size, least_crop
from torch_sr.training.photos.plan import TrainingPlan, holds_training
from torch_sr.training.preflight.disk import check_room, stored_bytes
from torch_sr.training.preflight.options import check_logs, check_options
from torch_sr.training.preflight.pace import Pace, measure_pace
from torch_sr.training.runs.checkpoints import load_newest
from torch_sr.training.runs.starting_point import StartingPoint
from torch_sr.training.settings import Every, RunSettings

DEFAULT_START = "compact-x4"
_MINUTES, _MINUTES_FROM_SCRATCH = 15.0, 60.0
_VALIDATIONS = 10
_VALIDATION_SHARE = 0.2  # of the time, at most
_PLANNED_SHARE = 0.95  # of the time
_WORKERS = 4


def plan_training(
    images: Path,
    settings: RunSettings,
    *,
    start: str | None = DEFAULT_START,
    minutes: float | None = None,
    gan: bool = False,
    overrides: Sequence[str] = (),
    progress: Progress | None = None,
) -> TrainingPlan:
    """Inspect a folder, measure this machine, plan a training, and write the lists of images.

    Args:
        images: a folder of photographs.
        settings: the settings of the run, such as output folder, device and precision; intervals
            and workers are planned.
        start: the name or path of a model; None for a training from scratch.
        minutes: duration of the training; by default 15, or 60 from scratch.
        gan: add the GAN stage, for half of the time.
        overrides: hyper-parameters that the user sets, see
            :func:`~torch_sr.config.parse_config`.
        progress: called with the number of images inspected and their total number.

    Raises:
        ConfigError: the output folder already contains a training, or an override is wrong.
        DataError: the folder is unfit, see
            :func:`~torch_sr.data.photos.selection.choose_images`.
        CheckpointError: the start is a checkpoint, or the disk has no room for checkpoints.
        LogError: the output folder cannot be written to.
        ModelError: the model cannot be read, or the weights of the perceptual loss are not
            available.
        DeviceError: a mini-batch does not fit into the memory of the device.
    """
    _refuse_second(settings.out_dir)
    _check_early(settings, start)
    minutes = minutes or (_MINUTES if start is not None else _MINUTES_FROM_SCRATCH)
    fabric = launch(settings)
    draft = ConfigDraft(start, gan, overrides, fabric.device.type, partial=settings.partial)
    config = draft.config()
    least = least_crop(config.scale_factor)
    chosen = choose_images(
        images,
        scale_factor=config.scale_factor,
        crop_size=(least, least),
        seed=config.seed,
        progress=progress,
    )
    draft.set_crop(choose_crop(chosen.training, config.scale_factor, fabric.device.type))
    chosen = _drop_small(chosen, draft.config())
    draft.limit_batch(len(chosen.training))
    config = draft.config()
    features = any(map(config.needs_features, config.stages))
    perceptual = _perceptual_loss(config).to(fabric.device) if features else None
    sizes = [image_size(path) for path in chosen.validation]
    batch = min(config.batch_size, len(chosen.training))
    measured = config.model_copy(update={"batch_size": batch})
    pace = measure_pace(fabric, measured, settings, sizes, perceptual)
    need = stored_bytes(
        config, dict.fromkeys(config.stages, 0), settings.intervals.keep_checkpoints
    )
    check_room(settings.out_dir, "checkpoints and models", need)
    validations = _count_validations(pace, minutes * 60)
    draft.set_lengths(_steps(pace, minutes * 60, validations), len(chosen.training))
    draft.set_images(*chosen.write_lists(settings.out_dir))
    config = draft.config()
    settings = _complete(settings, config, validations, start, fabric.device.type)
    device = str(fabric.device)
    return TrainingPlan(images, chosen, config, settings, start, minutes, pace, device)


def _drop_small(chosen: ChosenImages, config: Hyperparameters) -> ChosenImages:
    """Leave out the images that are smaller than the crops.

    Raises:
        DataError: no image is left.
    """
    crops = [s.cr_patch_size for s in config.stages.values() if s.cr_patch_size is not None]
    height, width = (max(sides, default=1) for sides in zip(*crops, strict=True))
    small = {
        path: f"{w}x{h} pixels are smaller than the crop of {width}x{height}"
        for path in chosen.training
        for h, w in [image_size(path)]
        if h < height or w < width
    }
    kept = [path for path in chosen.training if path not in small]
    if not kept:
        raise DataError(
            f"lower pretraining.cr_patch_size: none of {len(small)} images is as large as a crop "
            f"of {width}x{height}"
        )
    return replace(chosen, training=kept, left_out=sorted([*chosen.left_out, *small.items()]))


def _perceptual_loss(config: Hyperparameters) -> PerceptualLoss:
    try:
        return build_perceptual_loss(config)
    except ModelError as error:
        if GAN_STAGE not in config.stages:
            raise
        raise ModelError(f"--no-gan leaves the GAN stage out, which needs them: {error}") from error


def _count_validations(pace: Pace, seconds: float) -> int:
    """The number of validations, which take at most a fifth of the time."""
    affordable = (
        int(_VALIDATION_SHARE * seconds / max(pace.validation, 1e-3)) - 1
    )  # and the start's
    return max(1, min(_VALIDATIONS, affordable))


def _steps(pace: Pace, seconds: float, validations: int) -> dict[str, int]:
    """The steps of each stage; the stages share the time equally."""
    left = _PLANNED_SHARE * seconds - (validations + 1) * pace.validation
    share = left / len(pace.step)
    return {stage: max(1, int(share / time)) for stage, time in pace.step.items()}


def _complete(
    settings: RunSettings,
    config: Hyperparameters,
    validations: int,
    start: str | None,
    device_type: str,
) -> RunSettings:
    steps = sum(section.num_steps or 0 for section in config.stages.values())
    every = Every(max(1, steps // validations), "steps")
    given = settings.intervals
    intervals = replace(
        given,
        validate=every if given.validate == Every(1) else given.validate,
        checkpoint=every if given.checkpoint == Every(1) else given.checkpoint,
        images=every if given.images == Every(1) else given.images,
    )
    workers = 0 if device_type == "cpu" else min(_WORKERS, usable_cpus())
    return replace(
        settings,
        resume=None if start is None else find_model(start),
        start_stage=None if start is None else PSNR_STAGE,
        intervals=intervals,
        num_workers=workers if settings.num_workers is None else settings.num_workers,
    )


def _refuse_second(out_dir: Path) -> None:
    if holds_training(out_dir):
        raise ConfigError(
            f"name another --out, or add --resume auto to resume the training that is already in "
            f"{out_dir}"
        )


def _check_early(settings: RunSettings, start: str | None) -> None:
    """Refuse early what would stop the training later.

    Raises:
        CheckpointError: the start is a checkpoint.
        LogError: the output folder cannot be written to.
    """
    check_options(settings, StartingPoint())
    check_logs(settings)
    if start is not None and load_newest(find_model(start)) is not None:
        raise CheckpointError(
            f"{start}: make a model of this checkpoint with 'torch-sr models extract "
            f"{shlex.quote(start)} MODEL', or leave out --images and give the configuration of "
            "its training to resume it"
        )

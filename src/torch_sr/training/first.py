"""A first training: from a folder of photographs and some minutes to a complete configuration.

``torch-sr train --images FOLDER`` needs no other option. What can be known beforehand is decided
here: which images are trained and validated on (:mod:`torch_sr.data.photos`), what the training
starts from, and crop, batch, learning rate and length for this machine, whose pace is measured.
The result is an ordinary configuration with ordinary settings: a person can read it, change it, and
run it again.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from torch_sr.config import Hyperparameters
from torch_sr.data.photos import ChosenImages, Progress, choose_images
from torch_sr.errors import CheckpointError, ConfigError, DataError, ModelError
from torch_sr.files import atomic_write, write_failure
from torch_sr.images import display_name
from torch_sr.losses import PerceptualLoss
from torch_sr.models.backbones import backbone_file
from torch_sr.models.zoo import find_model
from torch_sr.training.building import build_perceptual_loss
from torch_sr.training.checkpoints import load_newest
from torch_sr.training.launch import launch
from torch_sr.training.options import check_logs, check_options
from torch_sr.training.pace import Pace, measure_pace
from torch_sr.training.planning import steps_from_scratch
from torch_sr.training.resume import StartingPoint
from torch_sr.training.settings import Every, RunSettings
from torch_sr.training.sketch import Sketch, choose_crop, image_size, least_crop
from torch_sr.training.spelling import spell_run

DEFAULT_START = "compact-x4"
_MINUTES, _MINUTES_FROM_SCRATCH = 15.0, 60.0
_VALIDATIONS = 10
_VALIDATION_SHARE = 0.2  # of the time, at most
_SPARE = 0.95  # of the time is planned with
_WORKERS = 4
_FEW_STEPS = 50
_LONGER = 1.2  # times the minutes: worth a remark


@dataclass(frozen=True)
class FirstTraining:
    """A training that is planned and may start; :meth:`save` stores what it is made of.

    Args:
        images: the folder of photographs.
        chosen: what is trained and validated on.
        config: complete hyper-parameters.
        settings: of the run.
        start: the name or path of the model that the training starts from; None from scratch.
        minutes: planned for.
        pace: of this machine.
        device: that is trained on.
    """

    images: Path
    chosen: ChosenImages
    config: Hyperparameters
    settings: RunSettings
    start: str | None
    minutes: float
    pace: Pace
    device: str = "cpu"

    @property
    def config_file(self) -> Path:
        """The configuration, below the output folder."""
        return config_file(self.settings.out_dir)

    @property
    def command(self) -> str:
        """The command that trains the same again, from any folder."""
        return shlex.join(spell_run(self.config_file, self.settings, self.start))

    def save(self) -> None:
        """Write the configuration, the lists of images and the command into the output folder.

        Raises:
            ConfigError: when they cannot be written.
        """
        text = f"# Trains the same again; change {self.config_file.name} first to change it.\n"
        try:
            with atomic_write(self.config_file) as temporary:
                temporary.write_text(self.config.to_json(), encoding="utf-8")
            with atomic_write(command_file(self.settings.out_dir)) as temporary:
                temporary.write_text(f"{text}{self.command}\n", encoding="utf-8")
        except OSError as error:
            folder = self.settings.out_dir
            raise ConfigError(
                f"{folder}: name another --out-dir: {write_failure(error, folder)}"
            ) from error

    def describe(self) -> Iterator[str]:
        """Say what will be done, how long it takes and where the results are, a line each."""
        yield from _describe_images(self.images, self.chosen)
        yield from self._describe_start()
        yield from self._describe_steps()
        yield from self._describe_gan()
        out = self.settings.out_dir
        yield f"results: models in {self.settings.models_dir}, logs in {out / 'logs'}"
        yield f"configuration: {self.config_file}"
        yield f"the same again: {self.command}"

    def _describe_start(self) -> Iterator[str]:
        sizes = self.config.generator
        network = (
            f"x{self.config.scale_factor}, {sizes.rrdb_channels} channels, "
            f"{sizes.num_basic_blocks} blocks"
        )
        if self.start is not None:
            yield f"start: the model {self.start} ({network})"
            return
        yield f"start: from scratch ({network})"
        steps, needed = self._count_steps("pretraining"), steps_from_scratch(self.config)
        if steps < needed:
            yield (
                f"  give more --minutes, or start from a model (-l MODEL): a network from scratch "
                f"needs about {needed} steps to surpass bicubic interpolation, and has {steps}"
            )

    def _describe_steps(self) -> Iterator[str]:
        config, pace = self.config, self.pace
        batch = min(config.batch_size, len(self.chosen.training))
        for name, section in config.stages.items():
            steps, crop = self._count_steps(name), section.cr_patch_size
            assert crop is not None
            lr = config.pretraining.lr if name == "pretraining" else config.training.g_lr
            yield (
                f"{name}: {_count(steps, 'step')} of {_count(batch, 'crop')} of "
                f"{crop[1]}x{crop[0]} pixels ({pace.step[name]:.2g} s each on {self.device}), "
                f"learning rate {lr:g}"
            )
            if steps < _FEW_STEPS:
                yield "  these are few steps: give more --minutes"
        yield from self._describe_time()

    def _describe_time(self) -> Iterator[str]:
        every = self.settings.intervals.validate
        took = self._estimate() / 60
        yield (
            f"validation: every {every}, about {self.pace.validation:.2g} s each; in all about "
            f"{took:.2g} of the {self.minutes:g} minutes"
        )
        if took > _LONGER * self.minutes:
            yield (
                f"  this is more than --minutes {self.minutes:g}: a step and its validations take "
                "longer on this machine; smaller images or a smaller model are faster"
            )

    def _estimate(self) -> float:
        """Seconds of all steps and validations."""
        steps = {name: self._count_steps(name) for name in self.config.stages}
        every = self.settings.intervals.validate.in_steps(self._steps_per_epoch)
        # One at the start of each stage, and one at its end.
        times = sum(1 + -(-count // every) for count in steps.values())
        trained = sum(count * self.pace.step[name] for name, count in steps.items())
        return trained + times * self.pace.validation

    @property
    def _steps_per_epoch(self) -> int:
        return max(1, len(self.chosen.training) // self.config.batch_size)

    def _count_steps(self, name: str) -> int:
        """The steps of a stage, which its epochs may end earlier."""
        section = self.config.stages[name]
        most = section.num_epoch * self._steps_per_epoch
        return min(most, section.num_steps or most)

    def _describe_gan(self) -> Iterator[str]:
        if "training" in self.config.stages:
            yield "GAN stage: included, after the pre-training; --no-gan leaves it out"
            return
        path, url = backbone_file(self.config.perceptual_loss.vgg_type)
        there = (
            f"they are at {path}" if path.is_file() else f"fetched from {url} to {path} (548 MB)"
        )
        yield (
            "GAN stage: left out (--no-gan, the default). It sharpens results and lowers PSNR; "
            f"--gan adds it and needs the weights of VGG19: {there}"
        )


def config_file(out_dir: Path) -> Path:
    """The configuration that a first training writes."""
    return out_dir / "config.json"


def command_file(out_dir: Path) -> Path:
    """The command that a first training writes, in its last line."""
    return out_dir / "command.txt"


def sheet_file(out_dir: Path) -> Path:
    """The picture of validation images before and after, drawn at the end."""
    return out_dir / "before_after.png"


def holds_training(out_dir: Path) -> bool:
    """Whether a first training was planned for this folder, and has stored something."""
    stored = (out_dir / "saved_models").glob("*")
    return config_file(out_dir).exists() and any(stored)


def plan_first_training(
    images: Path,
    settings: RunSettings,
    *,
    start: str | None = DEFAULT_START,
    minutes: float | None = None,
    gan: bool = False,
    overrides: Sequence[str] = (),
    progress: Progress | None = None,
) -> FirstTraining:
    """Look at a folder and at this machine, and plan a training; write the lists of images.

    Args:
        images: a folder of photographs.
        settings: of the run: output folder, device, precision; the intervals and workers are
            planned.
        start: the name or path of a model; None for a training from scratch.
        minutes: how long to train; by default 15, or 60 from scratch.
        gan: add the GAN stage, for half of the time.
        overrides: hyper-parameters that the person wants otherwise, see
            :func:`~torch_sr.config.parse_config`.
        progress: called with the images looked at and in all.

    Raises:
        ConfigError: for an output folder that holds a training already, or bad overrides.
        DataError: when the folder is unfit, see :func:`~torch_sr.data.photos.choose_images`.
        CheckpointError: when the start is a checkpoint.
        LogError: when the output folder cannot be written to.
        ModelError: when the model cannot be read, or the VGG weights are unavailable.
        DeviceError: when a mini-batch does not fit.
    """
    _refuse_second(settings.out_dir)
    _check_early(settings, start)
    minutes = minutes or (_MINUTES if start is not None else _MINUTES_FROM_SCRATCH)
    fabric = launch(settings)
    sketch = Sketch(start, gan, overrides, fabric.device.type, partial=settings.partial)
    config = sketch.config()
    least = least_crop(config.scale_factor)
    chosen = choose_images(
        images,
        scale_factor=config.scale_factor,
        crop_size=(least, least),
        seed=config.seed,
        progress=progress,
    )
    sketch.set_crop(choose_crop(chosen.training, config.scale_factor, fabric.device.type))
    chosen = _hold_crops(chosen, sketch.config())
    sketch.limit_batch(len(chosen.training))
    config = sketch.config()
    perceptual = _perceptual_loss(config).to(fabric.device) if gan else None
    sizes = [image_size(path) for path in chosen.validation]
    batch = min(config.batch_size, len(chosen.training))
    measured = config.model_copy(update={"batch_size": batch})
    pace = measure_pace(fabric, measured, settings, sizes, perceptual)
    validations = _count_validations(pace, minutes * 60)
    sketch.set_lengths(_steps(pace, minutes * 60, validations), len(chosen.training))
    sketch.set_images(*chosen.write_lists(settings.out_dir))
    config = sketch.config()
    settings = _complete(settings, config, validations, start, fabric.device.type)
    device = str(fabric.device)
    return FirstTraining(images, chosen, config, settings, start, minutes, pace, device)


def _hold_crops(chosen: ChosenImages, config: Hyperparameters) -> ChosenImages:
    """Leave out the images that are smaller than the crops.

    Raises:
        DataError: when none is left.
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
            f"lower pretraining.cr_patch_size: none of {len(small)} images holds a crop of "
            f"{width}x{height}"
        )
    return replace(chosen, training=kept, left_out=sorted([*chosen.left_out, *small.items()]))


def _perceptual_loss(config: Hyperparameters) -> PerceptualLoss:
    try:
        return build_perceptual_loss(config)
    except ModelError as error:
        raise ModelError(f"--no-gan leaves the GAN stage out, which needs them: {error}") from error


def _count_validations(pace: Pace, seconds: float) -> int:
    """Passes over the validation images, which take a fifth of the time at most."""
    affordable = (
        int(_VALIDATION_SHARE * seconds / max(pace.validation, 1e-3)) - 1
    )  # and the start's
    return max(1, min(_VALIDATIONS, affordable))


def _steps(pace: Pace, seconds: float, validations: int) -> dict[str, int]:
    """Steps of each stage; the stages share the time."""
    left = _SPARE * seconds - (validations + 1) * pace.validation
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
    workers = 0 if device_type == "cpu" else min(_WORKERS, os.cpu_count() or 1)
    return replace(
        settings,
        resume=None if start is None else find_model(start),
        start_stage=None if start is None else "pretraining",
        intervals=intervals,
        num_workers=workers if settings.num_workers is None else settings.num_workers,
    )


def _refuse_second(out_dir: Path) -> None:
    if holds_training(out_dir):
        raise ConfigError(
            f"name another --out-dir, or add --resume auto to continue the training that {out_dir} "
            "holds already"
        )


def _check_early(settings: RunSettings, start: str | None) -> None:
    """Refuse, before anything takes time, what would stop the training later.

    Raises:
        CheckpointError: when the start is a checkpoint.
        LogError: when the output folder cannot be written to.
    """
    check_options(settings, StartingPoint())
    check_logs(settings)
    if start is not None and load_newest(find_model(start)) is not None:
        raise CheckpointError(
            f"{start}: make a model of this checkpoint with 'torch-sr models extract "
            f"{shlex.quote(start)} MODEL', or leave out --images and give the configuration of "
            "its training to resume it"
        )


def _describe_images(images: Path, chosen: ChosenImages) -> Iterator[str]:
    yield (
        f"{display_name(images)}: {_count(len(chosen.training), 'image')} to train on, "
        f"{len(chosen.validation)} to validate on, {len(chosen.left_out)} left out"
    )
    for path, reason in chosen.left_out:
        yield f"  left out: {display_name(path)}: {reason}"
    for remark in chosen.remarks:
        yield f"  {remark}"


def _count(number: int, what: str) -> str:
    """``1 image``, ``2 images``."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"

"""The plan of a training: its files, its command, its description."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from torch_sr.config import GAN_STAGE, PSNR_STAGE, Hyperparameters, PerceptualLossConfig
from torch_sr.data.photos.selection import ChosenImages
from torch_sr.errors import ConfigError
from torch_sr.files import atomic_write, write_failure
from torch_sr.images import display_name
from torch_sr.models.backbones import EFFICIENTNET_LITE0, backbone_file
from torch_sr.networks.feature_layers import EFFICIENTNET
from torch_sr.training.notes import steps_from_scratch
from torch_sr.training.preflight.pace import Pace
from torch_sr.training.runs.command_line import build_command
from torch_sr.training.settings import RunSettings, StageLimits

_FEW_STEPS = 50
_LONGER = 1.2  # times the minutes, from which a note is printed


@dataclass(frozen=True)
class TrainingPlan:
    """A planned training; :meth:`save` stores its configuration, image lists and command.

    Args:
        images: the folder of photographs.
        chosen: the images for training and validation.
        config: complete hyper-parameters.
        settings: the settings of the run.
        start: the name or path of the model to start from; None for a training from scratch.
        minutes: the planned duration.
        pace: the speed of this machine.
        device: the device of the training.
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
        """The command that repeats the training, from any folder."""
        return shlex.join(build_command(self.config_file, self.settings, self.start))

    def save(self) -> None:
        """Write the configuration, the lists of images and the command into the output folder.

        Raises:
            ConfigError: the files cannot be written.
        """
        text = f"# Repeats this training; edit {self.config_file.name} first to change it.\n"
        try:
            with atomic_write(self.config_file) as temporary:
                temporary.write_text(self.config.to_json(), encoding="utf-8")
            with atomic_write(command_file(self.settings.out_dir)) as temporary:
                temporary.write_text(f"{text}{self.command}\n", encoding="utf-8")
        except OSError as error:
            folder = self.settings.out_dir
            raise ConfigError(
                f"{folder}: name another --out: {write_failure(error, folder)}"
            ) from error

    def describe(self) -> Iterator[str]:
        """Describe what will be done, how long it takes and where the results are, line by line."""
        yield from _describe_images(self.images, self.chosen)
        yield from self._describe_start()
        yield from self._describe_steps()
        yield from self._describe_gan()
        out = self.settings.out_dir
        yield f"results: models in {self.settings.models_dir}, logs in {out / 'logs'}"
        yield f"configuration: {self.config_file}"
        yield f"command: {self.command}"

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
        steps, needed = self._count_steps(PSNR_STAGE), steps_from_scratch(self.config)
        if steps < needed:
            yield (
                f"  give more --minutes, or start from a model (-l MODEL): a network from scratch "
                f"needs about {needed} steps to surpass bicubic interpolation; here it has {steps}"
            )

    def _describe_steps(self) -> Iterator[str]:
        config, pace = self.config, self.pace
        batch = min(config.batch_size, len(self.chosen.training))
        for name, section in config.stages.items():
            steps, crop = self._count_steps(name), section.cr_patch_size
            assert crop is not None
            yield (
                f"{name}: {_count(steps, 'step')} of {_count(batch, 'crop')} of "
                f"{crop[1]}x{crop[0]} pixels ({pace.step[name]:.2g} s each on {self.device}), "
                f"learning rate {section.generator_lr:g}"
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
        """Time of all steps and validations, in seconds."""
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
        """The steps of a stage, limited by its epochs."""
        section = self.config.stages[name]
        limits = StageLimits(section.num_epoch, section.num_steps)
        return limits.total_steps(self._steps_per_epoch)

    def _describe_gan(self) -> Iterator[str]:
        if GAN_STAGE in self.config.stages:
            yield "GAN stage: included, after the pre-training; --no-gan leaves it out"
            return
        section = self.config.perceptual_loss
        yield (
            "GAN stage: left out (--no-gan, the default). It sharpens results and lowers PSNR; "
            f"--gan adds it and needs the weights of {section.network}: {_locate_weights(section)}"
        )


def config_file(out_dir: Path) -> Path:
    """The configuration that a training on photographs writes."""
    return out_dir / "config.json"


def command_file(out_dir: Path) -> Path:
    """The file whose last line is the command of a training on photographs."""
    return out_dir / "command.txt"


def sheet_file(out_dir: Path) -> Path:
    """The image of validation images before and after the training, drawn at the end."""
    return out_dir / "before_after.png"


def holds_training(out_dir: Path) -> bool:
    """Whether a training on photographs was planned for this folder, and has stored something."""
    stored = (out_dir / "saved_models").glob("*")
    return config_file(out_dir).exists() and any(stored)


def _describe_images(images: Path, chosen: ChosenImages) -> Iterator[str]:
    yield (
        f"{display_name(images)}: {_count(len(chosen.training), 'image')} to train on, "
        f"{len(chosen.validation)} to validate on, {len(chosen.left_out)} left out"
    )
    for path, reason in chosen.left_out:
        yield f"  left out: {display_name(path)}: {reason}"
    for note in chosen.notes:
        yield f"  {note}"


def _locate_weights(section: PerceptualLossConfig) -> str:
    """Where the weights of the perceptual loss are, or how to get them."""
    if section.weights is not None:
        return f"they are at {section.weights}"
    if section.backbone == EFFICIENTNET:
        path, install = EFFICIENTNET_LITE0.find(), EFFICIENTNET_LITE0.install_command
        return f"they are at {path}" if path is not None else f"run {install}"
    path, url = backbone_file(section.vgg_type)
    if path.is_file():
        return f"they are at {path}"
    return (
        f"downloaded from {url} to {path} (more than 500 MB); "
        f"--set perceptual_loss.backbone={EFFICIENTNET} needs no download"
    )


def _count(number: int, what: str) -> str:
    """``1 image``, ``2 images``."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"

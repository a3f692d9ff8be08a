"""``torch-sr train --images``: a first training on a folder of photographs."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from torch_sr.cli.console import find_model, progress_bar
from torch_sr.errors import ConfigError

if TYPE_CHECKING:
    from torch_sr.config import Hyperparameters
    from torch_sr.evaluation.method import Method
    from torch_sr.training.photos.plan import TrainingPlan
    from torch_sr.training.runs.result import TrainingResult
    from torch_sr.training.settings import RunSettings


@dataclass(frozen=True)
class Photos:
    """What the command line says of a first training.

    Args:
        folder: of photographs.
        start: the model to start from, by file or name; None for the default.
        from_scratch: start from none.
        minutes: how long to train; None for the default.
        gan: add the GAN stage.
    """

    folder: Path
    start: str | None
    from_scratch: bool
    minutes: float | None
    gan: bool


def check_usage(
    photos: Photos, settings: RunSettings, *, config: Path | None, like: str | None
) -> None:
    """Refuse options that do not go with ``--images``.

    Raises:
        typer.BadParameter: for these.
    """
    if config is not None:
        raise typer.BadParameter("CONFIG and --images: give one of them")
    if photos.from_scratch and photos.start is not None:
        raise typer.BadParameter("--from-scratch and -l: give one of them")
    if like is not None:
        raise typer.BadParameter("--like: with --images the sizes are those of the model of -l")
    if settings.start_stage is not None:
        raise typer.BadParameter(
            "--start-stage: --images begins with the pre-training; leave it out"
        )
    if photos.minutes is not None and not 0 < photos.minutes < float("inf"):
        raise typer.BadParameter(f"--minutes {photos.minutes:g}: give a number above 0")
    if settings.devices not in (None, 1):
        raise typer.BadParameter(
            "--devices: --images trains on one; give the configuration that it writes to "
            "train on several"
        )


def name_folder(photos: Photos, settings: RunSettings) -> RunSettings:
    """The settings with an output folder: that of ``--out-dir``, or one named like the photos."""
    if settings.out_dir != Path():
        return settings
    name = photos.folder.resolve().name.lstrip("-") or "photos"
    return replace(settings, out_dir=Path(f"{name}_training"))


def prepare(photos: Photos, settings: RunSettings, overrides: Sequence[str]) -> TrainingPlan:
    """Plan a training, store the plan in the output folder, and print it."""
    planned = _plan(photos, replace(settings, devices=1), overrides)
    planned.save()
    for line in planned.describe():
        print(line, file=sys.stderr)
    return planned


def stored_words(settings: RunSettings) -> list[str] | None:
    """The command of the training that the output folder holds, to resume it; None without one.

    Raises:
        ConfigError: when its command cannot be read.
    """
    from torch_sr.training.photos.plan import command_file, holds_training

    if not (settings.resume_auto and holds_training(settings.out_dir)):
        return None
    file = command_file(settings.out_dir)
    try:
        _, *words = shlex.split(file.read_text(encoding="utf-8").splitlines()[-1])
    except (OSError, ValueError, IndexError) as error:
        raise ConfigError(
            f"{file}: cannot read the command of the training; resume it with its configuration: "
            "torch-sr train CONFIG --resume auto"
        ) from error
    return [*words, "--resume", "auto"]


def note_ignored(photos: Photos, settings: RunSettings, overrides: Sequence[str]) -> None:
    """Say which options do not change a training that is resumed."""
    given = {
        "--minutes": photos.minutes is not None,
        "--from-scratch": photos.from_scratch,
        "--gan": photos.gan,
        "-l": photos.start is not None,
        "--set": bool(overrides),
    }
    names = [name for name, there in given.items() if there]
    if names:
        print(
            f"note: {', '.join(names)} left out: the training in {settings.out_dir} is resumed as "
            "it was planned",
            file=sys.stderr,
        )


def _plan(photos: Photos, settings: RunSettings, overrides: Sequence[str]) -> TrainingPlan:
    """Plan a training, showing progress."""
    from torch_sr.training.photos.planning import DEFAULT_START, plan_training

    start = None if photos.from_scratch else photos.start or DEFAULT_START
    if start is not None:
        find_model(start)  # which shows the progress of a download
    with progress_bar("images") as bar:
        task = bar.add_task("looking at the images", total=None)
        return plan_training(
            photos.folder,
            settings,
            start=start,
            minutes=photos.minutes,
            gan=photos.gan,
            overrides=overrides,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )


def draw_sheet(
    config: Hyperparameters, settings: RunSettings, start: str | None, result: TrainingResult
) -> None:
    """Draw validation images before the training and under its model, and print where.

    Without validation images nothing is drawn.

    Args:
        config: of the training.
        settings: of the run.
        start: the name or path of the model that it started from; None from scratch.
        result: of the training.
    """
    from torch_sr.data.image_pairs import open_pairs
    from torch_sr.evaluation.method import Method
    from torch_sr.evaluation.presentation.before_after import draw_before_after
    from torch_sr.images import Image, write_image
    from torch_sr.inference.upscaler import Upscaler
    from torch_sr.training.photos.plan import sheet_file

    model = result.stages[-1].recommended
    val_datasets = list(config.stages.values())[-1].val_datasets
    if model is None or not val_datasets:
        return
    pairs = open_pairs(
        val_datasets,
        data_root=settings.data_root,
        scale_factor=config.scale_factor,
        purpose="val",
        channels=config.img_channels,
        cache_dir=settings.cache_dir,
    )
    after = Method("after", Upscaler(model, device=settings.device, border=0).upscale)
    methods = [_before(config, settings, start), after]
    file = sheet_file(settings.out_dir)
    write_image(file, Image(draw_before_after(pairs, methods)))
    print(file)


def _before(config: Hyperparameters, settings: RunSettings, start: str | None) -> Method:
    """The model that the training started from, or bicubic interpolation."""
    from torch_sr.evaluation.method import Method, bicubic
    from torch_sr.inference.upscaler import Upscaler

    if start is None:
        return bicubic(config.scale_factor)
    return Method("before", Upscaler(start, device=settings.device, border=0).upscale)

"""``torch-sr train --images``: a first training on a folder of photographs."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from torch_sr.cli.console import find_model, progress_bar

if TYPE_CHECKING:
    from torch_sr.evaluation.evaluate import SuperResolve
    from torch_sr.training.first import FirstTraining
    from torch_sr.training.result import TrainingResult
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
    if settings.resume_auto:
        raise typer.BadParameter(
            "--resume: give the configuration that --images wrote into --out-dir, as its "
            "command.txt has it"
        )
    if photos.minutes is not None and not 0 < photos.minutes < float("inf"):
        raise typer.BadParameter(f"--minutes {photos.minutes:g}: give a number above 0")
    if settings.devices not in (None, 1):
        raise typer.BadParameter(
            "--devices: --images trains on one; give the configuration that it writes to "
            "train on several"
        )


def prepare(photos: Photos, settings: RunSettings, overrides: Sequence[str]) -> FirstTraining:
    """Plan a training, store the plan in the output folder, and print it."""
    if settings.out_dir == Path():
        settings = replace(settings, out_dir=Path(f"{photos.folder.resolve().name}_training"))
    planned = _plan(photos, replace(settings, devices=1), overrides)
    planned.save()
    for line in planned.describe():
        print(line, file=sys.stderr)
    return planned


def _plan(photos: Photos, settings: RunSettings, overrides: Sequence[str]) -> FirstTraining:
    """Plan a training, showing progress."""
    from torch_sr.training.first import DEFAULT_START, plan_first_training

    start = None if photos.from_scratch else photos.start or DEFAULT_START
    if start is not None:
        find_model(start)  # which shows the progress of a download
    with progress_bar("images") as bar:
        task = bar.add_task("looking at the images", total=None)
        return plan_first_training(
            photos.folder,
            settings,
            start=start,
            minutes=photos.minutes,
            gan=photos.gan,
            overrides=overrides,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )


def draw_sheet(planned: FirstTraining, result: TrainingResult) -> None:
    """Draw validation images before the training and under its best model, and print where."""
    from torch_sr.data.open import open_pairs
    from torch_sr.evaluation.before_after import draw_before_after
    from torch_sr.images import Image, write_image
    from torch_sr.inference.upscaler import Upscaler

    config, settings, stage = planned.config, planned.settings, result.stages[-1]
    model = stage.best_model or stage.last_model
    assert model is not None
    pairs = open_pairs(
        list(config.stages.values())[-1].val_datasets,
        data_root=settings.data_root,
        scale_factor=config.scale_factor,
        purpose="val",
        channels=config.img_channels,
        cache_dir=settings.cache_dir,
    )
    methods: dict[str, SuperResolve] = {
        "before" if planned.start is not None else "bicubic": _before(planned),
        "after": Upscaler(model, device=settings.device, border=0).upscale,
    }
    write_image(planned.sheet_file, Image(draw_before_after(pairs, methods)))
    print(planned.sheet_file)


def _before(planned: FirstTraining) -> SuperResolve:
    """The model that the training started from, or bicubic interpolation."""
    from torch_sr.data.resize import imresize
    from torch_sr.inference.upscaler import Upscaler

    if planned.start is not None:
        return Upscaler(planned.start, device=planned.settings.device, border=0).upscale
    scale = float(planned.config.scale_factor)
    return lambda lr: imresize(lr, scale)

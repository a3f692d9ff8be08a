"""``torch-sr train --images``: plan, run or resume a training."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import typer

from torch_sr.cli.bars import image_progress
from torch_sr.cli.downloads import find_model
from torch_sr.cli.train.options import PhotoOptions
from torch_sr.cli.train.results import show_use
from torch_sr.cli.train.run import start_training
from torch_sr.config import Hyperparameters, load_config
from torch_sr.training.photos.before_after import write_before_after
from torch_sr.training.photos.plan import TrainingPlan, config_file
from torch_sr.training.photos.planning import DEFAULT_START, plan_training
from torch_sr.training.photos.stored import stored_command, with_folder
from torch_sr.training.runs.result import TrainingResult
from torch_sr.training.settings import RunSettings


def train_on_photos(
    photos: PhotoOptions,
    settings: RunSettings,
    overrides: Sequence[str],
    *,
    print_config: bool = False,
    check: bool = False,
) -> TrainingResult | None:
    """Plan a training on photographs and run it; or print its configuration, check or resume it.

    Args:
        photos: how to train; its folder must be set.
        settings: the settings of the run; ``resume`` may be the name or path of a model to start
            from.
        overrides: the values of ``--set``.
        print_config: print the complete configuration and stop.
        check: check and stop.
    """
    assert photos.images is not None
    _check_usage(photos, settings)
    settings = with_folder(settings, photos.images)
    words = stored_command(settings.out_dir) if settings.resume_auto else None
    if words is not None:
        _note_ignored(photos, settings, overrides)
        return _resume(words, settings)
    planned = _plan(photos, settings, overrides)
    if print_config:
        print(planned.config.to_json(), end="")
        return None
    result = start_training(planned.config, planned.settings, check=check)
    if result is not None:
        try:
            _draw_sheet(planned.config, planned.settings, planned.start, result)
        finally:
            show_use(result, planned.start)
    return result


def _check_usage(photos: PhotoOptions, settings: RunSettings) -> None:
    """Refuse options that contradict ``--images``.

    Raises:
        typer.BadParameter: there is such an option.
    """
    if photos.from_scratch and settings.resume is not None:
        raise typer.BadParameter("--from-scratch and -l: give one of them")
    if settings.start_stage is not None:
        raise typer.BadParameter(
            "--start-stage: --images begins with the pre-training; leave it out"
        )
    if photos.minutes is not None and not 0 < photos.minutes < float("inf"):
        raise typer.BadParameter(f"--minutes {photos.minutes:g}: give a number above 0")
    if settings.devices not in (None, 1) or int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise typer.BadParameter(
            "--devices, or torchrun with several processes: --images trains on one device; to use "
            "several, train with the configuration that it writes"
        )


def _note_ignored(photos: PhotoOptions, settings: RunSettings, overrides: Sequence[str]) -> None:
    """Report the options that have no effect on a resumed training."""
    given = {
        "--minutes": photos.minutes is not None,
        "--from-scratch": photos.from_scratch,
        "--gan": photos.gan,
        "-l": settings.resume is not None,
        "--set": bool(overrides),
    }
    names = [name for name, is_given in given.items() if is_given]
    if names:
        print(
            f"note: {', '.join(names)} ignored: the training in {settings.out_dir} is resumed as "
            "it was planned",
            file=sys.stderr,
        )


def _resume(words: Sequence[str], settings: RunSettings) -> TrainingResult:
    """Resume the training in the output folder with its stored command, and draw its sheet."""
    from torch_sr.cli.main import app  # it imports this module when it is called

    print(f"resuming with: {shlex.join(['torch-sr', *words])}", file=sys.stderr)
    result: TrainingResult | int = app(list(words), standalone_mode=False)
    if isinstance(result, int):  # the exit code of a stopped training
        raise typer.Exit(result)
    start = words[words.index("-l") + 1] if "-l" in words else None
    _draw_sheet(load_config(config_file(settings.out_dir)), settings, start, result)
    return result


def _plan(photos: PhotoOptions, settings: RunSettings, overrides: Sequence[str]) -> TrainingPlan:
    """Plan a training, store the plan in the output folder, and print it."""
    assert photos.images is not None
    start = None if photos.from_scratch else str(settings.resume or DEFAULT_START)
    if start is not None:
        find_model(start)  # shows the progress of a download
    with image_progress("inspecting images") as progress:
        planned = plan_training(
            photos.images,
            replace(settings, resume=None, devices=1),
            start=start,
            minutes=photos.minutes,
            gan=photos.gan,
            overrides=overrides,
            progress=progress,
        )
    planned.save()
    for line in planned.describe():
        print(line, file=sys.stderr)
    return planned


def _draw_sheet(
    config: Hyperparameters,
    settings: RunSettings,
    start: str | Path | None,
    result: TrainingResult,
) -> None:
    """Draw validation images before and after the training, and print the file."""
    file = write_before_after(config, settings, start, result)
    if file is not None:
        print(file)

"""Print the models of a training, their scores, and how to use them."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

from torch_sr.config import GAN_STAGE
from torch_sr.training.runs.checkpoints import load_newest
from torch_sr.training.runs.initial_weights import model_label
from torch_sr.training.runs.result import Scores, StageResult, TrainingResult


def show_result(result: TrainingResult) -> None:
    """Print models and scores on stdout, a line each with the path last; notes on stderr."""
    for stage in result.stages:
        for line in describe_stage(stage):
            print(line)
        if stage.start and stage.best and not stage.best.beats(stage.start):
            print(
                f"note: no model of the {stage.stage} stage is better than its start in both PSNR "
                f"and SSIM: {describe_scores(stage.start)}",
                file=sys.stderr,
            )
    if not result.finished:
        print(
            "stopped; resume with --resume auto added to the same command, or with "
            f"--load-checkpoint {shlex.quote(str(result.checkpoint))}",
            file=sys.stderr,
        )


def show_use(result: TrainingResult, start: Path | str | None = None) -> None:
    """Print on stderr which model to use, and the command.

    Args:
        result: the result of a training; nothing is printed if it is not finished.
        start: the file or name of the model that it started from, which may be better.
    """
    if not result.finished:
        return
    sys.stdout.flush()  # so that this comes last, also in a file
    for line in describe_use(result, start):
        print(line, file=sys.stderr)


def describe_use(result: TrainingResult, start: Path | str | None) -> Iterator[str]:
    """Describe which model to use, and the command."""
    stage = result.stages[-1]
    intro = "use the new model"
    worse = stage.start and stage.best and not stage.best.beats(stage.start)
    if worse and stage.stage != GAN_STAGE and start is not None and len(result.stages) == 1:
        name = _name_start(Path(start))
        if name is not None:
            yield (
                "the model that the training started from is at least as good; train for longer "
                f"or on more images, and until then use it: {_spell_use(name)}"
            )
            intro = "to compare it, the new model"
    if stage.recommended is not None:
        yield f"{intro}: {_spell_use(stage.recommended)}"


def _spell_use(model: Path | str) -> str:
    return shlex.join(["torch-sr", "upscale", "PHOTO.jpg", "-m", str(model)])


def describe_stage(stage: StageResult) -> Iterator[str]:
    """A line each for the start, the best model and the last model, if they exist."""
    if stage.start is not None:
        yield f"{stage.stage}  start  {describe_scores(stage.start)}"
    for kind, figures, model in (
        ("best", stage.best, stage.best_model),
        ("last", stage.last, stage.last_model),
    ):
        if model is not None:
            shown = f"{describe_scores(figures)}  " if figures is not None else ""
            yield f"{stage.stage}  {kind}   {shown}{model}"


def describe_scores(figures: Scores) -> str:
    """PSNR, SSIM, and the epoch and step at which they were measured."""
    place = f"epoch {figures.epoch}, step {figures.step}"
    return f"PSNR {figures.psnr:.2f} dB  SSIM {figures.ssim:.4f}  {place}"


def _name_start(start: Path) -> str | None:
    """The name or path of a start model; None if the training resumed a checkpoint."""
    if start.is_file() and load_newest(start) is not None:
        return None
    return model_label(start)

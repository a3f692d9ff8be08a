"""Check what would stop a training: ``torch-sr train --check``."""

from __future__ import annotations

from collections.abc import Iterator

from torch_sr.config import Hyperparameters
from torch_sr.training.launch import leave_in_order
from torch_sr.training.preflight.batch_memory import check_batch_memory
from torch_sr.training.preflight.checked_run import CheckedRun
from torch_sr.training.preflight.crop_sheet import check_crops
from torch_sr.training.preflight.data import check_data
from torch_sr.training.preflight.degradation import check_degradation
from torch_sr.training.preflight.disk import check_disk
from torch_sr.training.preflight.features import (
    check_features,
    check_metric,
    needs_features,
    weights_title,
)
from torch_sr.training.preflight.options import check_logs, check_options, note_on_options
from torch_sr.training.preflight.result import CheckResult, attempt
from torch_sr.training.preflight.start import check_device, check_start
from torch_sr.training.preflight.validation_memory import check_validation_memory
from torch_sr.training.runs.starting_point import StartingPoint
from torch_sr.training.settings import RunSettings
from torch_sr.training.validation import EXTRA_METRICS, PERCEPTUAL_LOSS


def check_training(config: Hyperparameters, settings: RunSettings) -> Iterator[CheckResult]:
    """Check everything that a training needs, without training.

    Data sets are opened without decoding them, except for a few images, whose crops are drawn as
    the networks will get them: LR enlarged next to HR, and if crops are degraded, rows of several
    degradations of one crop. They are written to ``settings.out_dir`` as
    ``check_pretraining.png`` and ``check_training.png``.

    Yields:
        the results, each as soon as its check is done.
    """
    with leave_in_order():
        yield from _check(CheckedRun(config, settings))


def _check(run: CheckedRun) -> Iterator[CheckResult]:
    """All checks in order; later ones need what earlier ones opened."""
    config, settings = run.config, run.settings
    yield attempt("start", check_start, run)
    yield attempt("options", check_options, settings, run.start or StartingPoint())
    yield attempt("logs", check_logs, settings)
    yield attempt("device", check_device, run)
    for name in run.stages:
        yield attempt(f"{name} data", check_data, run, name)
    for name in run.data:
        yield from check_degradation(run, name)
    for note in note_on_options(config, settings, run.data):
        yield CheckResult("options", True, note, note=True)
    if run.data:
        yield attempt("disk", check_disk, run)
    for name in settings.val_metrics:
        if name in EXTRA_METRICS and name != PERCEPTUAL_LOSS:
            yield attempt(f"metric {name}", check_metric, run, name)
    if needs_features(run):
        yield attempt(weights_title(run), check_features, run)
    yield from _check_memory(run)
    for name in run.data:
        yield attempt(f"{name} crops", check_crops, run, name)


def _check_memory(run: CheckedRun) -> Iterator[CheckResult]:
    """The checks that run networks, if the device is available."""
    if run.fabric is None:
        return
    for name in run.stages:
        if run.perceptual is not None or not run.config.needs_features(name):
            yield attempt(f"{name} memory", check_batch_memory, run, name)
    for name, data in run.data.items():
        if data.validation:
            yield attempt(f"{name} validation", check_validation_memory, run, name)

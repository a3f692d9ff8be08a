"""Train with a configuration, or only check it."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import typer

from torch_sr.cli.bars import cache_progress
from torch_sr.cli.downloads import download_data, download_weights, find_model
from torch_sr.cli.exits import INTERRUPTED
from torch_sr.cli.train.results import show_result, show_use
from torch_sr.cli.train.terminal import ConsoleLogger
from torch_sr.config import Hyperparameters, load_config, to_overrides
from torch_sr.data.sets.resolve import train_and_val_specs
from torch_sr.errors import TorchSRError
from torch_sr.training.launch import is_first_process
from torch_sr.training.loggers.wandb import check_wandb
from torch_sr.training.preflight import check as preflight
from torch_sr.training.run import train
from torch_sr.training.runs.initial_weights import like_overrides
from torch_sr.training.runs.names import find_checkpoint
from torch_sr.training.runs.result import TrainingResult
from torch_sr.training.runs.starting_point import read_start
from torch_sr.training.settings import RunSettings


def train_config(
    file: Path,
    settings: RunSettings,
    overrides: Sequence[str],
    *,
    like: str | None = None,
    print_config: bool = False,
    check: bool = False,
) -> TrainingResult | None:
    """Train with a configuration; or print it, or only check it.

    Args:
        file: the configuration.
        settings: the settings of the run; ``resume`` may be the name of a model.
        overrides: the values of ``--set``.
        like: the model whose sizes the generator uses.
        print_config: print the complete configuration and stop.
        check: check and stop.
    """
    if settings.resume is not None:
        settings = replace(settings, resume=find_model(settings.resume))
    config = read_config(file, like, overrides)
    if print_config:
        print(config.to_json(), end="")
        return None
    result = start_training(config, settings, check=check)
    if result is not None and is_first_process():
        show_use(result, settings.resume)
    return result


def read_config(file: Path, like: str | None, overrides: Sequence[str]) -> Hyperparameters:
    """Read a configuration with the sizes of ``--like`` and overrides; print conflicts."""
    sizes = like_overrides(find_model(like)) if like is not None else []
    config = load_config(file, [*sizes, *overrides])
    for note in _compare_sizes(sizes, config):
        print(f"note: {note}", file=sys.stderr)
    return config


def start_training(
    config: Hyperparameters, settings: RunSettings, *, check: bool = False
) -> TrainingResult | None:
    """Download what is missing and train; or only check, and return None."""
    if settings.resume_auto:
        settings = find_newest(settings)
    if check:
        check_training(config, settings)
        return None
    return run_training(config, settings)


def find_newest(settings: RunSettings) -> RunSettings:
    """Choose the newest checkpoint to resume, if there is one, and print it."""
    found = find_checkpoint(settings.models_dir, settings.name)
    of = f" of the run {settings.name}" if settings.name else ""
    if is_first_process():
        new = f"no checkpoint{of} in {settings.models_dir}: starting a new run"
        print(f"resuming {found}" if found else new, file=sys.stderr)
    if found is None:
        return settings
    # -l and its options named the start of the run, before this checkpoint.
    return replace(settings, resume=found, start_stage=None, partial=False)


def check_training(config: Hyperparameters, settings: RunSettings) -> None:
    """Print the result of each check in a line; exit with code 1 if one fails."""
    if settings.download:
        _download_data(config, _find_stages(config, settings), settings)
    findings = []
    for finding in preflight.check_training(config, settings):
        findings.append(finding)
        if is_first_process():
            print(f"{finding.verdict:4}  {finding.subject}: {finding.text}")
    if not all(finding.passed for finding in findings):
        raise typer.Exit(1)


def run_training(config: Hyperparameters, settings: RunSettings) -> TrainingResult:
    """Train with progress; print the models and scores, or after a stop how to resume.

    Raises:
        typer.Exit: with code 130 after a stop.
    """
    first = is_first_process()
    if not first:  # it has the same warnings as the first
        logging.getLogger("torch_sr").setLevel(logging.ERROR)
    start = read_start(settings.resume, stage=settings.start_stage, partial=settings.partial)
    _download_data(config, start.stages(config), settings)
    _download_weights(config, start.stages(config))
    if first and settings.wandb_if_available:
        _report_wandb()
    with cache_progress() as progress:
        result = train(
            config,
            settings,
            loggers=[ConsoleLogger()] if first else (),
            start=start,
            cache_progress=progress,
        )
    if first:
        show_result(result)
    if not result.finished:
        raise typer.Exit(INTERRUPTED)
    return result


def _report_wandb() -> None:
    """Print whether the training is logged to Weights & Biases."""
    try:
        print(f"logging to Weights & Biases ({check_wandb()})", file=sys.stderr)
    except TorchSRError as error:
        print(f"note: not logging to Weights & Biases: {error}", file=sys.stderr)


def _compare_sizes(sizes: Sequence[str], config: Hyperparameters) -> Iterator[str]:
    """A sentence for each size of ``--like`` that ``--set`` replaces."""
    final = dict(override.split("=", 1) for override in to_overrides(config.to_dict()))
    for size in sizes:
        key, value = size.split("=", 1)
        if final[key] != value:
            yield f"--set {key}={final[key]} replaces {value} of the model named with --like"


def _download_data(config: Hyperparameters, stages: Sequence[str], settings: RunSettings) -> None:
    """Download the missing data sets of these stages if the settings ask for it."""
    if not (settings.download and is_first_process()):  # the other processes wait for the downloads
        return
    for name in stages:
        train, val = train_and_val_specs(config.stages[name])
        download_data(train, settings.data_root, config.scale_factor, "train")
        download_data(val, settings.data_root, config.scale_factor, "val")


def _download_weights(config: Hyperparameters, stages: Sequence[str]) -> None:
    """Download the weights of the feature network if these stages need them."""
    section = config.perceptual_loss
    named = section.weights is not None
    if not named and any(map(config.needs_features, stages)) and is_first_process():
        download_weights(section.network)


def _find_stages(config: Hyperparameters, settings: RunSettings) -> list[str]:
    """The stages that will run; all if the start cannot be read, which the check reports."""
    try:
        start = read_start(settings.resume, stage=settings.start_stage, partial=settings.partial)
    except TorchSRError:
        return list(config.stages)
    return start.stages(config)

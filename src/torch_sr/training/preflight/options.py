"""Check the options of a run; note probable mistakes."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping

import torch

from torch_sr.config import Hyperparameters
from torch_sr.devices import choose_device
from torch_sr.errors import DeviceError, LogError
from torch_sr.files import try_writing, write_failure
from torch_sr.machine import usable_cpus
from torch_sr.training.loggers.tensorboard import load_tensorboard
from torch_sr.training.loggers.wandb import check_wandb
from torch_sr.training.preflight.checked_run import CheckedData
from torch_sr.training.runs.names import check_start_name
from torch_sr.training.runs.starting_point import StartingPoint
from torch_sr.training.settings import RunSettings
from torch_sr.training.validation import check_extra_metrics

_COMPILERS = ("c++", "g++", "clang++", "cl")


def check_options(settings: RunSettings, start: StartingPoint) -> str:
    """Refuse options that would stop the run.

    Returns:
        the result in words.

    Raises:
        CheckpointError: the name of the run is taken.
        ConfigError: the name is invalid, or a validation metric is unknown.
        DeviceError: networks cannot be compiled, or the precision is not supported.
    """
    check_start_name(settings, start)
    check_extra_metrics(settings.val_metrics)
    device = choose_device(settings.device)
    if settings.compile and device.type == "cpu" and not _finds_compiler():
        raise DeviceError("--compile: install a C++ compiler, such as g++, or leave it out")
    if (
        settings.precision == "bf16"
        and device.type == "cuda"
        and not torch.cuda.is_bf16_supported()
    ):
        raise DeviceError(f"--precision bf16: {device} does not support it; use fp16 or fp32")
    return f"name: {settings.name or 'the time'}"


def check_logs(settings: RunSettings) -> str:
    """Refuse logs that cannot be written or sent; leave nothing behind.

    Returns:
        where the logs will go, in words.

    Raises:
        LogError: the folder cannot be written to, TensorBoard is not installed, or wandb is not
            logged in.
        MissingExtraError: wandb is not installed.
    """
    folder = settings.logs_dir("x").parent
    try:
        try_writing(folder)
    except OSError as error:
        reason = write_failure(error, folder)
        raise LogError(f"{folder}: name another --out: cannot write logs: {reason}") from error
    places = [str(folder)]
    if settings.tensorboard:
        load_tensorboard()
        places.append("TensorBoard")
    if settings.wandb:
        places.append(f"Weights & Biases ({check_wandb()})")
    return ", ".join(places)


def note_on_options(
    config: Hyperparameters, settings: RunSettings, stages: Mapping[str, CheckedData]
) -> Iterator[str]:
    """A note for each option that works, but is probably a mistake."""
    cores = usable_cpus()
    if settings.num_workers and settings.num_workers > cores:
        yield f"--num-workers {settings.num_workers}: this machine has {cores} cores"
    if settings.accumulate > config.batch_size:
        yield (
            f"--accumulate {settings.accumulate}: a batch of {config.batch_size} has no more than "
            f"{config.batch_size} parts"
        )
    for name, data in stages.items():
        yield from _note_on_intervals(name, data, config, settings)
        if settings.val_metrics and not data.validation:
            yield f"--val-metrics: {name} has no validation images to measure on"


def _note_on_intervals(
    name: str, data: CheckedData, config: Hyperparameters, settings: RunSettings
) -> Iterator[str]:
    intervals = settings.intervals
    for option, every, then in (
        ("--checkpoint-interval", intervals.checkpoint, "one is stored at the end only"),
        ("--validation-interval", intervals.validate, "it validates at the end only"),
        ("--store-model-interval", intervals.store_model, "only the best and last are stored"),
    ):
        idle = option == "--validation-interval" and not data.validation
        if every is None or idle or every.in_steps(data.steps_per_epoch) <= data.total_steps:
            continue
        yield f"{option} '{every}': longer than {name} ({data.total_steps} steps): {then}"
    epochs = config.stages[name].num_epoch
    if data.validation and intervals.best_warmup >= epochs:
        yield (
            f"--best-checkpoint-warmup {intervals.best_warmup}: {name} has {epochs} epochs, so no "
            "best model is stored"
        )


def _finds_compiler() -> bool:
    return any(map(shutil.which, (os.environ.get("CXX", "c++"), *_COMPILERS)))

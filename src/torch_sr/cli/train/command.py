"""``torch-sr train``: train the networks that a configuration describes."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from torch_sr.cli.console import DataRoot, Device, cache_progress, fetch_first, find_model
from torch_sr.cli.train import options
from torch_sr.cli.train import photos as first
from torch_sr.cli.train.loggers import make_loggers
from torch_sr.cli.train.results import show_result, show_use
from torch_sr.errors import TorchSRError
from torch_sr.training.settings import Every, Intervals, RunSettings

if TYPE_CHECKING:
    from torch_sr.config import Hyperparameters
    from torch_sr.training.runs.result import TrainingResult

_EPOCH = Every(1)


def train(
    config: options.Config = None,
    images: options.Images = None,
    minutes: options.Minutes = None,
    from_scratch: options.FromScratch = False,
    gan: options.Gan = False,
    overrides: options.Overrides = None,
    like: options.Like = None,
    print_config: options.PrintConfig = False,
    check: options.Check = False,
    data_root: DataRoot = Path("data"),
    out_dir: options.OutDir = Path(),
    load_checkpoint: options.LoadCheckpoint = None,
    start_stage: options.StartStage = None,
    partial: options.Partial = False,
    resume: options.Resume = None,
    name: options.Name = None,
    checkpoint_interval: options.CheckpointInterval = _EPOCH,
    best_checkpoint_warmup: options.BestCheckpointWarmup = 0,
    store_model_interval: options.StoreModelInterval = None,
    validation_interval: options.ValidationInterval = _EPOCH,
    image_interval: options.ImageInterval = _EPOCH,
    val_metrics: options.ValMetrics = "",
    keep_checkpoints: options.KeepCheckpoints = 1,
    num_workers: options.NumWorkers = None,
    device: Device = "auto",
    devices: options.Devices = None,
    precision: options.Precision = "fp32",
    accumulate: options.Accumulate = 1,
    compile_networks: options.CompileNetworks = False,
    channels_last: options.ChannelsLast = True,
    licence: options.Licence = None,
    tensorboard: options.Tensorboard = True,
    wandb: options.Wandb = False,
) -> Any:
    """Train a generator, from a configuration or from a folder of photographs (--images).

    Models and checkpoints go to saved_models/ and logs to logs/ below --out-dir.
    """
    if resume not in (None, "auto"):
        if load_checkpoint is not None:
            raise typer.BadParameter("--resume CHECKPOINT and -l are the same; give one of them")
        load_checkpoint = resume
    settings = RunSettings(
        data_root=data_root,
        out_dir=out_dir,
        resume=None if load_checkpoint is None or images else find_model(load_checkpoint),
        start_stage=None if start_stage is None else start_stage.value,
        partial=partial,
        device=device,
        devices=devices,
        precision=precision,
        accumulate=accumulate,
        compile=compile_networks,
        channels_last=channels_last,
        num_workers=num_workers,
        intervals=Intervals(
            checkpoint=checkpoint_interval,
            validate=validation_interval,
            store_model=store_model_interval,
            images=image_interval,
            best_warmup=best_checkpoint_warmup,
            keep_checkpoints=keep_checkpoints,
        ),
        licence=licence,
        resume_auto=resume == "auto",
        name=name,
        val_metrics=tuple(part.strip() for part in val_metrics.split(",") if part.strip()),
        tensorboard=tensorboard,
        wandb="on" if wandb else "off",
    )
    if images is not None:
        photos = first.Photos(images, load_checkpoint, from_scratch, minutes, gan)
        first.check_usage(photos, settings, config=config, like=like)
        settings = first.name_folder(photos, settings)
        if words := first.stored_words(settings):
            first.note_ignored(photos, settings, overrides or [])
            return resume_first(words, settings)
        return train_first(photos, settings, overrides or [], print_config, check)
    if config is None or from_scratch or gan or minutes is not None:
        raise typer.BadParameter(
            "give a CONFIG file, or --images with a folder of photographs, which alone takes "
            "--minutes, --from-scratch and --gan"
        )
    hyperparameters = read_config(config, like, overrides or [])
    if print_config:
        print(hyperparameters.to_json(), end="")
        return None
    result = start_training(hyperparameters, settings, check=check)
    if result is not None:
        show_use(result, settings.resume)
    return result


def train_first(
    photos: first.Photos,
    settings: RunSettings,
    overrides: Sequence[str],
    print_config: bool,
    check: bool,
) -> TrainingResult | None:
    """Plan a training on photographs, and train; or print the plan, or check it."""
    planned = first.prepare(photos, settings, overrides)
    if print_config:
        print(planned.config.to_json(), end="")
        return None
    result = start_training(planned.config, planned.settings, check=check)
    if result is not None:
        try:
            first.draw_sheet(planned.config, planned.settings, planned.start, result)
        finally:
            show_use(result, planned.start)
    return result


def resume_first(words: Sequence[str], settings: RunSettings) -> TrainingResult:
    """Resume the training that a folder holds by its own command, and draw its picture."""
    from torch_sr.cli.main import app
    from torch_sr.config import load_config
    from torch_sr.training.photos.plan import config_file

    print(f"resuming with: {shlex.join(['torch-sr', *words])}", file=sys.stderr)
    result: TrainingResult | int = app(list(words), standalone_mode=False)
    if isinstance(result, int):  # the code of a stop
        raise typer.Exit(result)
    start = words[words.index("-l") + 1] if "-l" in words else None
    first.draw_sheet(load_config(config_file(settings.out_dir)), settings, start, result)
    return result


def read_config(config: Path, like: str | None, overrides: Sequence[str]) -> Hyperparameters:
    """The configuration with the sizes of ``--like`` and the overrides; say what these replace."""
    from torch_sr.config import load_config

    sizes = take_sizes(like) if like is not None else []
    hyperparameters = load_config(config, [*sizes, *overrides])
    for note in compare_sizes(sizes, hyperparameters):
        print(f"note: {note}", file=sys.stderr)
    return hyperparameters


def start_training(
    hyperparameters: Hyperparameters, settings: RunSettings, *, check: bool = False
) -> TrainingResult | None:
    """Fetch what is missing, then train, or only check what would fail, which has no result."""
    if settings.resume_auto:
        settings = find_newest(settings)
    if check:
        check_training(hyperparameters, settings)
        return None
    return run_training(hyperparameters, settings)


def find_newest(settings: RunSettings) -> RunSettings:
    """The settings that resume the newest checkpoint there is; say which one."""
    from torch_sr.training.launch import is_first_process
    from torch_sr.training.runs.names import find_checkpoint

    found = find_checkpoint(settings.models_dir, settings.name)
    of = f" of the run {settings.name}" if settings.name else ""
    if is_first_process():
        text = f"resuming {found}" if found else f"no checkpoint{of} in {settings.models_dir}: new"
        print(text if found else f"{text} run", file=sys.stderr)
    if found is None:
        return settings
    # What -l and its options name was where the run started.
    return replace(settings, resume=found, start_stage=None, partial=False)


def take_sizes(model: str) -> list[str]:
    """The generator's sizes in a model, as overrides, fetching the model at need."""
    from torch_sr.training.runs.initial_weights import like_overrides

    return like_overrides(find_model(model))


def compare_sizes(sizes: Sequence[str], config: Hyperparameters) -> Iterator[str]:
    """Say which of the sizes of ``--like`` the configuration has otherwise, by ``--set``."""
    from torch_sr.config import to_overrides

    final = dict(override.split("=", 1) for override in to_overrides(config.to_dict()))
    for size in sizes:
        key, value = size.split("=", 1)
        if final[key] != value:
            yield f"--set {key}={final[key]} replaces {value} of the model named with --like"


def fetch_data(config: Hyperparameters, stages: Sequence[str], data_root: Path) -> None:
    """Fetch the missing data sets of the stages that will run, showing progress."""
    from torch_sr.data.sets.resolve import train_and_val_specs
    from torch_sr.training.launch import is_first_process

    if not (config.download and is_first_process()):  # the others wait for its downloads
        return
    for name in stages:
        train, val = train_and_val_specs(config.stages[name])
        fetch_first(train, data_root, config.scale_factor, "train")
        fetch_first(val, data_root, config.scale_factor, "val")


def check_training(config: Hyperparameters, settings: RunSettings) -> None:
    """Print what was found, a line each; stop with code 1 where something would fail."""
    from torch_sr.training.launch import is_first_process
    from torch_sr.training.preflight import check

    if config.download:
        fetch_data(config, _find_stages(config, settings), settings.data_root)
    findings = []
    for finding in check.check_training(config, settings):
        findings.append(finding)
        if is_first_process():
            print(f"{finding.verdict:4}  {finding.subject}: {finding.text}")
    if not all(finding.passed for finding in findings):
        raise typer.Exit(1)


def _find_stages(config: Hyperparameters, settings: RunSettings) -> list[str]:
    """The stages that will run; all of them where the start cannot be read, as a check reports."""
    from torch_sr.training.runs.starting_point import read_start

    try:
        start = read_start(settings.resume, stage=settings.start_stage, partial=settings.partial)
    except TorchSRError:
        return list(config.stages)
    return start.stages(config)


def run_training(config: Hyperparameters, settings: RunSettings) -> TrainingResult:
    """Train, showing progress; print the models with their figures, or how to resume after a stop.

    Raises:
        typer.Exit: with code 130 after a stop.
    """
    from torch_sr.training.launch import is_first_process
    from torch_sr.training.run import train as run_stages
    from torch_sr.training.runs.names import reserved_run
    from torch_sr.training.runs.starting_point import read_start

    first = is_first_process()
    start = read_start(settings.resume, stage=settings.start_stage, partial=settings.partial)
    fetch_data(config, start.stages(config), settings.data_root)
    with ExitStack() as stack:
        run = stack.enter_context(reserved_run(settings, start))
        loggers = make_loggers(settings, run) if first else []
        for logger in loggers:
            stack.callback(logger.close)
        progress = stack.enter_context(cache_progress())
        result = run_stages(
            config, settings, run=run, start=start, loggers=loggers, cache_progress=progress
        )
    if first:
        show_result(result)
    if not result.finished:
        raise typer.Exit(130)
    return result

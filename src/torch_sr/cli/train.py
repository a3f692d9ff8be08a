"""``torch-sr train``: train the networks that a configuration describes."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from torch_sr.cli.console import DataRoot, Device, cache_progress, fetch_first, find_model

if TYPE_CHECKING:
    from torch_sr.config import Hyperparameters
    from torch_sr.training.loggers import Logger
    from torch_sr.training.settings import RunSettings


class Stage(str, Enum):
    """The stages of a training, by the names of their sections."""

    PRETRAINING = "pretraining"
    TRAINING = "training"


def train(
    config: Annotated[Path, typer.Argument(help="JSON file of hyper-parameters.")],
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", help="Override a hyper-parameter: generator.num_basic_blocks=8."),
    ] = None,
    like: Annotated[
        str | None,
        typer.Option(
            "--like",
            metavar="MODEL",
            help="Take scale_factor, img_channels and generator.* from a model, by file or name.",
        ),
    ] = None,
    print_config: Annotated[
        bool, typer.Option("--print-config", help="Print the complete configuration and stop.")
    ] = False,
    check: Annotated[
        bool,
        typer.Option(
            "--check", help="Find what would fail, draw a batch (check_*.png in --out-dir), stop."
        ),
    ] = False,
    data_root: DataRoot = Path("data"),
    out_dir: Annotated[
        Path, typer.Option("--out-dir", help="Parent of saved_models/ and logs/.")
    ] = Path(),
    load_checkpoint: Annotated[
        str | None,
        typer.Option(
            "--load-checkpoint", "-l", help="Checkpoint to go on from, or a model, by file or name."
        ),
    ] = None,
    start_stage: Annotated[
        Stage | None,
        typer.Option(
            "--start-stage",
            help="Stage to begin with when -l names a model. \\[default: training]",
        ),
    ] = None,
    partial: Annotated[
        bool,
        typer.Option("--partial", help="Take from the model of -l what fits; list what does not."),
    ] = False,
    checkpoint_interval: Annotated[
        int, typer.Option("--checkpoint-interval", "-i", min=1, help="Epochs between checkpoints.")
    ] = 1,
    best_checkpoint_warmup: Annotated[
        int,
        typer.Option(
            "--best-checkpoint-warmup", "-w", min=0, help="Epochs before a best one is stored."
        ),
    ] = 0,
    store_model_interval: Annotated[
        int | None,
        typer.Option("--store-model-interval", "-s", min=1, help="Epochs between stored models."),
    ] = None,
    validation_interval: Annotated[
        int, typer.Option("--validation-interval", min=1, help="Epochs between validations.")
    ] = 1,
    image_interval: Annotated[
        int, typer.Option("--image-interval", min=1, help="Epochs between logged images.")
    ] = 1,
    keep_checkpoints: Annotated[
        int,
        typer.Option("--keep-checkpoints", min=0, help="Older checkpoints kept beside the newest."),
    ] = 1,
    num_workers: Annotated[
        int | None,
        typer.Option(
            "--num-workers",
            min=0,
            help="Processes that cut training crops. \\[default: 4 beside a GPU, otherwise 0]",
        ),
    ] = None,
    device: Device = "auto",
    devices: Annotated[
        int | None,
        typer.Option(
            "--devices",
            min=1,
            help="Processes, each with a device and a mini-batch of its own. \\[default: all GPUs]",
        ),
    ] = None,
    precision: Annotated[
        str, typer.Option("--precision", help="fp32, bf16 or fp16; weights stay fp32.")
    ] = "fp32",
    accumulate: Annotated[
        int,
        typer.Option(
            "--accumulate", min=1, help="Parts that mini-batches are split into, to save memory."
        ),
    ] = 1,
    compile_networks: Annotated[
        bool, typer.Option("--compile/--no-compile", help="Compile the networks (torch.compile).")
    ] = False,
    channels_last: Annotated[
        bool, typer.Option(help="Order images and weights by pixel, which most devices like.")
    ] = True,
    licence: Annotated[
        str | None, typer.Option("--licence", help="Recorded in the models: CC-BY-4.0.")
    ] = None,
    tensorboard: Annotated[
        bool, typer.Option(help="Log scalars and validation images for TensorBoard.")
    ] = True,
    wandb: Annotated[
        bool, typer.Option(help="Log the same to Weights & Biases; needs the extra wandb.")
    ] = False,
) -> None:
    """Train a generator; models and checkpoints go to saved_models/, logs to logs/."""
    from torch_sr.config import load_config

    sizes = take_sizes(like) if like is not None else []
    hyperparameters = load_config(config, [*sizes, *(overrides or [])])
    for note in compare_sizes(sizes, hyperparameters):
        print(f"note: {note}", file=sys.stderr)
    if print_config:
        print(hyperparameters.to_json(), end="")
        return
    from torch_sr.training.settings import Intervals, RunSettings

    settings = RunSettings(
        data_root=data_root,
        out_dir=out_dir,
        resume=None if load_checkpoint is None else find_model(load_checkpoint),
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
    )
    if hyperparameters.download:
        fetch_data(hyperparameters, data_root)
    if check:
        check_training(hyperparameters, settings)
        return
    run_training(hyperparameters, settings, tensorboard=tensorboard, wandb=wandb)


def take_sizes(model: str) -> list[str]:
    """The generator's sizes in a model, as overrides, fetching the model at need."""
    from torch_sr.training.transfer import like_overrides

    return like_overrides(find_model(model))


def compare_sizes(sizes: Sequence[str], config: Hyperparameters) -> Iterator[str]:
    """Say which of the sizes of ``--like`` the configuration has otherwise, by ``--set``."""
    from torch_sr.config import to_overrides

    final = dict(override.split("=", 1) for override in to_overrides(config.to_dict()))
    for size in sizes:
        key, value = size.split("=", 1)
        if final[key] != value:
            yield f"--set {key}={final[key]} replaces {value} of the model named with --like"


def fetch_data(config: Hyperparameters, data_root: Path) -> None:
    """Fetch the data sets of both stages that are missing, showing progress."""
    from torch_sr.training.launch import is_first_process

    if is_first_process():  # the others wait for its downloads
        for stage in config.stages.values():
            fetch_first(stage.train_datasets, data_root, config.scale_factor, "train")
            fetch_first(stage.val_datasets, data_root, config.scale_factor, "val")


def check_training(config: Hyperparameters, settings: RunSettings) -> None:
    """Print what was found, a line each; stop with code 1 where something would fail."""
    from torch_sr.training import check
    from torch_sr.training.launch import is_first_process

    findings = []
    for finding in check.check_training(config, settings):
        findings.append(finding)
        if is_first_process():
            print(f"{'ok  ' if finding.passed else 'FAIL'}  {finding.subject}: {finding.text}")
    if not all(finding.passed for finding in findings):
        raise typer.Exit(1)


def run_training(
    config: Hyperparameters, settings: RunSettings, *, tensorboard: bool, wandb: bool
) -> None:
    """Train, showing progress; print where the model lies, or how to go on after a stop."""
    from torch_sr.training.launch import is_first_process
    from torch_sr.training.resume import read_start
    from torch_sr.training.run import train as run_stages

    first = is_first_process()
    start = read_start(settings.resume, stage=settings.start_stage, partial=settings.partial)
    run = start.run_name(settings.models_dir)
    loggers = make_loggers(settings, run, tensorboard=tensorboard, wandb=wandb) if first else []
    try:
        with cache_progress() as progress:
            result = run_stages(
                config, settings, run=run, start=start, loggers=loggers, cache_progress=progress
            )
    finally:
        for logger in loggers:
            logger.close()
    if not result.finished:
        if first:
            print(f"stopped; go on with --load-checkpoint {result.checkpoint}", file=sys.stderr)
        raise typer.Exit(130)
    if first:
        print(result.model)


def make_loggers(
    settings: RunSettings, run: str, *, tensorboard: bool, wandb: bool
) -> list[Logger]:
    """The terminal and JSON lines always, the others where they are wanted."""
    from torch_sr.cli.progress import ConsoleLogger
    from torch_sr.training.loggers import JSONLinesLogger, TensorBoardLogger, WandbLogger

    logs = settings.logs_dir(run)
    loggers: list[Logger] = [ConsoleLogger(), JSONLinesLogger(logs)]
    if tensorboard:
        loggers.append(TensorBoardLogger(logs))
    if wandb:
        loggers.append(WandbLogger(logs, run))
    return loggers

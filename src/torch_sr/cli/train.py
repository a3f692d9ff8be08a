"""``torch-sr train``: train the networks that a configuration describes."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from torch_sr.cli import first
from torch_sr.cli.console import DataRoot, Device, cache_progress, fetch_first, find_model
from torch_sr.errors import ConfigError, TorchSRError
from torch_sr.training.settings import Every, Intervals, RunSettings

if TYPE_CHECKING:
    from torch_sr.config import Hyperparameters
    from torch_sr.training.loggers import Logger
    from torch_sr.training.result import Figures, StageResult, TrainingResult


def parse_every(text: str | Every) -> Every:
    """An interval as options have it; a wrong one is wrong usage."""
    try:
        return text if isinstance(text, Every) else Every.parse(text)
    except ConfigError as error:
        raise typer.BadParameter(str(error)) from error


def _interval(*names: str, help: str) -> Any:  # noqa: A002
    """An option that takes an interval."""
    return typer.Option(*names, parser=parse_every, metavar="INTERVAL", help=help)


_EPOCH = Every(1)
_FIRST = "A first training"


class Stage(str, Enum):
    """The stages of a training, by the names of their sections."""

    PRETRAINING = "pretraining"
    TRAINING = "training"


def train(
    config: Annotated[
        Path | None,
        typer.Argument(show_default=False, help="JSON file of hyper-parameters; or give --images."),
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option(
            "--images",
            help="Folder of photographs to learn from, in place of a configuration: everything "
            "else is chosen for them and for this machine.",
            rich_help_panel=_FIRST,
        ),
    ] = None,
    minutes: Annotated[
        float | None,
        typer.Option(
            "--minutes",
            help="How long to train. \\[default: 15, or 60 with --from-scratch]",
            rich_help_panel=_FIRST,
        ),
    ] = None,
    from_scratch: Annotated[
        bool,
        typer.Option(
            "--from-scratch",
            help="Start from random weights in place of compact-x4 (or the model of -l).",
            rich_help_panel=_FIRST,
        ),
    ] = False,
    gan: Annotated[
        bool,
        typer.Option(
            "--gan/--no-gan",
            help="Add the GAN stage, which sharpens results and needs the weights of VGG19.",
            rich_help_panel=_FIRST,
        ),
    ] = False,
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
            "--load-checkpoint",
            "-l",
            help="Checkpoint to resume, or a model to start from, by file or name.",
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
    resume: Annotated[
        str | None,
        typer.Option(
            "--resume",
            metavar="auto|CHECKPOINT",
            help="auto resumes the newest sound checkpoint in --out-dir (of --name), or starts a "
            "new run; a file is the same as with -l.",
        ),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option("--name", help="Name of the run and its files. \\[default: the time]"),
    ] = None,
    checkpoint_interval: Annotated[
        Every,
        _interval(
            "--checkpoint-interval", "-i", help="Epochs between checkpoints, or steps: '500 steps'."
        ),
    ] = _EPOCH,
    best_checkpoint_warmup: Annotated[
        int,
        typer.Option(
            "--best-checkpoint-warmup", "-w", min=0, help="Epochs before a best one is stored."
        ),
    ] = 0,
    store_model_interval: Annotated[
        Every | None,
        _interval("--store-model-interval", "-s", help="Epochs or steps between stored models."),
    ] = None,
    validation_interval: Annotated[
        Every,
        _interval("--validation-interval", help="Epochs or steps between validations."),
    ] = _EPOCH,
    image_interval: Annotated[
        Every,
        _interval("--image-interval", help="Epochs or steps between logged images."),
    ] = _EPOCH,
    val_metrics: Annotated[
        str,
        typer.Option(
            "--val-metrics",
            help="Also measured in validations: lpips,dists,niqe,brisque,perceptual_loss.",
        ),
    ] = "",
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
        planned = first.prepare(photos, settings, overrides or [])
        if print_config:
            print(planned.config.to_json(), end="")
        elif result := start_training(planned.config, planned.settings, check=check):
            first.draw_sheet(planned, result)
        return
    if config is None or from_scratch or gan or minutes is not None:
        raise typer.BadParameter(
            "give a CONFIG file, or --images with a folder of photographs, which alone takes "
            "--minutes, --from-scratch and --gan"
        )
    hyperparameters = read_config(config, like, overrides or [])
    if print_config:
        print(hyperparameters.to_json(), end="")
        return
    start_training(hyperparameters, settings, check=check)


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
    if hyperparameters.download:
        fetch_data(hyperparameters, settings.data_root)
    if check:
        check_training(hyperparameters, settings)
        return None
    return run_training(hyperparameters, settings)


def find_newest(settings: RunSettings) -> RunSettings:
    """The settings that resume the newest checkpoint there is; say which one."""
    from torch_sr.training.launch import is_first_process
    from torch_sr.training.runs import find_checkpoint

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
    from torch_sr.data.datasets import choose_sides
    from torch_sr.training.launch import is_first_process

    if is_first_process():  # the others wait for its downloads
        for stage in config.stages.values():
            train, val = choose_sides(stage)
            fetch_first(train, data_root, config.scale_factor, "train")
            fetch_first(val, data_root, config.scale_factor, "val")


def check_training(config: Hyperparameters, settings: RunSettings) -> None:
    """Print what was found, a line each; stop with code 1 where something would fail."""
    from torch_sr.training import check
    from torch_sr.training.launch import is_first_process

    findings = []
    for finding in check.check_training(config, settings):
        findings.append(finding)
        if is_first_process():
            print(f"{finding.verdict:4}  {finding.subject}: {finding.text}")
    if not all(finding.passed for finding in findings):
        raise typer.Exit(1)


def run_training(config: Hyperparameters, settings: RunSettings) -> TrainingResult:
    """Train, showing progress; print the models with their figures, or how to resume after a stop.

    Raises:
        typer.Exit: with code 130 after a stop.
    """
    from torch_sr.training.launch import is_first_process
    from torch_sr.training.resume import read_start
    from torch_sr.training.run import train as run_stages
    from torch_sr.training.runs import reserved_run

    first = is_first_process()
    start = read_start(settings.resume, stage=settings.start_stage, partial=settings.partial)
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


def show_result(result: TrainingResult) -> None:
    """Print models and figures on stdout, a line each with the path last; remarks on stderr."""
    for stage in result.stages:
        for line in describe_stage(stage):
            print(line)
        if stage.start and stage.best and not stage.best.beats(stage.start):
            print(
                f"note: no model of the {stage.stage} stage is better than its start in both PSNR "
                f"and SSIM: {describe_figures(stage.start)}",
                file=sys.stderr,
            )
    if not result.finished:
        print(f"stopped; resume with --load-checkpoint {result.checkpoint}", file=sys.stderr)


def describe_stage(stage: StageResult) -> Iterator[str]:
    """A line for the start, the best model and the last one, those that there are."""
    if stage.start is not None:
        yield f"{stage.stage}  start  {describe_figures(stage.start)}"
    for kind, figures, model in (
        ("best", stage.best, stage.best_model),
        ("last", stage.last, stage.last_model),
    ):
        if model is not None:
            shown = f"{describe_figures(figures)}  " if figures is not None else ""
            yield f"{stage.stage}  {kind}   {shown}{model}"


def describe_figures(figures: Figures) -> str:
    """PSNR, SSIM, and when they were measured, in a few words."""
    place = f"epoch {figures.epoch}, step {figures.step}"
    return f"PSNR {figures.psnr:.2f} dB  SSIM {figures.ssim:.4f}  {place}"


def make_loggers(settings: RunSettings, run: str) -> list[Logger]:
    """The terminal and JSON lines always, the others where they are wanted.

    Raises:
        MissingExtraError: when wandb is wanted and not installed.
        LogError: when wandb is not logged in, or TensorBoard is not installed.
    """
    from torch_sr.cli.progress import ConsoleLogger
    from torch_sr.training.loggers import (
        JSONLinesLogger,
        TensorBoardLogger,
        WandbLogger,
        load_tensorboard,
    )

    logs = settings.logs_dir(run)
    loggers: list[Logger] = [ConsoleLogger(), JSONLinesLogger(logs)]
    if settings.tensorboard:
        load_tensorboard()
        loggers.append(TensorBoardLogger(logs))
    if settings.wandb == "on":
        loggers.append(WandbLogger(logs, run))
    elif settings.wandb == "auto":
        loggers += find_wandb(logs, run)
    return loggers


def find_wandb(logs: Path, run: str) -> list[Logger]:
    """A logger for Weights & Biases where it can be used; say whether it is."""
    from torch_sr.training.loggers import WandbLogger
    from torch_sr.training.wandb_access import check_wandb

    try:
        mode = check_wandb()
    except TorchSRError as error:
        print(f"note: not logging to Weights & Biases: {error}", file=sys.stderr)
        return []
    print(f"logging to Weights & Biases ({mode})", file=sys.stderr)
    return [WandbLogger(logs, run, optional=True)]

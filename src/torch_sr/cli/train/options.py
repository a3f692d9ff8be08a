"""The options of ``torch-sr train``, one type each; panels group them in the help."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer

from torch_sr.errors import ConfigError
from torch_sr.training.settings import Every


def parse_every(text: str | Every) -> Every:
    """An interval as options have it; a wrong one is wrong usage."""
    try:
        return text if isinstance(text, Every) else Every.parse(text)
    except ConfigError as error:
        raise typer.BadParameter(str(error)) from error


def _interval(*names: str, help: str) -> Any:  # noqa: A002
    """An option that takes an interval."""
    return typer.Option(*names, parser=parse_every, metavar="INTERVAL", help=help)


class Stage(str, Enum):
    """The stages of a training, by the names of their sections."""

    PRETRAINING = "pretraining"
    TRAINING = "training"


_FIRST = "A first training"

Config = Annotated[
    Path | None,
    typer.Argument(show_default=False, help="JSON file of hyper-parameters; or give --images."),
]
Images = Annotated[
    Path | None,
    typer.Option(
        "--images",
        help="Folder of photographs to learn from, in place of a configuration: everything "
        "else is chosen for them and for this machine.",
        rich_help_panel=_FIRST,
    ),
]
Minutes = Annotated[
    float | None,
    typer.Option(
        "--minutes",
        help="How long to train. \\[default: 15, or 60 with --from-scratch]",
        rich_help_panel=_FIRST,
    ),
]
FromScratch = Annotated[
    bool,
    typer.Option(
        "--from-scratch",
        help="Start from random weights in place of compact-x4 (or the model of -l).",
        rich_help_panel=_FIRST,
    ),
]
Gan = Annotated[
    bool,
    typer.Option(
        "--gan/--no-gan",
        help="Add the GAN stage, which sharpens results. It needs the weights of VGG19, or a "
        "package with --set perceptual_loss.backbone=efficientnet_lite0.",
        rich_help_panel=_FIRST,
    ),
]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", help="Override a hyper-parameter: generator.num_basic_blocks=8."),
]
Like = Annotated[
    str | None,
    typer.Option(
        "--like",
        metavar="MODEL",
        help="Take scale_factor, img_channels and generator.* from a model, by file or name.",
    ),
]
PrintConfig = Annotated[
    bool, typer.Option("--print-config", help="Print the complete configuration and stop.")
]
Check = Annotated[
    bool,
    typer.Option(
        "--check", help="Find what would fail, draw a batch (check_*.png in --out-dir), stop."
    ),
]
OutDir = Annotated[Path, typer.Option("--out-dir", help="Parent of saved_models/ and logs/.")]
LoadCheckpoint = Annotated[
    str | None,
    typer.Option(
        "--load-checkpoint",
        "-l",
        help="Checkpoint to resume, or a model to start from, by file or name.",
    ),
]
StartStage = Annotated[
    Stage | None,
    typer.Option(
        "--start-stage",
        help="Stage to begin with when -l names a model. \\[default: training]",
    ),
]
Partial = Annotated[
    bool,
    typer.Option("--partial", help="Take from the model of -l what fits; list what does not."),
]
Resume = Annotated[
    str | None,
    typer.Option(
        "--resume",
        metavar="auto|CHECKPOINT",
        help="auto resumes the newest sound checkpoint in --out-dir (of --name), or starts a "
        "new run; a file is the same as with -l.",
    ),
]
Name = Annotated[
    str | None,
    typer.Option("--name", help="Name of the run and its files. \\[default: the time]"),
]
CheckpointInterval = Annotated[
    Every,
    _interval(
        "--checkpoint-interval", "-i", help="Epochs between checkpoints, or steps: '500 steps'."
    ),
]
BestCheckpointWarmup = Annotated[
    int,
    typer.Option(
        "--best-checkpoint-warmup", "-w", min=0, help="Epochs before a best one is stored."
    ),
]
StoreModelInterval = Annotated[
    Every | None,
    _interval("--store-model-interval", "-s", help="Epochs or steps between stored models."),
]
ValidationInterval = Annotated[
    Every,
    _interval("--validation-interval", help="Epochs or steps between validations."),
]
ImageInterval = Annotated[
    Every,
    _interval("--image-interval", help="Epochs or steps between logged images."),
]
ValMetrics = Annotated[
    str,
    typer.Option(
        "--val-metrics",
        help="Also measured in validations: lpips,dists,niqe,brisque,perceptual_loss.",
    ),
]
KeepCheckpoints = Annotated[
    int,
    typer.Option("--keep-checkpoints", min=0, help="Older checkpoints kept beside the newest."),
]
NumWorkers = Annotated[
    int | None,
    typer.Option(
        "--num-workers",
        min=0,
        help="Processes that cut training crops. \\[default: 4 beside a GPU, otherwise 0]",
    ),
]
Devices = Annotated[
    int | None,
    typer.Option(
        "--devices",
        min=1,
        help="Processes, each with a device and a mini-batch of its own. \\[default: all GPUs]",
    ),
]
Precision = Annotated[
    str, typer.Option("--precision", help="fp32, bf16 or fp16; weights stay fp32.")
]
Accumulate = Annotated[
    int,
    typer.Option(
        "--accumulate", min=1, help="Parts that mini-batches are split into, to save memory."
    ),
]
CompileNetworks = Annotated[
    bool, typer.Option("--compile/--no-compile", help="Compile the networks (torch.compile).")
]
ChannelsLast = Annotated[
    bool, typer.Option(help="Order images and weights by pixel, which most devices like.")
]
Licence = Annotated[
    str | None, typer.Option("--licence", help="Recorded in the models: CC-BY-4.0.")
]
Tensorboard = Annotated[
    bool, typer.Option(help="Log scalars and validation images for TensorBoard.")
]
Wandb = Annotated[
    bool, typer.Option(help="Log the same to Weights & Biases; needs the extra wandb.")
]

"""The settings of a run: everything but the hyper-parameters."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Literal

from torch_sr.aliases import StageName
from torch_sr.errors import ConfigError
from torch_sr.options import DATA_ROOT, DEVICE, DOWNLOAD, Option, split_commas

_START = "Start and resume"
_STORAGE = "Validation and storage"
_LOGS = "Logging"
_COMPUTE = "Computation"
_INTERVAL = re.compile(r"\s*(\d+)\s*(epochs?|steps?)?\s*", re.IGNORECASE)


@dataclass(frozen=True)
class StageLimits:
    """When a stage ends: whichever of the two comes first."""

    num_epochs: int
    num_steps: int | None = None

    def total_steps(self, steps_per_epoch: int) -> int:
        """Number of mini-batches of the whole stage.

        >>> StageLimits(num_epochs=10, num_steps=25).total_steps(steps_per_epoch=4)
        25
        """
        steps = self.num_epochs * steps_per_epoch
        return steps if self.num_steps is None else min(steps, self.num_steps)


@dataclass(frozen=True)
class Every:
    """How often something is done: ``Every(2)`` epochs, ``Every(500, "steps")``.

    Raises:
        ConfigError: ``count`` is less than 1.

    >>> str(Every.parse("500 steps")), str(Every.parse("1"))
    ('500 steps', '1 epoch')
    """

    count: int
    unit: Literal["epochs", "steps"] = "epochs"

    def __post_init__(self) -> None:
        if self.count < 1:
            raise ConfigError(f"an interval of {self.count} {self.unit}: it must be 1 or more")

    @classmethod
    def parse(cls, text: str) -> Every:
        """Read ``"2"``, ``"2 epochs"`` or ``"500 steps"``; a number alone counts epochs.

        Raises:
            ConfigError: for anything else.
        """
        found = _INTERVAL.fullmatch(text)
        if found is None or int(found[1]) < 1:
            raise ConfigError(f"interval {text!r}: write 2, '2 epochs' or '500 steps'")
        steps = (found[2] or "").lower().startswith("step")
        return cls(int(found[1]), "steps" if steps else "epochs")

    def in_steps(self, steps_per_epoch: int) -> int:
        """The interval in mini-batches."""
        return self.count * (steps_per_epoch if self.unit == "epochs" else 1)

    def __str__(self) -> str:
        return f"{self.count} {self.unit if self.count > 1 else self.unit[:-1]}"


def _interval(*flags: str, help: str) -> Option:  # noqa: A002
    """An option that takes an interval."""
    return Option(help, flags, panel=_STORAGE, metavar="INTERVAL", parse=Every.parse)


@dataclass(frozen=True)
class Intervals:
    """How often the trainer does what is not training; all of it is also done at the end.

    A stored model has a name of its own, ``…_epoch_10_model.safetensors`` or
    ``…_step_500_model.safetensors``; without ``store_model`` only the best and the last are stored.
    """

    checkpoint: Annotated[
        Every,
        _interval(
            "--checkpoint-interval", "-i", help="Epochs between checkpoints, or '500 steps'."
        ),
    ] = Every(1)
    validate: Annotated[
        Every, _interval("--validation-interval", help="Epochs or steps between validations.")
    ] = Every(1)
    store_model: Annotated[
        Every | None,
        _interval("--store-model-interval", help="Epochs or steps between stored models."),
    ] = None
    images: Annotated[
        Every, _interval("--image-interval", help="Epochs or steps between logged images.")
    ] = Every(1)
    best_warmup: Annotated[
        int,
        Option(
            "Epochs before a best model is stored.",
            ("--best-checkpoint-warmup", "-w"),
            panel=_STORAGE,
            min=0,
        ),
    ] = 0
    keep_checkpoints: Annotated[
        int, Option("Older checkpoints to keep in addition to the newest.", panel=_STORAGE, min=0)
    ] = 1


@dataclass(frozen=True)
class RunFiles:
    """The names of the files of a run, which are those of enhanced-srgan."""

    folder: Path
    run: str
    label: str
    scale_factor: int

    def path(self, what: str) -> Path:
        """For example ``saved_models/1657192860_RRDB_PSNR_x4_best_model.safetensors``."""
        return self.folder / f"{self.run}_RRDB_{self.label}_x{self.scale_factor}_{what}"


@dataclass(frozen=True)
class RunSettings:
    """The settings of one run: everything that is not a hyper-parameter.

    The options of ``torch-sr train`` are made from these fields.

    Args:
        start_stage: with which a training from a model begins; None begins with the GAN stage, if
            there is one.
        devices: torchrun, if it started this process, decides instead.
        num_workers: 0 cuts crops in the training process.
        cache_dir: where decoded images are kept.
        resume_auto: ``resume`` was looked for; a run of the same ``name`` that has stored nothing
            is then started again.
        val_metrics: see :data:`torch_sr.training.validation.EXTRA_METRICS`.
        wandb_if_available: log to Weights & Biases if it is installed and configured; never fails.
    """

    data_root: Annotated[Path, DATA_ROOT] = Path("data")
    out_dir: Annotated[
        Path, Option("Folder for saved_models/ and logs/.", ("--out", "-o"), metavar="FOLDER")
    ] = Path()
    download: Annotated[bool, DOWNLOAD] = False
    name: Annotated[str | None, Option("Name of the run and its files.", default="the time")] = None
    license: Annotated[
        str | None, Option("License to record in the models, such as CC-BY-4.0.")
    ] = None
    resume: Annotated[
        Path | None,
        Option(
            "Checkpoint to resume, or a model to start from, by file or name.",
            ("--load-checkpoint", "-l"),
            panel=_START,
            metavar="CHECKPOINT|MODEL",
        ),
    ] = None
    start_stage: Annotated[
        StageName | None,
        Option("Stage to begin with if -l names a model.", panel=_START, default="training"),
    ] = None
    partial: Annotated[
        bool,
        Option(
            "Take only the parameters that fit from the model of -l; list the others.", panel=_START
        ),
    ] = False
    intervals: Intervals = field(default_factory=Intervals)
    val_metrics: Annotated[
        tuple[str, ...],
        Option(
            "More metrics for validations: lpips,dists,niqe,brisque,perceptual_loss.",
            panel=_LOGS,
            parse=split_commas,
        ),
    ] = ()
    tensorboard: Annotated[
        bool, Option("Log scalars and validation images for TensorBoard.", panel=_LOGS)
    ] = True
    wandb: Annotated[
        bool,
        Option(
            "Log the same to Weights & Biases; needs the extra wandb.",
            ("--wandb/--no-wandb",),
            panel=_LOGS,
        ),
    ] = False
    device: Annotated[str, replace(DEVICE, panel=_COMPUTE)] = "auto"
    devices: Annotated[
        int | None,
        Option(
            "Processes, each with its own device and a mini-batch of batch_size.",
            panel=_COMPUTE,
            min=1,
            default="all GPUs",
        ),
    ] = None
    precision: Annotated[
        str, Option("fp32, bf16 or fp16 (mixed); weights stay fp32.", panel=_COMPUTE)
    ] = "fp32"
    accumulate: Annotated[
        int,
        Option("Parts that each mini-batch is split into, to save memory.", panel=_COMPUTE, min=1),
    ] = 1
    compile: Annotated[
        bool,
        Option(
            "Compile the networks (torch.compile).", ("--compile/--no-compile",), panel=_COMPUTE
        ),
    ] = False
    channels_last: Annotated[
        bool,
        Option(
            "Store images and weights in channels-last memory format, which is faster on most "
            "devices.",
            panel=_COMPUTE,
        ),
    ] = True
    num_workers: Annotated[
        int | None,
        Option(
            "Processes that cut training crops.",
            panel=_COMPUTE,
            min=0,
            default="4 with a GPU, otherwise 0",
        ),
    ] = None
    cache_dir: Path | None = None
    resume_auto: bool = False
    wandb_if_available: bool = False

    @property
    def models_dir(self) -> Path:
        """Where checkpoints and models are stored."""
        return self.out_dir / "saved_models"

    def logs_dir(self, run: str) -> Path:
        """Where the logs of a run are stored."""
        return self.out_dir / "logs" / run

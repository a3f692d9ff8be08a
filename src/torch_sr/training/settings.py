"""The settings of a run: everything about a training that is not a hyper-parameter."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from torch_sr.errors import ConfigError

_INTERVAL = re.compile(r"\s*(\d+)\s*(epochs?|steps?)?\s*", re.IGNORECASE)


@dataclass(frozen=True)
class StageLimits:
    """When a stage ends: whichever of the two comes first."""

    num_epochs: int
    num_steps: int | None = None


@dataclass(frozen=True)
class Every:
    """How often something is done: ``Every(2)`` epochs, ``Every(500, "steps")``.

    Raises:
        ConfigError: when ``count`` is less than 1.

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


@dataclass(frozen=True)
class Intervals:
    """How often the trainer does what is not training; all of it is also done at the end.

    Args:
        checkpoint: store the checkpoint.
        validate: measure on the validation images.
        store_model: store the model under its own name, ``…_epoch_10_model.safetensors`` or
            ``…_step_500_model.safetensors``; None never does.
        images: show validation images to the loggers, when these are measured on.
        best_warmup: epochs before a best model is stored.
        keep_checkpoints: how many older checkpoints are kept beside the newest.
    """

    checkpoint: Every = Every(1)
    validate: Every = Every(1)
    store_model: Every | None = None
    images: Every = Every(1)
    best_warmup: int = 0
    keep_checkpoints: int = 1


@dataclass(frozen=True)
class RunFiles:
    """The names under which a run stores its work, as the description has them."""

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

    Args:
        data_root: folder of the data sets.
        out_dir: parent of ``saved_models/`` and ``logs/``.
        resume: a checkpoint to resume, or a model to start from.
        start_stage: ``pretraining`` or ``training``, with which a training from a model begins;
            None begins with the GAN stage, where there is one.
        partial: take from a model the parameters that fit, in place of all.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        devices: how many of them, a process each; None takes all GPUs, or one CPU. torchrun, where
            it has started this process, decides by itself.
        precision: ``fp32``, ``bf16`` or ``fp16``; mixed, with weights in fp32.
        accumulate: parts into which every mini-batch is split, to take less memory.
        compile: the networks by ``torch.compile``.
        channels_last: keep weights and images in that order, a quarter faster where it matters.
        num_workers: processes that cut crops ahead; 0 does it in the training process. None takes
            a few beside a GPU, and none on a CPU, which they would only share.
        intervals: how often to validate and store.
        cache_dir: where decoded images are kept.
        licence: recorded in the models.
        resume_auto: ``resume`` was looked for; a run of the same ``name`` that has stored nothing
            is then started again.
        name: of the run, the first part of its files; None takes the time it starts.
        val_metrics: measured on the validation images besides PSNR and SSIM; see
            :data:`torch_sr.training.validation.EXTRA_METRICS`.
        tensorboard: log for TensorBoard.
        wandb: log to Weights & Biases: ``off``, ``on``, or ``auto``, which does so where it is
            installed and configured and never fails.
    """

    data_root: Path = Path("data")
    out_dir: Path = Path()
    resume: Path | None = None
    start_stage: str | None = None
    partial: bool = False
    device: str = "auto"
    devices: int | None = None
    precision: str = "fp32"
    accumulate: int = 1
    compile: bool = False
    channels_last: bool = True
    num_workers: int | None = None
    intervals: Intervals = field(default_factory=Intervals)
    cache_dir: Path | None = None
    licence: str | None = None
    resume_auto: bool = False
    name: str | None = None
    val_metrics: tuple[str, ...] = ()
    tensorboard: bool = True
    wandb: Literal["off", "on", "auto"] = "off"

    @property
    def models_dir(self) -> Path:
        """Where checkpoints and models are stored."""
        return self.out_dir / "saved_models"

    def logs_dir(self, run: str) -> Path:
        """Where the logs of a run are stored."""
        return self.out_dir / "logs" / run

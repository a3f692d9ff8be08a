"""The settings of a run: everything about a training that is not a hyper-parameter."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class StageLimits:
    """When a stage ends: whichever of the two comes first."""

    num_epochs: int
    num_steps: int | None = None


@dataclass(frozen=True)
class Intervals:
    """How often, in epochs, the trainer does what is not training.

    Args:
        checkpoint: store the checkpoint.
        validate: measure on the validation images.
        store_model: store the model of that epoch under its own name; None never does.
        images: show validation images to the loggers, where these are measured on.
        best_warmup: epochs before a best model is stored.
        keep_checkpoints: how many older checkpoints are kept beside the newest.
    """

    checkpoint: int = 1
    validate: int = 1
    store_model: int | None = None
    images: int = 1
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
        data_root: where the data sets lie.
        out_dir: parent of ``saved_models/`` and ``logs/``.
        resume: a checkpoint to go on from, or a model to start from.
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

    @property
    def models_dir(self) -> Path:
        """Where checkpoints and models are stored."""
        return self.out_dir / "saved_models"

    def logs_dir(self, run: str) -> Path:
        """Where the logs of a run are stored."""
        return self.out_dir / "logs" / run

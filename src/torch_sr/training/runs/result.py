"""The result of a training: its models and checkpoints, with their scores."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch_sr.config import GAN_STAGE


@dataclass(frozen=True)
class Scores:
    """The metrics of a model on the validation images.

    Args:
        epoch: epochs of its stage done before the measurement.
        step: mini-batches done before; 0 is the start.
        metrics: means by name: ``val/PSNR``, ``val/SSIM``, ``val/content_loss`` …
    """

    epoch: int
    step: int
    metrics: Mapping[str, float] = field(default_factory=dict)

    @property
    def psnr(self) -> float:
        """Mean PSNR in dB."""
        return self.metrics["val/PSNR"]

    @property
    def ssim(self) -> float:
        """Mean SSIM."""
        return self.metrics["val/SSIM"]

    def beats(self, other: Scores) -> bool:
        """Whether both PSNR and SSIM are better, as required for the best model."""
        return self.psnr > other.psnr and self.ssim > other.ssim

    def to_dict(self) -> dict[str, Any]:
        """Plain values for a checkpoint; ``Scores(**…)`` restores them."""
        return {"epoch": self.epoch, "step": self.step, "metrics": dict(self.metrics)}


@dataclass(frozen=True)
class StageResult:
    """How a stage ended.

    Args:
        stage: one of :data:`~torch_sr.config.STAGES`.
        finished: False if a signal stopped it before its limits.
        checkpoint: the newest checkpoint.
        best_model: the best model in PSNR and SSIM; None if no model was validated.
        last_model: the model at the end; None if the stage is not finished.
        start: scores of the model that the stage started from; None for an untrained network, or
            without validation images.
        best: scores of ``best_model``.
        last: scores of ``last_model``; None without validation images.
    """

    stage: str
    finished: bool
    checkpoint: Path
    best_model: Path | None = None
    last_model: Path | None = None
    start: Scores | None = None
    best: Scores | None = None
    last: Scores | None = None

    @property
    def recommended(self) -> Path | None:
        """The model to use: the best; in the GAN stage, where PSNR says little, the last."""
        if self.stage == GAN_STAGE:
            return self.last_model or self.best_model
        return self.best_model or self.last_model


@dataclass(frozen=True)
class TrainingResult:
    """How a training ended; the properties are those of its last stage.

    Args:
        stages: the stages that ran, in order; at least one.
    """

    stages: tuple[StageResult, ...]

    @property
    def finished(self) -> bool:
        """False if a signal stopped the training before its limits."""
        return self.stages[-1].finished

    @property
    def checkpoint(self) -> Path:
        """The newest checkpoint."""
        return self.stages[-1].checkpoint

    @property
    def best_model(self) -> Path | None:
        """The best model in PSNR and SSIM."""
        return self.stages[-1].best_model

    @property
    def last_model(self) -> Path | None:
        """The model at the end."""
        return self.stages[-1].last_model

    @property
    def model(self) -> Path | None:
        """The same as :attr:`last_model`."""
        return self.last_model

    @property
    def recommended(self) -> Path | None:
        """The model to use, see :attr:`StageResult.recommended`."""
        return self.stages[-1].recommended

    @property
    def start(self) -> Scores | None:
        """Scores of the model that the stage started from."""
        return self.stages[-1].start

    @property
    def best(self) -> Scores | None:
        """Scores of the best model."""
        return self.stages[-1].best

    @property
    def last(self) -> Scores | None:
        """Scores of the last model."""
        return self.stages[-1].last

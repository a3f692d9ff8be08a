"""The result of a training: its models and checkpoints, with their scores."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Scores:
    """What a model was measured at on the validation images.

    Args:
        epoch: epochs done in its stage by then.
        step: mini-batches done by then; 0 is the start.
        metrics: by name: ``val/PSNR``, ``val/SSIM``, ``val/content_loss`` …
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
        """Whether these are better in PSNR and in SSIM, as the best model has to be."""
        return self.psnr > other.psnr and self.ssim > other.ssim

    def to_dict(self) -> dict[str, Any]:
        """As plain values, for a checkpoint; ``Scores(**…)`` reads them back."""
        return {"epoch": self.epoch, "step": self.step, "metrics": dict(self.metrics)}


@dataclass(frozen=True)
class StageResult:
    """How a stage ended.

    Args:
        stage: ``pretraining`` or ``training``.
        finished: False when a signal stopped it before its limits.
        checkpoint: the newest.
        best_model: better than all before in PSNR and SSIM; None when none was validated.
        last_model: as it was at the end; None where it is not finished.
        start: scores of the model that the stage started from; None for a fresh network, and
            without validation images.
        best: of ``best_model``.
        last: of ``last_model``; None without validation images.
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
        """The model to use: the best; in the GAN stage, which PSNR does not judge, the last."""
        if self.stage == "training":
            return self.last_model or self.best_model
        return self.best_model or self.last_model


@dataclass(frozen=True)
class TrainingResult:
    """How a training ended; the properties are those of the stage that ran last.

    Args:
        stages: the stages that ran, in order; at least one.
    """

    stages: tuple[StageResult, ...]

    @property
    def finished(self) -> bool:
        """False when a signal stopped the training before its limits."""
        return self.stages[-1].finished

    @property
    def checkpoint(self) -> Path:
        """The newest checkpoint."""
        return self.stages[-1].checkpoint

    @property
    def best_model(self) -> Path | None:
        """The model that was best in PSNR and SSIM."""
        return self.stages[-1].best_model

    @property
    def last_model(self) -> Path | None:
        """The model as it was at the end."""
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

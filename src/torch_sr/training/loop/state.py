"""The state of a training stage, except for its networks and optimizers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lightning_fabric import Fabric
from torch import Tensor

from torch_sr.config import WatchConfig
from torch_sr.training.loop.divergence import DivergenceDetector
from torch_sr.training.loop.epoch_means import EpochMeans
from torch_sr.training.runs.result import Scores


@dataclass
class Progress:
    """The counters and best scores of a stage, which a checkpoint stores."""

    epoch: int = 0
    """Epochs done."""
    batch: int = 0
    """Mini-batches done in the current epoch."""
    step: int = 0
    """Mini-batches done in total."""
    best_psnr: float = float("-inf")
    best_ssim: float = float("-inf")


class TrainerState:
    """What changes while a stage trains; a checkpoint stores all of it.

    Args:
        fabric: the device of the sums, and the processes that share them.
        config: what counts as divergence.
        validation_due: whether a validation is due before the first step.
    """

    def __init__(
        self, fabric: Fabric, config: WatchConfig, *, validation_due: bool = False
    ) -> None:
        self.progress = Progress()
        self.metrics: dict[str, float] = {}
        """Of the latest epoch and validation."""
        self.start: Scores | None = None
        """Scores of the model that the stage started from."""
        self.best: Scores | None = None
        """Scores of the best model."""
        self.validation_due = validation_due
        """Whether a validation is due before the next step, after the checkpoint."""
        self.shown_at = 0
        """The step at which images were last logged."""
        self.sums = EpochMeans(fabric)
        self.watch = DivergenceDetector(config)

    def count_step(self, losses: Mapping[str, Tensor], skipped: Tensor) -> None:
        """Add a mini-batch."""
        self.sums.add(losses, skipped)
        self.progress.step += 1
        self.progress.batch += 1

    def close_epoch(self, learning_rates: Mapping[str, float]) -> None:
        """Add an epoch; its metrics are the mean losses and the learning rates."""
        values = self.sums.means() | dict(learning_rates)
        self.metrics = {f"train/{name}": value for name, value in values.items()}
        self.sums.start_epoch()
        self.progress.epoch += 1
        self.progress.batch = 0

    def add_validation(self, metrics: Mapping[str, float]) -> None:
        """Take over the metrics of the validation that was due."""
        self.validation_due = False
        if not self.progress.step:
            self.start = Scores(0, 0, metrics)
        else:
            trained = {k: v for k, v in self.metrics.items() if not k.startswith("val/")}
            self.metrics = {**trained, **metrics}

    def scores(self) -> Scores | None:
        """The scores of the current model; None if it was not validated."""
        if "val/PSNR" not in self.metrics:
            return None
        found = {k: v for k, v in self.metrics.items() if k.startswith("val/")}
        return Scores(self.progress.epoch, self.progress.step, found)

    def mark_best(self) -> bool:
        """Remember the current scores if both PSNR and SSIM are better than all before.

        Returns:
            whether they are.
        """
        scores, progress = self.scores(), self.progress
        if scores is None:
            return False
        if not (scores.psnr > progress.best_psnr and scores.ssim > progress.best_ssim):
            return False
        progress.best_psnr, progress.best_ssim = scores.psnr, scores.ssim
        self.best = scores
        return True

    def state_dict(self) -> dict[str, Any]:
        """Plain values and tensors for a checkpoint."""
        return {
            "progress": vars(self.progress),
            "metrics": self.metrics,
            "start": self.start.to_dict() if self.start else None,
            "best": self.best.to_dict() if self.best else None,
            "validates": self.validation_due,
            "shown_at": self.shown_at,
            "sums": self.sums.state_dict(),
            "watch": self.watch.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore :meth:`state_dict`, which may be part of a checkpoint."""
        self.progress = Progress(**state["progress"])
        self.metrics = dict(state["metrics"])
        # These four are missing in older checkpoints.
        self.start = _read_scores(state.get("start"))
        self.best = _read_scores(state.get("best"))
        self.validation_due = bool(state.get("validates", False))
        self.shown_at = int(state.get("shown_at", 0))
        self.sums.load_state_dict(state["sums"])
        self.watch.load_state_dict(state["watch"])


def _read_scores(state: Mapping[str, Any] | None) -> Scores | None:
    return None if state is None else Scores(**state)

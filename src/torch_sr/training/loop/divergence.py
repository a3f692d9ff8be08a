"""Detect divergence: non-finite steps, collapsed validations."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from torch_sr.config import WatchConfig

_PERFECT_PSNR = 100.0  # dB; an infinite PSNR of equal images would make any later one a drop


class Divergence(Exception):  # noqa: N818
    """A training diverged; the message says how that was detected."""


class DivergenceDetector:
    """Check the skipped steps and the validations of a stage.

    Args:
        config: what counts as divergence.
    """

    def __init__(self, config: WatchConfig) -> None:
        self.config = config
        self.rollbacks = 0
        """Number of rollbacks of the stage so far."""
        self._best_psnr = -math.inf
        self._least_shift = math.inf

    @property
    def lr_scale(self) -> float:
        """Factor of the learning rates after the rollbacks so far."""
        return float(self.config.lr_factor**self.rollbacks)

    def check_steps(self, skipped_in_a_row: int) -> None:
        """Raise Divergence if too many mini-batches in a row were skipped."""
        if skipped_in_a_row >= self.config.max_skipped:
            raise Divergence(
                f"losses or gradients were not finite in {skipped_in_a_row} mini-batches in a row"
            )

    def check_validation(self, metrics: Mapping[str, float]) -> None:
        """Raise Divergence if the PSNR or the colors of the validation images collapsed."""
        if "val/PSNR" not in metrics:
            return
        psnr, shift = min(metrics["val/PSNR"], _PERFECT_PSNR), metrics["val/color_shift"]
        drop, drift = self.config.psnr_drop, self.config.color_drift
        if drop is not None and not psnr >= self._best_psnr - drop:
            raise Divergence(
                f"the PSNR of the validation is {psnr:.2f} dB, the best was {self._best_psnr:.2f}"
            )
        if drift is not None and not shift <= self._least_shift + drift:
            raise Divergence(
                f"the mean color of the validation images is off by {shift:.3f}, the least was "
                f"{self._least_shift:.3f}"
            )
        self._best_psnr = max(self._best_psnr, psnr)
        self._least_shift = min(self._least_shift, shift)

    def state_dict(self) -> dict[str, Any]:
        """The state that later checks depend on."""
        return {
            "rollbacks": self.rollbacks,
            "best_psnr": self._best_psnr,
            "least_shift": self._least_shift,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore :meth:`state_dict`."""
        self.rollbacks = int(state["rollbacks"])
        self._best_psnr = float(state["best_psnr"])
        self._least_shift = float(state["least_shift"])

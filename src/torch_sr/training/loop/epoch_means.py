"""Mean losses over an epoch, summed on the device."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor


class EpochMeans:
    """Sums over the steps of an epoch, kept on the device."""

    def __init__(self, fabric: Fabric) -> None:
        self._fabric = fabric
        self._losses: dict[str, Tensor] = {}
        self._taken = torch.zeros((), device=fabric.device)
        self._skipped = torch.zeros((), device=fabric.device)
        self.skipped_in_a_row = torch.zeros((), device=fabric.device)
        """Also counts steps of earlier epochs."""

    def add(self, losses: Mapping[str, Tensor], skipped: Tensor) -> None:
        """Add a step; the losses of a skipped one do not count."""
        zero = torch.zeros_like(skipped)
        for name, loss in losses.items():
            counted = torch.where(skipped > 0, zero, loss)
            self._losses[name] = self._losses.get(name, zero) + counted
        self._taken = self._taken + (1 - skipped)
        self._skipped = self._skipped + skipped
        self.skipped_in_a_row = (self.skipped_in_a_row + 1) * skipped

    def share(self) -> None:
        """Replace the sums by their means over the processes; call it on all of them.

        Before a checkpoint, because all processes resume from that of the first.
        """
        if self._fabric.world_size > 1 and self._losses:
            shared: Any = self._fabric.all_reduce(self._losses, reduce_op="mean")
            self._losses = shared

    def means(self) -> dict[str, float]:
        """The mean of every loss over steps and processes; ``skipped_steps`` if there are any."""
        self.share()
        taken, skipped = float(self._taken), float(self._skipped)
        losses = self._losses if taken else {}
        means = {name: float(total) / taken for name, total in losses.items()}
        return means | ({"skipped_steps": skipped} if skipped else {})

    def start_epoch(self) -> None:
        """Reset all but the skipped steps in a row."""
        self._losses = {}
        self._taken = torch.zeros_like(self._taken)
        self._skipped = torch.zeros_like(self._skipped)

    def state_dict(self) -> dict[str, Any]:
        """All sums so far."""
        return {
            "losses": self._losses,
            "taken": self._taken,
            "skipped": self._skipped,
            "skipped_in_a_row": self.skipped_in_a_row,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore :meth:`state_dict`."""
        device = self._fabric.device
        self._losses = {name: value.to(device) for name, value in state["losses"].items()}
        self._taken = state["taken"].to(device)
        self._skipped = state["skipped"].to(device)
        self.skipped_in_a_row = state["skipped_in_a_row"].to(device)

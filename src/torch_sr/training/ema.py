"""The exponential moving average (EMA) of a network's weights."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn


class WeightAverage:
    """Keep ``average += (1 - decay) * (weights - average)``, which is smoother than the weights.

    Args:
        network: the network whose weights are averaged.
        decay: in [0, 1); 0 keeps no average, and :attr:`module` is the network itself. At first,
            the smaller decay ``(1 + t) / (10 + t)`` lets the average forget the initialization.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self._network = network
        self._decay = decay
        self._updates = 0
        self.module = network if decay == 0 else copy.deepcopy(network).requires_grad_(False).eval()

    @torch.no_grad()
    def update(self) -> None:
        """Add the current weights of the network to the average."""
        if self.module is self._network:
            return
        self._updates += 1
        decay = min(self._decay, (1 + self._updates) / (10 + self._updates))
        averages: list[Tensor] = list(self.module.parameters())
        weights: list[Tensor] = list(self._network.parameters())
        torch._foreach_lerp_(averages, weights, 1 - decay)

    def state_dict(self) -> dict[str, Any]:
        """The averaged weights, and the number of updates."""
        return {"weights": self.module.state_dict(), "updates": self._updates}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore :meth:`state_dict`."""
        self.module.load_state_dict(state["weights"])
        self._updates = int(state["updates"])

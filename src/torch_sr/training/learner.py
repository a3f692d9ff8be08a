"""A network together with what changes it: its Adam optimizer and its learning rate."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR


class Learner:
    """Descend a loss, one mini-batch after another.

    Args:
        fabric: device, precision and gradient synchronisation.
        network: as built; it stays usable by itself, and its weights are the ones that change.
        lr: the learning rate of Adam.
        betas: decay rates of Adam's two averages.
        factor: what the learning rate is multiplied by after so many mini-batches.
    """

    def __init__(
        self,
        fabric: Fabric,
        network: nn.Module,
        lr: float,
        betas: tuple[float, float],
        factor: Callable[[int], float],
    ) -> None:
        self._fabric = fabric
        self._network = network
        optimizer = torch.optim.Adam(network.parameters(), lr=lr, betas=betas)
        self._wrapped, self._optimizer = fabric.setup(network, optimizer)
        self._schedule = LambdaLR(optimizer, factor)

    def __call__(self, x: Tensor) -> Tensor:
        """Run the network in the precision of the run."""
        out: Tensor = self._wrapped(x)
        return out

    def apply_frozen(self, x: Tensor) -> Tensor:
        """Run the network for its gradient in ``x`` alone, without the synchronisation of its own.

        Its parameters must not require gradients meanwhile, or else they would get some here.
        """
        with self._fabric.autocast():
            out: Tensor = self._network(x)
        return out.float()

    def descend(self, loss: Tensor) -> None:
        """Take one step of the optimizer, and one of the schedule."""
        self._optimizer.zero_grad()
        self._fabric.backward(loss)
        self._optimizer.step()
        self._schedule.step()

    @property
    def learning_rate(self) -> float:
        """The rate of the next step."""
        return float(self._schedule.get_last_lr()[0])

    def state_dict(self) -> dict[str, Any]:
        """Weights, optimizer and schedule."""
        return {
            "network": self._network.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "schedule": self._schedule.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore :meth:`state_dict`."""
        self._network.load_state_dict(state["network"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._schedule.load_state_dict(state["schedule"])

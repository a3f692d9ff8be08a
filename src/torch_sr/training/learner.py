"""A network with its optimizer, which skips steps that are not finite."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

OPTIMIZERS: dict[str, type[torch.optim.Adam]] = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
}
"""The optimizers by their names in the configuration.

Each must support ``found_inf``, which skips a step without waiting for the device. The libraries of
newer optimizers (Adan, Lion, Prodigy) do not.
"""


class Learner:
    """Minimize a loss, mini-batch by mini-batch; steps that are not finite are skipped.

    ::

        for share, lr_part, hr_part in learner.micro_batches(lr, hr):
            learner.backward(share * loss(learner(lr_part), hr_part))
        skipped = learner.step()

    Nothing here waits for the device: it decides itself whether a step is skipped.

    Args:
        fabric: device, precision and gradient synchronization.
        network: the network to train, which can still be used directly.
        lr: the learning rate.
        betas: decay rates of the optimizer's two averages.
        factor: returns the factor of the learning rate after a number of mini-batches.
        optimizer: ``adam`` or ``adamw``.
        weight_decay: added to the gradient by Adam, applied to the weights by AdamW.
        gradient_clip: the largest norm of the gradient; None sets no limit.
        accumulate: parts into which a mini-batch is split, to use less memory.
    """

    def __init__(
        self,
        fabric: Fabric,
        network: nn.Module,
        lr: float,
        betas: tuple[float, float],
        factor: Callable[[int], float],
        *,
        optimizer: str = "adam",
        weight_decay: float = 0.0,
        gradient_clip: float | None = None,
        accumulate: int = 1,
    ) -> None:
        self.lr_scale = 1.0
        """Additional factor of the learning rate, after a rollback."""
        self._fabric = fabric
        self.network = network
        """The network without wrappers."""
        self._lr = lr
        self._factor = factor
        self._gradient_clip = gradient_clip
        self._accumulate = accumulate
        self._steps = 0
        # Fused: a single kernel for all weights, and the only variant that supports `found_inf`.
        self._adam = OPTIMIZERS[optimizer](
            network.parameters(), lr=lr, betas=betas, weight_decay=weight_decay, fused=True
        )
        self._wrapped, self._optimizer = fabric.setup(network, self._adam)
        self._finite = torch.ones((), dtype=torch.bool, device=fabric.device)

    def __call__(self, x: Tensor) -> Tensor:
        """Run the network in the precision of the run."""
        out: Tensor = self._wrapped(x)
        return out

    def apply_frozen(self, x: Tensor) -> Tensor:
        """Run the network only for the gradient of ``x``, without synchronizing its own gradients.

        Its parameters must not require gradients during this call.
        """
        with self._fabric.autocast():
            out: Tensor = self.network(x)
        return out.float()

    def micro_batches(self, x: Tensor, hr: Tensor) -> Iterator[tuple[float, Tensor, Tensor]]:
        """Split a mini-batch into parts; yield the share of each part, and its two tensors.

        Processes only exchange gradients during the last part.
        """
        parts = list(zip(x.chunk(self._accumulate), hr.chunk(self._accumulate), strict=True))
        for number, (x_part, hr_part) in enumerate(parts, start=1):
            with self._fabric.no_backward_sync(self._wrapped, enabled=number < len(parts)):
                yield len(hr_part) / len(hr), x_part, hr_part

    def backward(self, loss: Tensor) -> None:
        """Accumulate the gradient of a loss."""
        self._finite = self._finite & loss.detach().isfinite()
        self._fabric.backward(loss)

    def step(self) -> Tensor:
        """Take one step of the optimizer and of the schedule.

        Returns:
            1.0 if a loss or gradient was not finite on any process, so that weights and optimizer
            were left unchanged; otherwise 0.0.
        """
        skipped = self._clip_and_check()
        for group in self._adam.param_groups:
            group["lr"] = self.learning_rate
        self._adam.found_inf = skipped  # type: ignore[attr-defined]
        self._optimizer.step()
        self._optimizer.zero_grad()
        self._steps += 1
        self._finite = torch.ones_like(self._finite)
        return skipped

    def _clip_and_check(self) -> Tensor:
        """Clip the gradient; return 1.0 if the step must be skipped."""
        weights = list(self.network.parameters())
        grad_scaler = scaler(self._fabric)
        if grad_scaler is not None:
            grad_scaler.unscale_(self._adam)
        norm = torch.nn.utils.get_total_norm([p.grad for p in weights if p.grad is not None])
        if self._gradient_clip is not None:
            torch.nn.utils.clip_grads_with_norm_(weights, self._gradient_clip, norm)
        # Scaled gradients overflow occasionally by design; the scaler skips these steps itself.
        finite = self._finite if grad_scaler is not None else self._finite & norm.isfinite()
        skipped: Any = (~finite).float()
        if self._fabric.world_size > 1:
            skipped = self._fabric.all_reduce(skipped, reduce_op="max")
        return torch.as_tensor(skipped)

    @property
    def learning_rate(self) -> float:
        """The learning rate of the next step."""
        return self._lr * self._factor(self._steps) * self.lr_scale

    def state_dict(self) -> dict[str, Any]:
        """The weights, the optimizer, and the number of mini-batches so far."""
        return {
            "network": self.network.state_dict(),
            "optimizer": self._adam.state_dict(),
            "steps": self._steps,
            "lr_scale": self.lr_scale,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore :meth:`state_dict`; the settings of the constructor are kept."""
        self.network.load_state_dict(state["network"])
        self._adam.load_state_dict(state["optimizer"])
        for group in self._adam.param_groups:
            group.update(self._adam.defaults)
        self._steps = int(state["steps"])
        self.lr_scale = float(state["lr_scale"])


def scaler(fabric: Fabric) -> torch.amp.GradScaler | None:
    """The gradient scaler of fp16, which all learners of a run share."""
    found: torch.amp.GradScaler | None = getattr(fabric.strategy.precision, "scaler", None)
    return found

"""A network with its optimizer and learning rate, which skips steps that are not finite."""

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
"""By the name in the configuration.

Each must support ``found_inf``, which skips a step without waiting for the device. The libraries of
newer optimizers (Adan, Lion, Prodigy) do not.
"""


class Learner:
    """Minimize a loss, one mini-batch after another; steps that are not finite are skipped.

    ::

        for share, lr_part, hr_part in learner.micro_batches(lr, hr):
            learner.backward(share * loss(learner(lr_part), hr_part))
        skipped = learner.step()

    Nothing here waits for the device, which decides by itself whether a step is skipped.

    Args:
        fabric: device, precision and gradient synchronization.
        network: as built; it stays usable by itself, and its weights are those that are trained.
        lr: the learning rate.
        betas: decay rates of the optimizer's two averages.
        factor: what the learning rate is multiplied by after so many mini-batches.
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
        """What the learning rate is multiplied by besides, after a rollback."""
        self._fabric = fabric
        self.network = network
        """Without wrappers."""
        self._lr = lr
        self._factor = factor
        self._gradient_clip = gradient_clip
        self._accumulate = accumulate
        self._steps = 0
        # Fused: one kernel for all weights, and the one that supports `found_inf`.
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
        """Run the network for the gradient in ``x`` only, without synchronizing its own gradients.

        Its parameters must not require gradients meanwhile.
        """
        with self._fabric.autocast():
            out: Tensor = self.network(x)
        return out.float()

    def micro_batches(self, x: Tensor, hr: Tensor) -> Iterator[tuple[float, Tensor, Tensor]]:
        """Split a mini-batch into its share and both its tensors, part by part.

        Processes exchange gradients with the last part only.
        """
        parts = list(zip(x.chunk(self._accumulate), hr.chunk(self._accumulate), strict=True))
        for number, (x_part, hr_part) in enumerate(parts, start=1):
            with self._fabric.no_backward_sync(self._wrapped, enabled=number < len(parts)):
                yield len(hr_part) / len(hr), x_part, hr_part

    def backward(self, loss: Tensor) -> None:
        """Add the gradient of a loss to the gradients so far."""
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
        # Scaled gradients overflow by design at times; the scaler skips these steps itself.
        finite = self._finite if grad_scaler is not None else self._finite & norm.isfinite()
        skipped: Any = (~finite).float()
        if self._fabric.world_size > 1:
            skipped = self._fabric.all_reduce(skipped, reduce_op="max")
        return torch.as_tensor(skipped)

    @property
    def learning_rate(self) -> float:
        """The rate of the next step."""
        return self._lr * self._factor(self._steps) * self.lr_scale

    def state_dict(self) -> dict[str, Any]:
        """Weights, optimizer, and how many mini-batches they have seen."""
        return {
            "network": self.network.state_dict(),
            "optimizer": self._adam.state_dict(),
            "steps": self._steps,
            "lr_scale": self.lr_scale,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore :meth:`state_dict`; all settings stay those of the constructor."""
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

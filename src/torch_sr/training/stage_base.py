"""The base class of the stages: averaged weights, losses, state."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from torch_sr.config import ExtraLossesConfig
from torch_sr.losses import EXTRA_LOSSES, PerceptualLoss, content_loss
from torch_sr.training.ema import WeightAverage
from torch_sr.training.learner import Learner


@dataclass(frozen=True)
class StepResult:
    """The outcome of a training step, still on the device.

    Args:
        losses: detached losses by name.
        skipped: 1.0 if the step was not finite and had no effect, otherwise 0.0.
    """

    losses: dict[str, Tensor]
    skipped: Tensor


class Stage(ABC):
    """A training stage: its networks, losses and optimizers.

    Args:
        fabric: device, precision and gradient synchronization.
        learners: the learner of each network, by name; one is ``generator``.
        ema_decay: decay of the average of the generator's weights; 0 keeps no average.
        loss_f: content loss: ``l1``, ``l2`` or ``mse``.
        perceptual: the perceptual loss on the device; None if it is neither used nor measured.
    """

    name: str
    """The section of the stage in the configuration."""
    label: str
    """The part of file names that stands for the stage: PSNR or ESRGAN."""

    def __init__(
        self,
        fabric: Fabric,
        learners: Mapping[str, Learner],
        ema_decay: float,
        loss_f: str,
        perceptual: PerceptualLoss | None,
    ) -> None:
        self._fabric = fabric
        self._learners = dict(learners)
        self._loss_f = loss_f
        self._perceptual = perceptual
        self.generator = learners["generator"].network
        """The network in training, without wrappers."""
        self.generator_learner = learners["generator"]
        self.average = WeightAverage(self.generator, ema_decay)

    @abstractmethod
    def train_step(self, lr: Tensor, hr: Tensor) -> StepResult:
        """Learn from a mini-batch.

        Args:
            lr: ``(N, C, H, W)`` in [0, 1].
            hr: ``(N, C, H * s, W * s)`` in [0, 1].
        """

    @abstractmethod
    def learning_rates(self) -> dict[str, float]:
        """The learning rates of the next step, by the names under which they are logged."""

    @property
    def evaluated(self) -> nn.Module:
        """The network that is validated and stored: the average if there is one."""
        return self.average.module

    def validation_losses(self, sr: Tensor, hr: Tensor) -> dict[str, Tensor]:
        """The losses of a super-resolved validation image, by name."""
        losses = {"content_loss": content_loss(sr, hr, self._loss_f)}
        if self._perceptual is not None:
            with torch.no_grad():
                losses["perceptual_loss"] = self._perceptual(sr, hr)
        return losses

    def networks(self) -> dict[str, nn.Module]:
        """The networks in training, by name."""
        return {name: learner.network for name, learner in self._learners.items()}

    def scale_learning_rates(self, scale: float) -> None:
        """From now on, multiply the learning rates of the configuration by a factor."""
        for learner in self._learners.values():
            learner.lr_scale = scale

    def state_dict(self) -> dict[str, Any]:
        """Everything that the next step depends on."""
        states = {name: learner.state_dict() for name, learner in self._learners.items()}
        return {**states, "average": self.average.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore :meth:`state_dict` exactly."""
        for name, learner in self._learners.items():
            learner.load_state_dict(state[name])
        self.average.load_state_dict(state["average"])


class LossMeans:
    """The detached losses of a mini-batch, summed over its parts."""

    def __init__(self) -> None:
        self.values: dict[str, Tensor] = {}

    def add(self, losses: Mapping[str, Tensor], share: float) -> None:
        """Add the losses of a part, weighted by its share of the images."""
        for name, loss in losses.items():
            part = share * loss.detach()
            self.values[name] = self.values[name] + part if name in self.values else part


def extra_losses(
    sr: Tensor, hr: Tensor, weights: ExtraLossesConfig
) -> tuple[dict[str, Tensor], Tensor]:
    """The losses that the configuration adds, by name, and their weighted sum."""
    total = sr.new_zeros(())
    losses = {}
    for name, loss_f in EXTRA_LOSSES.items():
        weight = getattr(weights, name)
        if weight:
            losses[f"{name}_loss"] = loss_f(sr, hr)
            total = total + weight * losses[f"{name}_loss"]
    return losses, total

"""START HERE: how a training step runs.

A stage owns its networks, its losses and its optimizers, and shows one step from beginning to
end. It neither logs nor saves; the trainer, which does, knows no losses.
"""

from __future__ import annotations

from typing import Any, Protocol

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

from torch_sr.config import PretrainingConfig
from torch_sr.losses import content_loss
from torch_sr.training.ema import WeightAverage
from torch_sr.training.schedules import learning_rate_factor


class Stage(Protocol):
    """What the trainer needs of a training stage."""

    name: str
    """The stage's section in the configuration."""
    label: str
    """The stage's part in file names: PSNR or ESRGAN."""
    generator: nn.Module
    """The network in training, without wrappers."""

    @property
    def evaluated(self) -> nn.Module:
        """The network that is validated and stored: the average where one is kept."""
        ...

    def train_step(self, lr: Tensor, hr: Tensor) -> dict[str, Tensor]:
        """Learn from a mini-batch of images in [0, 1]; return the detached losses by name."""
        ...

    def validation_losses(self, sr: Tensor, hr: Tensor) -> dict[str, Tensor]:
        """The losses of a super-resolved validation image."""
        ...

    def learning_rates(self) -> dict[str, float]:
        """The current learning rates by name."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Everything that the next step depends on."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on exactly where :meth:`state_dict` was taken."""
        ...


class PSNRStage:
    """Pre-training: the generator alone, on the content loss (description, section 8.1).

    Args:
        fabric: device, precision and gradient synchronisation.
        generator: the network, as built.
        config: the stage's hyper-parameters.
        loss_f: content loss: ``l1``, ``l2`` or ``mse``.
        total_steps: mini-batches of the whole stage, which the cosine schedule spans.
    """

    name = "pretraining"
    label = "PSNR"

    def __init__(
        self,
        fabric: Fabric,
        generator: nn.Module,
        config: PretrainingConfig,
        loss_f: str,
        total_steps: int,
    ) -> None:
        self._fabric = fabric
        self._loss_f = loss_f
        self.generator = generator
        optimizer = torch.optim.Adam(generator.parameters(), lr=config.lr, betas=config.betas)
        self._network, self._optimizer = fabric.setup(generator, optimizer)
        self._average = WeightAverage(generator, config.ema_decay)
        self._schedule = LambdaLR(
            optimizer, lambda step: learning_rate_factor(step, config, total_steps)
        )

    @property
    def evaluated(self) -> nn.Module:
        return self._average.module

    def train_step(self, lr: Tensor, hr: Tensor) -> dict[str, Tensor]:
        sr = self._network(lr)
        loss = content_loss(sr, hr, self._loss_f)
        self._optimizer.zero_grad()
        self._fabric.backward(loss)
        self._optimizer.step()
        self._schedule.step()
        self._average.update()
        return {"content_loss": loss.detach()}

    def validation_losses(self, sr: Tensor, hr: Tensor) -> dict[str, Tensor]:
        return {"content_loss": content_loss(sr, hr, self._loss_f)}

    def learning_rates(self) -> dict[str, float]:
        return {"lr": float(self._schedule.get_last_lr()[0])}

    def state_dict(self) -> dict[str, Any]:
        return {
            "model_state_dict": self.generator.state_dict(),
            "params_ema": self._average.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "schedule": self._schedule.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.generator.load_state_dict(state["model_state_dict"])
        self._average.load_state_dict(state["params_ema"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._schedule.load_state_dict(state["schedule"])

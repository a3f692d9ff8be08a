"""START HERE: how a training step runs.

A stage owns its networks, its losses and its optimizers, and shows one step from beginning to
end. It neither logs nor saves; the trainer, which does, knows no losses.
"""

from __future__ import annotations

from typing import Any, Protocol

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from torch_sr.config import PretrainingConfig, TrainingConfig
from torch_sr.losses import (
    PerceptualLoss,
    content_loss,
    relativistic_discriminator_loss,
    relativistic_generator_loss,
)
from torch_sr.training.ema import WeightAverage
from torch_sr.training.learner import Learner
from torch_sr.training.schedules import milestone_factor, pretraining_factor


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
        perceptual: also measured in validation, where it is given.
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
        perceptual: PerceptualLoss | None = None,
    ) -> None:
        self._loss_f = loss_f
        self._perceptual = perceptual
        self.generator = generator
        self._learner = Learner(
            fabric,
            generator,
            config.lr,
            config.betas,
            lambda step: pretraining_factor(step, config, total_steps),
        )
        self._average = WeightAverage(generator, config.ema_decay)

    @property
    def evaluated(self) -> nn.Module:
        return self._average.module

    def train_step(self, lr: Tensor, hr: Tensor) -> dict[str, Tensor]:
        loss = content_loss(self._learner(lr), hr, self._loss_f)
        self._learner.descend(loss)
        self._average.update()
        return {"content_loss": loss.detach()}

    def validation_losses(self, sr: Tensor, hr: Tensor) -> dict[str, Tensor]:
        return _validation_losses(sr, hr, self._loss_f, self._perceptual)

    def learning_rates(self) -> dict[str, float]:
        return {"lr": self._learner.learning_rate}

    def state_dict(self) -> dict[str, Any]:
        return {"generator": self._learner.state_dict(), "average": self._average.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._learner.load_state_dict(state["generator"])
        self._average.load_state_dict(state["average"])


class GANStage:
    """Training: generator against discriminator (description, sections 7.4.4 and 8.2).

    Args:
        fabric: device, precision and gradient synchronisation.
        generator: as the pre-training left it.
        discriminator: gives logits for images of the crop's size.
        perceptual: on the device already.
        config: the stage's hyper-parameters.
        loss_f: content loss: ``l1``, ``l2`` or ``mse``.
    """

    name = "training"
    label = "ESRGAN"

    def __init__(
        self,
        fabric: Fabric,
        generator: nn.Module,
        discriminator: nn.Module,
        perceptual: PerceptualLoss,
        config: TrainingConfig,
        loss_f: str,
    ) -> None:
        self._fabric = fabric
        self._config = config
        self._loss_f = loss_f
        self._perceptual = perceptual
        self.generator = generator
        self.discriminator = discriminator
        self._generating = Learner(
            fabric,
            generator,
            config.g_lr,
            config.betas,
            lambda step: milestone_factor(step, config.g_sched_steps, config.g_sched_gamma),
        )
        self._judging = Learner(
            fabric,
            discriminator,
            config.d_lr,
            config.betas,
            lambda step: milestone_factor(step, config.d_sched_steps, config.d_sched_gamma),
        )
        self._average = WeightAverage(generator, config.ema_decay)

    @property
    def evaluated(self) -> nn.Module:
        return self._average.module

    def train_step(self, lr: Tensor, hr: Tensor) -> dict[str, Tensor]:
        # The generator learns; the discriminator is frozen and only passes gradients on.
        self.discriminator.requires_grad_(False)
        sr = self._generating(lr)
        losses = {
            "content_loss": content_loss(sr, hr, self._loss_f),
            "perceptual_loss": self._perceptual(sr, hr),
            "g_adversarial_loss": relativistic_generator_loss(
                self._judging.apply_frozen(hr), self._judging.apply_frozen(sr), self._average_logits
            ),
        }
        losses["g_total_loss"] = (
            losses["perceptual_loss"]
            + self._config.g_adversarial_loss_scaling * losses["g_adversarial_loss"]
            + self._config.g_content_loss_scaling * losses["content_loss"]
        )
        self._generating.descend(losses["g_total_loss"])
        self._average.update()

        # The discriminator learns; what the generator made is now a mere image.
        self.discriminator.requires_grad_(True)
        losses["d_adversarial_loss"] = relativistic_discriminator_loss(
            self._judging(hr), self._judging(sr.detach()), self._average_logits
        )
        self._judging.descend(losses["d_adversarial_loss"])
        return {name: loss.detach() for name, loss in losses.items()}

    def _average_logits(self, logits: Tensor) -> Tensor:
        """Average over the mini-batches of all processes, as one large mini-batch would."""
        if self._fabric.world_size == 1:
            return logits.mean()
        everywhere: Any = self._fabric.all_gather(logits, sync_grads=True)
        return torch.mean(everywhere)

    def validation_losses(self, sr: Tensor, hr: Tensor) -> dict[str, Tensor]:
        return _validation_losses(sr, hr, self._loss_f, self._perceptual)

    def learning_rates(self) -> dict[str, float]:
        return {"g_lr": self._generating.learning_rate, "d_lr": self._judging.learning_rate}

    def state_dict(self) -> dict[str, Any]:
        return {
            "generator": self._generating.state_dict(),
            "discriminator": self._judging.state_dict(),
            "average": self._average.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._generating.load_state_dict(state["generator"])
        self._judging.load_state_dict(state["discriminator"])
        self._average.load_state_dict(state["average"])


def _validation_losses(
    sr: Tensor, hr: Tensor, loss_f: str, perceptual: PerceptualLoss | None
) -> dict[str, Tensor]:
    losses = {"content_loss": content_loss(sr, hr, loss_f)}
    if perceptual is not None:
        with torch.no_grad():
            losses["perceptual_loss"] = perceptual(sr, hr)
    return losses

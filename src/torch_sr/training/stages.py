"""START HERE: how a training step runs.

A stage owns its networks, its losses and its optimizers, and shows one step from beginning to
end. It neither logs nor saves; the trainer, which does, knows no losses.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from torch_sr.config import ExtraLossesConfig, PretrainingConfig, TrainingConfig
from torch_sr.losses import (
    EXTRA_LOSSES,
    PerceptualLoss,
    artifact_loss,
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
    skipped: Tensor
    """1.0 where the last step was not finite and changed nothing, otherwise 0.0."""

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

    def networks(self) -> dict[str, nn.Module]:
        """The networks in training by name."""
        ...

    def learning_rates(self) -> dict[str, float]:
        """The current learning rates by name."""
        ...

    def scale_learning_rates(self, scale: float) -> None:
        """Multiply the learning rates of the configuration by a factor from now on."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Everything that the next step depends on."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on exactly where :meth:`state_dict` was taken."""
        ...


class PSNRStage:
    """Pre-training: the generator alone, on the content loss (description, section 8.1).

    The configuration can add further losses, that of features among them.

    Args:
        fabric: device, precision and gradient synchronisation.
        generator: the network, as built.
        config: the stage's hyper-parameters.
        loss_f: content loss: ``l1``, ``l2`` or ``mse``.
        total_steps: mini-batches of the whole stage, which the cosine schedule spans.
        perceptual: on the device already; needed where the configuration gives it a weight, and
            measured in validation wherever it is given.
        accumulate: parts into which a mini-batch is split, to take less memory.
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
        accumulate: int = 1,
    ) -> None:
        self._fabric = fabric
        self._config = config
        self._loss_f = loss_f
        self._perceptual = perceptual
        self.generator = generator
        self._learner = Learner(
            fabric,
            generator,
            config.lr,
            config.betas,
            lambda step: pretraining_factor(step, config, total_steps),
            optimizer=config.optimizer,
            weight_decay=config.weight_decay,
            gradient_clip=config.gradient_clip,
            accumulate=accumulate,
        )
        self._average = WeightAverage(generator, config.ema_decay)
        self.skipped = torch.zeros((), device=fabric.device)

    @property
    def evaluated(self) -> nn.Module:
        return self._average.module

    def train_step(self, lr: Tensor, hr: Tensor) -> dict[str, Tensor]:
        means = _Means()
        for share, lr_part, hr_part in self._learner.micro_batches(lr, hr):
            losses = self._losses(self._learner(lr_part), hr_part)
            self._learner.backward(share * losses.get("total_loss", losses["content_loss"]))
            means.add(losses, share)
        self.skipped = self._learner.step()
        self._average.update()
        return means.values

    def _losses(self, sr: Tensor, hr: Tensor) -> dict[str, Tensor]:
        """Every loss by name; ``total_loss`` is the one to descend, where there are several."""
        content = content_loss(sr, hr, self._loss_f)
        weights = self._config.extra_losses
        extra, extra_sum = _extra_losses(sr, hr, weights)
        if weights.perceptual:
            assert self._perceptual is not None
            with self._fabric.autocast():
                extra["perceptual_loss"] = self._perceptual(sr, hr)
            extra_sum = extra_sum + weights.perceptual * extra["perceptual_loss"]
        losses = {"content_loss": content, **extra}
        return {**losses, "total_loss": content + extra_sum} if extra else losses

    def validation_losses(self, sr: Tensor, hr: Tensor) -> dict[str, Tensor]:
        return _validation_losses(sr, hr, self._loss_f, self._perceptual)

    def networks(self) -> dict[str, nn.Module]:
        return {"generator": self.generator}

    def learning_rates(self) -> dict[str, float]:
        return {"lr": self._learner.learning_rate}

    def scale_learning_rates(self, scale: float) -> None:
        self._learner.lr_scale = scale

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
        accumulate: parts into which a mini-batch is split, to take less memory; the relativistic
            averages and the batch normalisation span one part each.
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
        accumulate: int = 1,
    ) -> None:
        self._fabric = fabric
        self._config = config
        self._loss_f = loss_f
        self._perceptual = perceptual
        self.generator = generator
        self.discriminator = discriminator

        def learner(
            network: nn.Module, lr: float, milestones: Sequence[int], gamma: float
        ) -> Learner:
            return Learner(
                fabric,
                network,
                lr,
                config.betas,
                lambda step: milestone_factor(step, milestones, gamma, config.warmup_steps),
                optimizer=config.optimizer,
                weight_decay=config.weight_decay,
                gradient_clip=config.gradient_clip,
                accumulate=accumulate,
            )

        self._generating = learner(
            generator, config.g_lr, config.g_sched_steps, config.g_sched_gamma
        )
        self._judging = learner(
            discriminator, config.d_lr, config.d_sched_steps, config.d_sched_gamma
        )
        self._average = WeightAverage(generator, config.ema_decay)
        self.skipped = torch.zeros((), device=fabric.device)

    @property
    def evaluated(self) -> nn.Module:
        return self._average.module

    def train_step(self, lr: Tensor, hr: Tensor) -> dict[str, Tensor]:
        means = _Means()

        # The generator learns; the discriminator is frozen and only passes gradients on.
        self.discriminator.requires_grad_(False)
        fakes = []
        for share, lr_part, hr_part in self._generating.micro_batches(lr, hr):
            sr = self._generating(lr_part)
            losses = self._generator_losses(lr_part, sr, hr_part)
            self._generating.backward(share * losses["g_total_loss"])
            means.add(losses, share)
            fakes.append(sr.detach())
        g_skipped = self._generating.step()
        self._average.update()

        # The discriminator learns; what the generator made is now a mere image.
        self.discriminator.requires_grad_(True)
        for share, fake, real in self._judging.micro_batches(torch.cat(fakes), hr):
            loss = relativistic_discriminator_loss(
                self._judging(real), self._judging(fake), self._average_logits
            )
            self._judging.backward(share * loss)
            means.add({"d_adversarial_loss": loss}, share)
        self.skipped = torch.maximum(g_skipped, self._judging.step())
        return means.values

    def _generator_losses(self, lr: Tensor, sr: Tensor, hr: Tensor) -> dict[str, Tensor]:
        """Every loss of the generator by name; ``g_total_loss`` is the one to descend."""
        config = self._config
        with self._fabric.autocast():
            perceptual = self._perceptual(sr, hr)
        losses = {
            "content_loss": content_loss(sr, hr, self._loss_f),
            "perceptual_loss": perceptual,
            "g_adversarial_loss": relativistic_generator_loss(
                self._judging.apply_frozen(hr), self._judging.apply_frozen(sr), self._average_logits
            ),
        }
        total = (
            losses["perceptual_loss"]
            + config.g_adversarial_loss_scaling * losses["g_adversarial_loss"]
            + config.g_content_loss_scaling * losses["content_loss"]
        )
        extra, extra_sum = _extra_losses(sr, hr, config.extra_losses)
        if config.extra_losses.ldl:
            with torch.no_grad(), self._fabric.autocast():
                smoother = self._average.module(lr).float()
            extra["ldl_loss"] = artifact_loss(sr, smoother, hr)
            extra_sum = extra_sum + config.extra_losses.ldl * extra["ldl_loss"]
        return {**losses, **extra, "g_total_loss": total + extra_sum if extra else total}

    def _average_logits(self, logits: Tensor) -> Tensor:
        """Average over the mini-batches of all processes, as one large mini-batch would."""
        if self._fabric.world_size == 1:
            return logits.mean()
        everywhere: Any = self._fabric.all_gather(logits, sync_grads=True)
        return torch.mean(everywhere)

    def validation_losses(self, sr: Tensor, hr: Tensor) -> dict[str, Tensor]:
        return _validation_losses(sr, hr, self._loss_f, self._perceptual)

    def networks(self) -> dict[str, nn.Module]:
        return {"generator": self.generator, "discriminator": self.discriminator}

    def scale_learning_rates(self, scale: float) -> None:
        self._generating.lr_scale = self._judging.lr_scale = scale

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


class _Means:
    """Detached losses of a mini-batch, put together from those of its parts."""

    def __init__(self) -> None:
        self.values: dict[str, Tensor] = {}

    def add(self, losses: Mapping[str, Tensor], share: float) -> None:
        for name, loss in losses.items():
            part = share * loss.detach()
            self.values[name] = self.values[name] + part if name in self.values else part


def _extra_losses(
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


def _validation_losses(
    sr: Tensor, hr: Tensor, loss_f: str, perceptual: PerceptualLoss | None
) -> dict[str, Tensor]:
    losses = {"content_loss": content_loss(sr, hr, loss_f)}
    if perceptual is not None:
        with torch.no_grad():
            losses["perceptual_loss"] = perceptual(sr, hr)
    return losses

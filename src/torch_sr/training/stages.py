"""START HERE: how a training step runs.

Each stage begins with its step, from the mini-batch to the optimizers; its constructor comes last.
A stage neither logs nor saves; the trainer does this, without knowing the losses.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from torch_sr.config import GAN_STAGE, PSNR_STAGE, PretrainingConfig, TrainingConfig
from torch_sr.losses import (
    PerceptualLoss,
    artifact_loss,
    content_loss,
    relativistic_discriminator_loss,
    relativistic_generator_loss,
)
from torch_sr.networks.synced_norm import mean_of_processes
from torch_sr.training.learner import Learner
from torch_sr.training.schedules import milestone_factor, pretraining_factor
from torch_sr.training.stage_base import LossMeans, Stage, StepResult, extra_losses


class PSNRStage(Stage):
    """The first stage, the pre-training: the generator learns from the content loss.

    The configuration can add other losses, such as the perceptual loss.
    """

    name = PSNR_STAGE
    label = "PSNR"

    def train_step(self, lr: Tensor, hr: Tensor) -> StepResult:
        means = LossMeans()
        for share, lr_part, hr_part in self.generator_learner.micro_batches(lr, hr):
            losses = self._losses(self.generator_learner(lr_part), hr_part)
            total = losses.get("total_loss", losses["content_loss"])
            self.generator_learner.backward(share * total)
            means.add(losses, share)
        skipped = self.generator_learner.step()
        self.average.update()
        return StepResult(means.values, skipped)

    def _losses(self, sr: Tensor, hr: Tensor) -> dict[str, Tensor]:
        """All losses by name; if there are several, ``total_loss`` is minimized."""
        content = content_loss(sr, hr, self._loss_f)
        weights = self._config.extra_losses
        extra, extra_sum = extra_losses(sr, hr, weights)
        if weights.perceptual:
            assert self._perceptual is not None
            with self._fabric.autocast():
                extra["perceptual_loss"] = self._perceptual(sr, hr)
            extra_sum = extra_sum + weights.perceptual * extra["perceptual_loss"]
        losses = {"content_loss": content, **extra}
        return {**losses, "total_loss": content + extra_sum} if extra else losses

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
        """Set up the optimizer and the average.

        Args:
            fabric: device, precision and gradient synchronization.
            generator: the network, as built.
            config: the hyper-parameters of the stage.
            loss_f: content loss: ``l1``, ``l2`` or ``mse``.
            total_steps: number of mini-batches of the stage, over which the cosine schedule falls.
            perceptual: the perceptual loss on the device; needed if the configuration gives it a
                weight; if given, validations measure it.
            accumulate: parts into which a mini-batch is split, to use less memory.
        """

        def factor(step: int) -> float:
            return pretraining_factor(step, config, total_steps)

        learner = _build_learner(fabric, generator, config.lr, factor, config, accumulate)
        super().__init__(fabric, {"generator": learner}, config.ema_decay, loss_f, perceptual)
        self._config = config

    def learning_rates(self) -> dict[str, float]:
        return {"lr": self.generator_learner.learning_rate}


class GANStage(Stage):
    """The second stage: adversarial training as in ESRGAN (Wang et al. 2018)."""

    name = GAN_STAGE
    label = "ESRGAN"

    def train_step(self, lr: Tensor, hr: Tensor) -> StepResult:
        means = LossMeans()

        # The generator learns. The discriminator is frozen and only passes gradients on.
        self.discriminator.requires_grad_(False)
        fakes = []
        for share, lr_part, hr_part in self.generator_learner.micro_batches(lr, hr):
            sr = self.generator_learner(lr_part)
            losses = self._generator_losses(lr_part, sr, hr_part)
            self.generator_learner.backward(share * losses["g_total_loss"])
            means.add(losses, share)
            fakes.append(sr.detach())
        g_skipped = self.generator_learner.step()
        self.average.update()

        # The discriminator learns. Fake is detached.
        self.discriminator.requires_grad_(True)
        for share, fake, real in self.discriminator_learner.micro_batches(torch.cat(fakes), hr):
            loss = relativistic_discriminator_loss(
                self.discriminator_learner(real),
                self.discriminator_learner(fake),
                self._average_logits,
            )
            self.discriminator_learner.backward(share * loss)
            means.add({"d_adversarial_loss": loss}, share)
        d_skipped = self.discriminator_learner.step()
        return StepResult(means.values, torch.maximum(g_skipped, d_skipped))

    def _generator_losses(self, lr: Tensor, sr: Tensor, hr: Tensor) -> dict[str, Tensor]:
        """All losses of the generator by name; ``g_total_loss`` is minimized."""
        config = self._config
        assert self._perceptual is not None
        with self._fabric.autocast():
            perceptual = self._perceptual(sr, hr)
        discriminate = self.discriminator_learner.apply_frozen
        losses = {
            "content_loss": content_loss(sr, hr, self._loss_f),
            "perceptual_loss": perceptual,
            "g_adversarial_loss": relativistic_generator_loss(
                discriminate(hr), discriminate(sr), self._average_logits
            ),
        }
        total = (
            losses["perceptual_loss"]
            + config.g_adversarial_loss_scaling * losses["g_adversarial_loss"]
            + config.g_content_loss_scaling * losses["content_loss"]
        )
        extra, extra_sum = extra_losses(sr, hr, config.extra_losses)
        if config.extra_losses.ldl:
            with torch.no_grad(), self._fabric.autocast():
                smoother = self.average.module(lr).float()
            extra["ldl_loss"] = artifact_loss(sr, smoother, hr)
            extra_sum = extra_sum + config.extra_losses.ldl * extra["ldl_loss"]
        return {**losses, **extra, "g_total_loss": total + extra_sum if extra else total}

    def _average_logits(self, logits: Tensor) -> Tensor:
        """Average over the mini-batches of all processes, as one large mini-batch would."""
        mean = logits.mean()
        return mean if self._fabric.world_size == 1 else mean_of_processes(mean)

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
        """Set up both optimizers and the average.

        Args:
            fabric: device, precision and gradient synchronization.
            generator: the network after the pre-training.
            discriminator: computes logits for images of the size of the crops.
            perceptual: the perceptual loss on the device.
            config: the hyper-parameters of the stage.
            loss_f: content loss: ``l1``, ``l2`` or ``mse``.
            accumulate: parts into which a mini-batch is split, to use less memory; the
                relativistic averages and the batch normalization are those of one part.
        """

        def g_factor(step: int) -> float:
            return milestone_factor(
                step, config.g_sched_steps, config.g_sched_gamma, config.warmup_steps
            )

        def d_factor(step: int) -> float:
            return milestone_factor(
                step, config.d_sched_steps, config.d_sched_gamma, config.warmup_steps
            )

        learners = {
            "generator": _build_learner(
                fabric, generator, config.g_lr, g_factor, config, accumulate
            ),
            "discriminator": _build_learner(
                fabric, discriminator, config.d_lr, d_factor, config, accumulate
            ),
        }
        super().__init__(fabric, learners, config.ema_decay, loss_f, perceptual)
        self._config = config
        self.discriminator = discriminator
        self.discriminator_learner = learners["discriminator"]

    def learning_rates(self) -> dict[str, float]:
        return {
            "g_lr": self.generator_learner.learning_rate,
            "d_lr": self.discriminator_learner.learning_rate,
        }


def _build_learner(
    fabric: Fabric,
    network: nn.Module,
    lr: float,
    factor: Callable[[int], float],
    config: PretrainingConfig | TrainingConfig,
    accumulate: int,
) -> Learner:
    return Learner(
        fabric,
        network,
        lr,
        config.betas,
        factor,
        optimizer=config.optimizer,
        weight_decay=config.weight_decay,
        gradient_clip=config.gradient_clip,
        accumulate=accumulate,
    )

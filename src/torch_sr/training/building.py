"""Build the networks and stages of a run from its configuration."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import nn

from torch_sr.config import Hyperparameters
from torch_sr.losses import PerceptualLoss
from torch_sr.networks.discriminators import UNetDiscriminator, VGGDiscriminator
from torch_sr.networks.rrdb import RRDBNet
from torch_sr.training.context import RunContext
from torch_sr.training.settings import RunSettings
from torch_sr.training.stage_base import Stage
from torch_sr.training.stages import GANStage, PSNRStage

Network = TypeVar("Network", bound=nn.Module)


def build_generator(config: Hyperparameters) -> RRDBNet:
    """The generator, with initial weights from the seed."""
    torch.manual_seed(config.seed)
    return RRDBNet(**config.generator_kwargs)


def build_discriminator(config: Hyperparameters, *, synced: bool = False) -> nn.Module:
    """The discriminator for the crops of the GAN stage, with initial weights from the seed.

    Args:
        config: all hyper-parameters.
        synced: whether several processes share each mini-batch.
    """
    torch.manual_seed(config.seed + 1)  # independent of whether a PSNR stage ran before
    sizes = config.discriminator
    if sizes.kind == "unet":
        return UNetDiscriminator(config.img_channels, sizes.unet_channels)
    crop = config.training.cr_patch_size
    assert crop is not None  # checked by the configuration
    return VGGDiscriminator(
        crop, config.img_channels, sizes.vgg_blk_ch, sizes.fc_features, synced=synced
    )


def build_perceptual_loss(config: Hyperparameters) -> PerceptualLoss:
    """The perceptual loss with the weights of its network, downloaded if needed.

    Raises:
        ModelError: the weights are not available.
    """
    section = config.perceptual_loss
    arguments = section.model_dump() | {"layer_weights": section.single_layer_weights}
    return PerceptualLoss(**arguments)


def build_stage(
    name: str,
    context: RunContext,
    *,
    generator: RRDBNet,
    perceptual: PerceptualLoss | None,
    total_steps: int,
) -> Stage:
    """A stage, ready for its first step.

    Args:
        name: the stage.
        context: the context of the run.
        generator: the network, after :func:`prepare_network`.
        perceptual: the loss, prepared and on the device; needed by stages that learn from
            features, see :meth:`~torch_sr.config.Hyperparameters.needs_features`.
        total_steps: number of mini-batches of the stage.
    """
    config, settings = context.config, context.settings
    loss_f = config.content_loss.loss_f
    if name == PSNRStage.name:
        return PSNRStage(
            context.fabric,
            generator,
            config.pretraining,
            loss_f,
            total_steps,
            perceptual=perceptual,
            accumulate=settings.accumulate,
        )
    assert perceptual is not None
    several = context.fabric.world_size > 1
    discriminator = prepare_network(build_discriminator(config, synced=several), settings)
    return GANStage(
        context.fabric,
        generator,
        discriminator,
        perceptual,
        config.training,
        loss_f,
        accumulate=settings.accumulate,
    )


def prepare_network(network: Network, settings: RunSettings) -> Network:
    """Set the memory format of a network and compile it, as the settings say, in place."""
    if settings.channels_last:  # makes convolutions a quarter faster on CPUs and tensor cores
        network.to(memory_format=torch.channels_last)
    if settings.compile:
        network.compile()
    return network

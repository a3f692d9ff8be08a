"""The networks of a configuration, built and laid out for a run."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import nn

from torch_sr.config import Hyperparameters
from torch_sr.losses import PerceptualLoss
from torch_sr.models.discriminators import UNetDiscriminator, VGGDiscriminator
from torch_sr.models.rrdb import RRDBNet

Network = TypeVar("Network", bound=nn.Module)


def build_generator(config: Hyperparameters) -> RRDBNet:
    """The generator, with the weights of its initialisation from the seed."""
    torch.manual_seed(config.seed)
    return RRDBNet(**config.generator_kwargs)


def build_discriminator(config: Hyperparameters) -> nn.Module:
    """The discriminator for the crops of the GAN stage, likewise."""
    torch.manual_seed(config.seed + 1)  # the same whether there was a first stage or not
    sizes = config.discriminator
    if sizes.kind == "unet":
        return UNetDiscriminator(config.img_channels, sizes.unet_channels)
    crop = config.training.cr_patch_size
    assert crop is not None  # the configuration has seen to it
    return VGGDiscriminator(crop, config.img_channels, sizes.vgg_blk_ch, sizes.fc_features)


def build_perceptual_loss(config: Hyperparameters) -> PerceptualLoss:
    """The perceptual loss with its VGG weights, fetched at need.

    Raises:
        ModelError: when these cannot be had.
    """
    section = config.perceptual_loss
    arguments = section.model_dump() | {"layer_weights": section.single_layer_weights}
    return PerceptualLoss(**arguments)


def lay_out(network: Network, *, channels_last: bool, compiled: bool) -> Network:
    """Order and compile a network as the run wants it; its names and numbers stay."""
    if channels_last:  # convolutions run a quarter faster so, on CPUs and tensor cores
        network.to(memory_format=torch.channels_last)
    if compiled:
        network.compile()
    return network

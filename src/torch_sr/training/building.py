"""Build the networks and stages of a run from its configuration."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeAlias, TypeVar

import torch
from lightning_fabric import Fabric
from torch import nn

from torch_sr.config import Hyperparameters
from torch_sr.losses import PerceptualLoss
from torch_sr.networks.discriminators import UNetDiscriminator, VGGDiscriminator
from torch_sr.networks.rrdb import RRDBNet
from torch_sr.training.settings import RunSettings
from torch_sr.training.stage_base import Stage
from torch_sr.training.stages import GANStage, PSNRStage

if TYPE_CHECKING:
    pass

_log = logging.getLogger(__name__)

Network = TypeVar("Network", bound=nn.Module)
P = ParamSpec("P")
T = TypeVar("T")
Opener: TypeAlias = Callable[Concatenate[str, Hyperparameters, P], T]


def build_generator(config: Hyperparameters) -> RRDBNet:
    """The generator, with initial weights from the seed."""
    torch.manual_seed(config.seed)
    return RRDBNet(**config.generator_kwargs)


def build_discriminator(config: Hyperparameters) -> nn.Module:
    """The discriminator for the crops of the GAN stage, with initial weights from the seed."""
    torch.manual_seed(config.seed + 1)  # independent of whether a PSNR stage ran before
    sizes = config.discriminator
    if sizes.kind == "unet":
        return UNetDiscriminator(config.img_channels, sizes.unet_channels)
    crop = config.training.cr_patch_size
    assert crop is not None  # checked by the configuration
    return VGGDiscriminator(crop, config.img_channels, sizes.vgg_blk_ch, sizes.fc_features)


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
    fabric: Fabric,
    config: Hyperparameters,
    settings: RunSettings,
    *,
    generator: RRDBNet,
    perceptual: PerceptualLoss | None,
    total_steps: int,
) -> Stage:
    """A stage, ready for its first step.

    Args:
        name: the stage.
        fabric: the Fabric of the run.
        config: all hyper-parameters.
        settings: the settings of the run.
        generator: the network, after :func:`prepare_network`.
        perceptual: the loss, prepared and on the device; needed by stages that learn from
            features, see :meth:`~torch_sr.config.Hyperparameters.needs_features`.
        total_steps: number of mini-batches of the stage.
    """
    loss_f = config.content_loss.loss_f
    if name == PSNRStage.name:
        return PSNRStage(
            fabric,
            generator,
            config.pretraining,
            loss_f,
            total_steps,
            perceptual=perceptual,
            accumulate=settings.accumulate,
        )
    assert perceptual is not None
    discriminator = prepare_network(build_discriminator(config), settings)
    return GANStage(
        fabric,
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

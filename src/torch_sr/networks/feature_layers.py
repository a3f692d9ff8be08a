"""Names of the layers whose features are compared; needs no PyTorch."""

from __future__ import annotations

from collections.abc import Collection

from torch_sr.errors import ModelError

VGG_CONVS = {
    "vgg11": (1, 1, 2, 2, 2),
    "vgg13": (2, 2, 2, 2, 2),
    "vgg16": (2, 2, 3, 3, 3),
    "vgg19": (2, 2, 4, 4, 4),
}
"""The number of convolutions in each block (Simonyan and Zisserman 2015, table 1: A, B, D, E)."""

EFFICIENTNET = "efficientnet_lite0"
EFFICIENTNET_BLOCKS = (1, 2, 2, 3, 3, 4, 1)
"""The number of blocks in each stage (Tan and Le 2019, table 1)."""


def layer_names(network: str) -> list[str]:
    """The layers of a network, in order.

    VGG's are its convolutions, ``conv{block}_{number}``; EfficientNet-Lite0's are ``stem`` and its
    blocks, ``stage{stage}_{block}``. All numbers start at 1.

    Args:
        network: a key of :data:`VGG_CONVS`, or :data:`EFFICIENTNET`.

    >>> layer_names("vgg11")[:4]
    ['conv1_1', 'conv2_1', 'conv3_1', 'conv3_2']
    """
    if network == EFFICIENTNET:
        return ["stem", *_number("stage", EFFICIENTNET_BLOCKS)]
    return _number("conv", VGG_CONVS[network])


def check_layers(network: str, layers: Collection[str]) -> None:
    """Check names of layers.

    Raises:
        ModelError: for a name that the network does not have.
    """
    names = layer_names(network)
    if unknown := set(layers) - set(names):
        raise ModelError(f"{network} has no layer {min(unknown)}; it has {', '.join(names)}")


def _number(name: str, counts: tuple[int, ...]) -> list[str]:
    parts = enumerate(counts, start=1)
    return [f"{name}{part}_{n}" for part, count in parts for n in range(1, count + 1)]

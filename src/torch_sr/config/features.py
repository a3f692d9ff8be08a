"""The layers of the networks whose features the perceptual loss compares, by name.

A name of :func:`layer_groups` stands for several layers, each with its share of the weight.
"""

from __future__ import annotations

VGG_CONVS = {
    "vgg11": (1, 1, 2, 2, 2),
    "vgg13": (2, 2, 2, 2, 2),
    "vgg16": (2, 2, 3, 3, 3),
    "vgg19": (2, 2, 4, 4, 4),
}
"""The number of convolutions in each block (Simonyan and Zisserman 2015, table 1: A, B, D, E)."""

EFFICIENTNET = "efficientnet_lite0"
BACKBONES = ("vgg", EFFICIENTNET)
EFFICIENTNET_BLOCKS = (1, 2, 2, 3, 3, 4, 1)
"""The number of blocks in each stage (Tan and Le 2019, table 1)."""

FIVE_BLOCKS = "five_blocks"
FOUR_SCALES = "four_scales"
_FIVE_BLOCKS_SHARES = (0.1, 0.1, 1.0, 1.0, 1.0)
_FOUR_SCALES_SHARES = {"stage1_1": 0.08, "stage2_2": 0.05, "stage3_2": 0.055, "stage5_3": 0.07}
"""Each term is then about 0.25 between BSDS500's crops and their bicubic x4 reconstruction, by L1:
the means over the 200 training images are 3.05, 4.92, 4.45 and 3.56 without the shares.
"""


def vgg_layers(vgg_type: str) -> list[str]:
    """Name the convolutions of a VGG network: ``conv{block}_{number}``, both from 1."""
    return _number("conv", VGG_CONVS[vgg_type])


def efficientnet_layers() -> list[str]:
    """Name the stem and the blocks of EfficientNet-Lite0: ``stage{stage}_{block}``, both from 1."""
    return ["stem", *_number("stage", EFFICIENTNET_BLOCKS)]


def layer_groups(network: str) -> dict[str, dict[str, float]]:
    """The names that stand for several layers, with the shares of these.

    Args:
        network: a key of :data:`VGG_CONVS`, or :data:`EFFICIENTNET`.
    """
    if network == EFFICIENTNET:
        return {FOUR_SCALES: _FOUR_SCALES_SHARES}
    last = [f"conv{block}_{convs}" for block, convs in enumerate(VGG_CONVS[network], start=1)]
    return {FIVE_BLOCKS: dict(zip(last, _FIVE_BLOCKS_SHARES, strict=True))}


def default_layer_weights(backbone: object) -> dict[str, float]:
    """What ``perceptual_loss.layer_weights`` is where it is not set, by ``backbone``."""
    return {FOUR_SCALES: 1.0} if backbone == EFFICIENTNET else {"conv5_4": 1.0}


def network_layers(network: str) -> list[str]:
    """Name the layers of a network, without its groups; the argument as in :func:`layer_groups`."""
    return efficientnet_layers() if network == EFFICIENTNET else vgg_layers(network)


def _number(name: str, counts: tuple[int, ...]) -> list[str]:
    parts = enumerate(counts, start=1)
    return [f"{name}{part}_{n}" for part, count in parts for n in range(1, count + 1)]

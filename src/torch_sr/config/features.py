"""Names for groups of layers that the perceptual loss compares, and its default layers."""

from __future__ import annotations

from torch_sr.networks.feature_layers import EFFICIENTNET, VGG_CONVS

BACKBONES = ("vgg", EFFICIENTNET)
FIVE_BLOCKS = "five_blocks"
FOUR_SCALES = "four_scales"
_FIVE_BLOCKS_SHARES = (0.1, 0.1, 1.0, 1.0, 1.0)
_FOUR_SCALES_SHARES = {"stage1_1": 0.08, "stage2_2": 0.05, "stage3_2": 0.055, "stage5_3": 0.07}
"""Each term is then about 0.25 between BSDS500's crops and their bicubic x4 reconstruction, by L1:
the means over the 200 training images are 3.05, 4.92, 4.45 and 3.56 without the shares.
"""


def layer_groups(network: str) -> dict[str, dict[str, float]]:
    """The names that stand for several layers, each layer with its share of the weight.

    Args:
        network: as for :func:`~torch_sr.networks.feature_layers.layer_names`.
    """
    if network == EFFICIENTNET:
        return {FOUR_SCALES: _FOUR_SCALES_SHARES}
    last = [f"conv{block}_{convs}" for block, convs in enumerate(VGG_CONVS[network], start=1)]
    return {FIVE_BLOCKS: dict(zip(last, _FIVE_BLOCKS_SHARES, strict=True))}


def default_layer_weights(backbone: object) -> dict[str, float]:
    """What ``perceptual_loss.layer_weights`` is where it is not set, by ``backbone``."""
    return {FOUR_SCALES: 1.0} if backbone == EFFICIENTNET else {"conv5_4": 1.0}

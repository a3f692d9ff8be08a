"""Run a network on tensors of any size, in tiles if they are large.

An image that needs less than a fixed number of bytes is super-resolved whole. The free memory
only matters if there is very little of it, so that results do not depend on it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor, nn

from torch_sr.aliases import Floats
from torch_sr.devices import free_memory
from torch_sr.inference.engines.pytorch import PROBE, measure_memory
from torch_sr.inference.receptive_field import measure_overlap
from torch_sr.tiling import Span, join_tiles, plan

_BUDGET = {"cuda": 2**33}  # bytes for one tile
_OTHER_BUDGET = 2**31
_BYTES_OF_METRICS = 100  # per HR pixel: a dozen maps in double precision


class TiledNetwork:
    """Super-resolve tensors with a network in evaluation mode, in tiles if they are large.

    Args:
        network: the network, on its device.
        scale_factor: the scale factor of the network.
        img_channels: number of image channels of the network.
        between: called before each tile; raises an exception to stop.
        budget: bytes that one tile may take; by default 8 GB on a GPU and 2 GB elsewhere, or less
            if little is free.
    """

    def __init__(
        self,
        network: nn.Module,
        scale_factor: int,
        img_channels: int,
        between: Callable[[], None] = lambda: None,
        budget: int | None = None,
    ) -> None:
        self.scale_factor = scale_factor
        self.img_channels = img_channels
        self.tiles_redone = 0
        self._network = network
        self._between = between
        self._device = next(network.parameters()).device
        self._budget = budget or _budget(self._device)
        probe = torch.zeros(1, img_channels, PROBE, PROBE, device=self._device)
        self._bytes_per_pixel = measure_memory(network, network, probe)
        self._overlap: int | None = None

    @property
    def tile_area(self) -> int:
        """Largest number of low-resolution pixels in a tile."""
        return max(1, int(self._budget / self._bytes_per_pixel))

    def needed_bytes(self, height: int, width: int) -> int:
        """The memory for an image: its largest tile, and what PSNR and SSIM need."""
        tile = min(height * width, self.tile_area)
        pixels = height * width * self.scale_factor**2
        images = 2 * 4 * self.img_channels * pixels  # SR and HR, float32
        return int(tile * self._bytes_per_pixel) + images + _BYTES_OF_METRICS * pixels

    def fits(self, height: int, width: int) -> bool:
        """Whether an image of that size is super-resolved whole."""
        return height * width <= self.tile_area

    def __call__(self, lr: Floats) -> Floats:
        """``(N, C, H, W)`` to ``(N, C, H * s, W * s)``, float32, whole."""
        result: Floats = self._run(torch.from_numpy(lr)).cpu().numpy()
        return result

    def super_resolve(self, lr: Tensor) -> Tensor:
        """``(1, C, H, W)`` to ``(1, C, H * s, W * s)``, unclamped; on the CPU if tiled."""
        height, width = lr.shape[-2:]
        if self.fits(height, width):
            self._between()
            return self._run(lr)
        return self._join(lr, *self._plan(height, width))

    def _plan(self, height: int, width: int) -> tuple[list[Span], list[Span]]:
        if self._overlap is None:
            self._overlap = measure_overlap(self)
        return plan(height, width, self._overlap, self.tile_area)

    def _join(self, lr: Tensor, rows: list[Span], columns: list[Span]) -> Tensor:
        def tiles_of(row: Span) -> Iterator[Floats]:
            for column in columns:
                self._between()
                tile = lr[..., row.start : row.stop, column.start : column.stop]
                yield self._run(tile).cpu().numpy().copy()

        bands = join_tiles(tiles_of, rows, columns, self.scale_factor, axis=2)
        return torch.from_numpy(np.concatenate(list(bands), axis=2))

    def _run(self, lr: Tensor) -> Tensor:
        with torch.inference_mode():
            sr: Tensor = self._network(lr.to(self._device)).float()
        return sr


def _budget(device: torch.device) -> int:
    """The fixed budget, or if little memory is free, half of that as a power of two."""
    fixed = _BUDGET.get(device.type, _OTHER_BUDGET)
    half = max(1, free_memory(device) // 2)
    return min(fixed, 1 << int(math.log2(half)))

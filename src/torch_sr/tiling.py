"""The geometry of tiles: where they lie, how they overlap, how they are blended.

A network sees a tile without what lies around it, so its result is wrong near the tile's edge, as
far as the receptive field reaches. Neighbouring tiles therefore share ``2 * overlap`` pixels. Of
these the outer quarter at each tile's edge, the worst, is left out, and over the rest the tiles
are cross-faded; the weights of all tiles sum to one at every pixel.

Everything is per axis and in whole pixels; no images, no torch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Span:
    """One tile along one axis: pixels ``[start, stop)``, faded at the sides it shares."""

    start: int
    stop: int
    shared_before: int = 0
    """Pixels shared with the tile before."""
    shared_after: int = 0
    """Pixels shared with the tile after."""

    def weights(self, scale_factor: int) -> npt.NDArray[np.float32]:
        """Blending weights in [0, 1] of the super-resolved span, ``(size * scale_factor,)``."""
        weights = np.ones((self.stop - self.start) * scale_factor, dtype=np.float32)
        before, after = self.shared_before * scale_factor, self.shared_after * scale_factor
        if before:
            weights[:before] = _fade_in(before)
        if after:
            weights[-after:] = 1 - _fade_in(after)
        return weights


def spans(length: int, tile_size: int, overlap: int) -> list[Span]:
    """Cover ``length`` pixels by as few equal tiles of at most ``tile_size`` as will do.

    Args:
        length: of the axis, 1 or more.
        tile_size: the largest tile, overlap included; at least ``4 * overlap + 1`` is used.
        overlap: pixels of context on each inner side of a tile.

    Returns:
        Spans in order, evenly spread; the first starts at 0 and the last stops at ``length``.
    """
    tile_size = max(tile_size, 4 * overlap + 1)
    if length <= tile_size:
        return [Span(0, length)]
    shared = 2 * overlap
    count = math.ceil((length - shared) / (tile_size - shared))
    size = math.ceil((length + (count - 1) * shared) / count)
    starts = [round(i * (length - size) / (count - 1)) for i in range(count)]
    gaps = [0, *(starts[i - 1] + size - starts[i] for i in range(1, count)), 0]
    return [Span(start, start + size, gaps[i], gaps[i + 1]) for i, start in enumerate(starts)]


def _fade_in(size: int) -> npt.NDArray[Any]:
    """Rise from 0 to 1 over the middle half, antisymmetric, so that two neighbours sum to 1."""
    position = (np.arange(size, dtype=np.float32) + 0.5) / size
    return np.clip(2 * position - 0.5, 0, 1).astype(np.float32)

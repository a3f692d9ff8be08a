"""The geometry of tiles: where they lie, how they overlap, how they are blended.

A network sees a tile without what lies around it, so its result is wrong near the tile's edge, as
far as the receptive field reaches. Neighbouring tiles therefore share at least ``2 * overlap``
pixels. They are cross-faded over ``overlap`` pixels in the middle of these; what lies nearer to a
tile's own edge, the worst, is left out. The weights of all tiles sum to one at every pixel.

Everything is per axis and in whole pixels; no images, no torch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Span:
    """One tile along one axis: pixels ``[start, stop)``, and where it meets its neighbours."""

    start: int
    stop: int
    seam_before: float = -math.inf
    """Middle of what is shared with the tile before."""
    seam_after: float = math.inf
    """Middle of what is shared with the tile after."""
    fade: int = 0
    """Pixels over which two tiles are cross-faded, half of them on each side of a seam."""

    def weights(self, scale_factor: int) -> npt.NDArray[np.float32]:
        """Blending weights in [0, 1] of the super-resolved span, ``(size * scale_factor,)``."""
        centres = np.arange(self.start * scale_factor, self.stop * scale_factor) + 0.5
        width = max(self.fade * scale_factor, 1)
        rise, fall = (
            np.clip((centres - seam * scale_factor) / width + 0.5, 0, 1)
            for seam in (self.seam_before, self.seam_after)
        )
        return (rise - fall).astype(np.float32)


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
    starts = [i * (length - size) // (count - 1) for i in range(count)]
    seams = [(after + before + size) / 2 for before, after in pairwise(starts)]
    return [
        Span(start, start + size, before, after, overlap)
        for start, before, after in zip(
            starts, [-math.inf, *seams], [*seams, math.inf], strict=True
        )
    ]

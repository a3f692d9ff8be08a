"""The geometry of tiles: positions, overlap and blending weights.

A network does not see what is around a tile, so its result is wrong near the tile's edges, as far
as the receptive field reaches. Neighboring tiles therefore share at least ``2 * overlap`` pixels.
They are cross-faded over ``overlap`` pixels in the middle of these; the pixels nearer to a tile's
edge, which are the least accurate, are not used. The weights of all tiles sum to one at every
pixel.

Everything is per axis and in whole pixels; no images, no torch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from torch_sr.aliases import Array, Doubles, Floats


@dataclass(frozen=True)
class Span:
    """One tile along one axis: pixels ``[start, stop)``, and where it meets its neighbors."""

    start: int
    stop: int
    seam_before: float = -math.inf
    """Middle of the pixels that are shared with the tile before."""
    seam_after: float = math.inf
    """Middle of the pixels that are shared with the tile after."""
    fade: int = 0
    """Pixels over which two tiles are cross-faded, half of them on each side of a seam."""

    def weights(self, scale_factor: int) -> Floats:
        """Blending weights in [0, 1] of the super-resolved span, ``(size * scale_factor,)``."""
        return (
            self._ramp(self.seam_before, scale_factor) - self.weights_after(scale_factor)
        ).astype(np.float32)

    def weights_after(self, scale_factor: int) -> Doubles:
        """Weights in [0, 1] of the tile after this one, ``(size * scale_factor,)``."""
        return self._ramp(self.seam_after, scale_factor)

    def _ramp(self, seam: float, scale_factor: int) -> Doubles:
        centers = np.arange(self.start * scale_factor, self.stop * scale_factor) + 0.5
        width = max(self.fade * scale_factor, 1)
        return np.clip((centers - seam * scale_factor) / width + 0.5, 0, 1)


def spans(length: int, tile_size: int, overlap: int) -> list[Span]:
    """Cover ``length`` pixels with the fewest equal tiles of at most ``tile_size``.

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


def largest_overlap(size: tuple[int, int]) -> int:
    """The largest overlap of tiles that cannot be larger than a height and width."""
    return (min(size) - 1) // 4


def plan(
    height: int, width: int, overlap: int, max_area: int, max_rows: int | None = None
) -> tuple[list[Span], list[Span]]:
    """Cover an image with tiles of at most ``max_area`` pixels, with the least total work.

    Wide tiles share fewer edges, so a narrow image is cut only into rows.

    Args:
        height, width: of the image.
        overlap: pixels of context on each inner side of a tile; tiles are at least
            ``4 * overlap + 1`` pixels wide and high, even where that is more than ``max_area``.
        max_area: pixels of a tile, overlap included.
        max_rows: the greatest height of a tile.

    Returns:
        Spans of the rows and of the columns of tiles.
    """
    least = 4 * overlap + 1
    best: tuple[int, list[Span], list[Span]] | None = None
    count = 1
    while True:
        size = max(-(-(width + (count - 1) * 2 * overlap) // count), least)
        columns = spans(width, size, overlap)
        tile_width = columns[0].stop
        tallest = max(min(max_area // tile_width, max_rows or height), least)
        rows = spans(height, tallest, overlap)
        work = len(rows) * rows[0].stop * len(columns) * tile_width
        fits = rows[0].stop * tile_width <= max_area
        narrowest = size == least or tile_width <= least
        if (fits or narrowest) and (best is None or work < best[0]):
            best = (work, rows, columns)
        if narrowest:
            return best[1:] if best is not None else (rows, columns)
        count += 1


class Joiner:
    """Join tiles along one axis: return what is final, keep what blends with the next tile.

    Args:
        axis: the axis of the arrays along which the tiles follow one another.
        scale_factor: how much larger the tiles are than their spans.
    """

    def __init__(self, axis: int, scale_factor: int) -> None:
        self._axis = axis
        self._scale_factor = scale_factor
        self._carried: Floats | None = None

    def add(self, span: Span, tile: Floats) -> Floats:
        """Take the next tile, which is overwritten, and return the part that is final now."""
        weights, fall = span.weights(self._scale_factor), span.weights_after(self._scale_factor)
        used = np.flatnonzero(weights)
        first, stop = int(used[0]), int(used[-1]) + 1
        final = int(
            np.searchsorted(fall, 0, side="right")
        )  # from here on the next tile is mixed in
        for faded in (slice(first, first + self._num_carried()), slice(final, stop)):
            shape = [1] * tile.ndim
            shape[self._axis] = -1
            tile[self._at(faded)] *= weights[faded].reshape(shape)
        if self._carried is not None:
            tile[self._at(slice(first, first + self._num_carried()))] += self._carried
        self._carried = tile[self._at(slice(final, stop))].copy()
        return tile[self._at(slice(first, final))]

    def _num_carried(self) -> int:
        return 0 if self._carried is None else self._carried.shape[self._axis]

    def _at(self, part: slice) -> tuple[slice, ...]:
        return (*[slice(None)] * self._axis, part)


def join_tiles(
    tiles_of: Callable[[Span], Iterable[Floats]],
    rows: list[Span],
    columns: list[Span],
    scale_factor: int,
    *,
    axis: int,
    finish: Callable[[Floats], Array] = lambda part: part,
) -> Iterator[Array]:
    """Blend the tiles of an image, and yield what is final after each row of tiles.

    Args:
        tiles_of: the super-resolved tiles of a row, from left to right; they are overwritten.
        rows, columns: as :func:`plan` returns them.
        scale_factor: how much larger the tiles are than their spans.
        axis: of the height in the tiles' arrays; the width is the next one.
        finish: applied to each final part, to keep only the result in memory.
    """
    down = [Joiner(axis, scale_factor) for _ in columns]
    for row in rows:
        across = Joiner(axis + 1, scale_factor)
        parts = [
            finish(joiner.add(row, across.add(column, tile)))
            for column, joiner, tile in zip(columns, down, tiles_of(row), strict=True)
        ]
        yield np.concatenate(parts, axis=axis + 1) if len(parts) > 1 else parts[0]

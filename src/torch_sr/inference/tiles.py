"""The tiles of a picture: which there are, what a network makes of them, and how they are joined.

A row of tiles after the other, so that memory holds one row of them, whatever the height.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt

from torch_sr.aliases import Array, Floats
from torch_sr.errors import DeviceMemoryError
from torch_sr.images import Header, from_unit, to_unit
from torch_sr.images.pixels import max_value
from torch_sr.inference.borders import ReadRows
from torch_sr.inference.engines import Engine
from torch_sr.inference.receptive_field import measure_overlap
from torch_sr.inference.transparency import REACH, bleed, without_halo
from torch_sr.tiling import Joiner, Span, plan, spans

_BAND_BYTES = 128 * 2**20  # of the result, that a row of tiles may fill; some copies are made


class Tiles:
    """Super-resolves pictures of any size by a network, tile by tile.

    Args:
        engine: the network, or several passes through it.
        measured: the network alone, whose receptive field is measured where no overlap is given.
        tiling: gives ``free``, ``avoided`` (as large as memory allows) or ``never``.
        overlap: context on each inner side of a tile, in low-resolution pixels.
    """

    def __init__(
        self, engine: Engine, measured: Engine, tiling: Callable[[], str], overlap: int | None
    ) -> None:
        self.engine = engine
        self._measured = measured
        self._tiling = tiling
        self._overlap = overlap
        self._measuring = threading.Lock()
        self._most: float = np.inf  # pixels of a tile, once a device has said that more do not fit

    @property
    def overlap(self) -> int:
        """Context on each inner side of a tile, in low-resolution pixels."""
        with self._measuring:
            if self._overlap is None:
                self._overlap = measure_overlap(self._measured)
            return self._overlap

    def plan(
        self, header: Header, num_images: int, tile_size: int | None
    ) -> tuple[list[Span], list[Span]]:
        """Rows and columns of tiles; the overlap is only measured where there are several.

        Args:
            header: of the picture.
            num_images: how many such pictures are computed together.
            tile_size: the largest square; by default what suits the device.
        """
        height, width = header.height, header.width
        if self._tiling() == "never":
            return [Span(0, height)], [Span(0, width)]
        area = self._most if tile_size else min(self.engine.tile_area, self._most)
        area = int(min(area, tile_size**2 if tile_size else area) // num_images)
        row_bytes = (
            num_images * width * self.engine.scale_factor**2 * header.layers * header.depth // 8
        )
        highest = height if self._tiling() == "avoided" else max(1, _BAND_BYTES // row_bytes)
        side = tile_size or max(height, width)
        if max(height, width) <= side and height * width <= area and height <= highest:
            return [Span(0, height)], [Span(0, width)]
        if tile_size is None:
            return plan(height, width, self.overlap, area, highest)
        side = min(side, math.isqrt(area))
        return spans(height, side, self.overlap), spans(width, side, self.overlap)

    def join(
        self,
        strip_of: Callable[[Span], Array],
        rows: list[Span],
        columns: list[Span],
        dtype: npt.DTypeLike,
        tile_done: Callable[[], None],
    ) -> Iterator[Array]:
        """Super-resolve tile by tile, blend them, and yield what is final after each row.

        Args:
            strip_of: gives the pixels of a row of tiles, ``(N, h, W, layers)``.
            rows, columns: as :meth:`plan` gives them.
            dtype: of the result.
            tile_done: called after each tile.
        """
        scale = self.engine.scale_factor
        down = [Joiner(1, scale) for _ in columns]
        for row in rows:
            strip = strip_of(row)
            across = Joiner(2, scale)
            parts = []
            for column, joiner in zip(columns, down, strict=True):
                sr = self._super_resolve(strip[:, :, column.start : column.stop])
                parts.append(from_unit(joiner.add(row, across.add(column, sr)), dtype))
                tile_done()
            yield np.concatenate(parts, axis=2) if len(parts) > 1 else parts[0]

    def _super_resolve(self, tile: Array) -> Floats:
        """One tile ``(N, h, w, 1 to 4)`` of any depth to ``(N, h * s, w * s, …)``, unclamped."""
        layers = tile.shape[3]
        if layers in (1, 3):
            return self._run(tile)
        alpha = tile[..., -1:]
        color = self._run(tile[..., :-1])
        # Where all is opaque, or nothing to be seen, it stays so: no need to compute it.
        if (alpha == alpha.flat[0]).all() and alpha.flat[0] in (0, max_value(tile.dtype)):
            opacity = np.full((*color.shape[:3], 1), to_unit(alpha.flat[:1])[0], np.float32)
        else:
            opacity = without_halo(self._run(alpha), to_unit(alpha), self.engine.scale_factor)
        return np.concatenate([color, opacity], axis=3)

    def _run(self, tile: Array) -> Floats:
        """Gray or colour ``(N, h, w, 1 or 3)`` to ``(N, h * s, w * s, 1 or 3)``, unclamped."""
        lr = to_unit(tile).transpose(0, 3, 1, 2)
        try:
            sr = self.engine(_fit_channels(lr, self.engine.img_channels))
        except DeviceMemoryError as error:
            return self._run_in_parts(tile, error)
        if self.engine.img_channels == 1:  # the channels went as images of a batch
            sr = sr.reshape(len(tile), -1, *sr.shape[2:])
        sr = sr[:, :3]
        if tile.shape[3] == 1 and sr.shape[1] > 1:
            sr = sr.mean(axis=1, keepdims=True)
        # A copy: blending writes into it, and an engine may give what it was given.
        return np.array(sr.transpose(0, 2, 3, 1), dtype=np.float32, order="C")

    def _run_in_parts(self, tile: Array, error: DeviceMemoryError) -> Floats:
        """Too much for the device: halve the tile, and all later ones."""
        number, height, width, _ = tile.shape
        area = height * width // 2
        if self._tiling() == "never":
            raise error
        rows, columns = plan(height, width, self.overlap, area)
        if len(rows) * len(columns) == 1:
            raise error
        self._most = min(self._most, number * area)
        parts = self.join(
            lambda row: tile[:, row.start : row.stop], rows, columns, np.float32, lambda: None
        )
        return np.concatenate(list(parts), axis=1)


class Strips:
    """Strips of rows as high as a tile, of which each begins within the one before."""

    def __init__(self, header: Header, read: ReadRows) -> None:
        self._header = header
        self._read = read
        self._held: Array | None = None
        self._first = 0  # the row that `_held` begins with

    def take(self, span: Span) -> Array:
        """``(N, h, W, layers)``; colours are bled under what is transparent."""
        margin = REACH if self._header.alpha else 0
        top = max(0, span.start - margin)
        bottom = min(self._header.height, span.stop + margin)
        held = self._read(bottom) if self._held is None else self._held
        if (missing := bottom - self._first - held.shape[1]) > 0:
            held = np.concatenate([held, self._read(missing)], axis=1)
        self._held = held[:, top - self._first :]
        self._first = top
        strip = self._held[:, : bottom - top]
        if self._header.alpha:
            strip = bleed(strip)
        return strip[:, span.start - top : span.stop - top]


def _fit_channels(lr: Floats, img_channels: int) -> Floats:
    """Make ``(N, 1 or 3, H, W)`` what a network of 1, 3 or 4 channels takes."""
    if img_channels == 1:  # it knows no colour: each channel is an image of its own
        lr = lr.reshape(-1, 1, *lr.shape[2:])
    elif lr.shape[1] == 1:
        lr = np.repeat(lr, 3, axis=1)
    if img_channels == 4:
        lr = np.concatenate([lr, np.ones_like(lr[:, :1])], axis=1)
    return np.ascontiguousarray(lr)

"""Super-resolve an image in tiles, and blend them.

Tiles are computed row by row, so that memory use does not depend on the height.
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
from torch_sr.images.image import max_value
from torch_sr.inference.borders import ReadRows
from torch_sr.inference.engines import Engine
from torch_sr.inference.look_ahead import map_ahead
from torch_sr.inference.receptive_field import check_overlap, measure_overlap
from torch_sr.inference.transparency import REACH, bleed, without_halo
from torch_sr.tiling import Span, join_tiles, plan, spans

_BAND_BYTES = 128 * 2**20  # of the result, for a row of tiles; there are some copies of it


class Tiles:
    """Super-resolves images of any size, tile by tile.

    Args:
        engine: the network, or several passes through it.
        measured: the network itself, whose receptive field is measured if no overlap is given.
        tiling: returns ``free``, ``avoided`` (as large as memory allows) or ``never``.
        overlap: context on each inner side of a tile, in low-resolution pixels.

    Raises:
        ConfigError: the overlap is too large for the only size that the network takes.
    """

    def __init__(
        self, engine: Engine, measured: Engine, tiling: Callable[[], str], overlap: int | None
    ) -> None:
        self.engine = engine
        self._measured = measured
        self._tiling = tiling
        self._overlap = overlap
        self._input_size = _find_input_size(engine, measured)
        self._measuring = threading.Lock()
        self._max_area: float = np.inf  # pixels of a tile, after a larger one did not fit
        if self._input_size is not None and overlap is not None:
            check_overlap(overlap, self._input_size)

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
        """Rows and columns of tiles; the overlap is only measured if there are several.

        Args:
            header: of the image.
            num_images: how many such images are computed together.
            tile_size: the largest square; by default it depends on the device.
        """
        height, width = header.height, header.width
        if self._input_size is not None:
            sides = [min(side, tile_size or side) for side in self._input_size]
            return spans(height, sides[0], self.overlap), spans(width, sides[1], self.overlap)
        if self._tiling() == "never":
            return [Span(0, height)], [Span(0, width)]
        area = self._max_area if tile_size else min(self.engine.tile_area, self._max_area)
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
        """Super-resolve and blend tiles, and yield the final rows after each row of tiles.

        Args:
            strip_of: returns the pixels of a row of tiles, ``(N, h, W, layers)``.
            rows, columns: as :meth:`plan` returns them.
            dtype: of the result.
            tile_done: called after each tile.
        """

        def tiles_of(row: Span) -> Iterator[Floats]:
            strip = strip_of(row)
            tiles = (strip[:, :, column.start : column.stop] for column in columns)
            ahead = getattr(self._measured, "tiles_ahead", 0)
            for sr in map_ahead(self._super_resolve_layers, tiles, ahead):
                tile_done()
                yield sr

        return join_tiles(
            tiles_of,
            rows,
            columns,
            self.engine.scale_factor,
            axis=1,
            finish=lambda part: from_unit(part, dtype),
        )

    def _super_resolve_layers(self, tile: Array) -> Floats:
        """One tile ``(N, h, w, 1 to 4)`` of any depth to ``(N, h * s, w * s, …)``, unclamped."""
        layers = tile.shape[3]
        if layers in (1, 3):
            return self._call_engine(tile)
        alpha = tile[..., -1:]
        color = self._call_engine(tile[..., :-1])
        # Alpha that is opaque or transparent everywhere need not be computed.
        if (alpha == alpha.flat[0]).all() and alpha.flat[0] in (0, max_value(tile.dtype)):
            opacity = np.full((*color.shape[:3], 1), to_unit(alpha.flat[:1])[0], np.float32)
        else:
            opacity = without_halo(
                self._call_engine(alpha), to_unit(alpha), self.engine.scale_factor
            )
        return np.concatenate([color, opacity], axis=3)

    def _call_engine(self, tile: Array) -> Floats:
        """Gray or color ``(N, h, w, 1 or 3)`` to ``(N, h * s, w * s, 1 or 3)``, unclamped."""
        lr = to_unit(tile).transpose(0, 3, 1, 2)
        try:
            sr = self.engine(_fit_channels(lr, self.engine.img_channels))
        except DeviceMemoryError as error:
            return self._call_engine_in_parts(tile, error)
        if self.engine.img_channels == 1:  # the channels were the images of a batch
            sr = sr.reshape(len(tile), -1, *sr.shape[2:])
        sr = sr[:, :3]
        if tile.shape[3] == 1 and sr.shape[1] > 1:
            sr = sr.mean(axis=1, keepdims=True)
        # A copy: blending writes into it, and an engine may return its input.
        return np.array(sr.transpose(0, 2, 3, 1), dtype=np.float32, order="C")

    def _call_engine_in_parts(self, tile: Array, error: DeviceMemoryError) -> Floats:
        """Halve a tile that does not fit into memory, and all later ones."""
        number, height, width, _ = tile.shape
        area = height * width // 2
        if self._tiling() == "never":
            raise error
        rows, columns = plan(height, width, self.overlap, area)
        if len(rows) * len(columns) == 1:
            raise error
        self._max_area = min(self._max_area, number * area)
        parts = self.join(
            lambda row: tile[:, row.start : row.stop], rows, columns, np.float32, lambda: None
        )
        return np.concatenate(list(parts), axis=1)


def _find_input_size(engine: Engine, measured: Engine) -> tuple[int, int] | None:
    """The height and width of the largest tile, if the network takes only one size."""
    size: tuple[int, int] | None = getattr(measured, "input_size", None)
    if size is None or engine is measured:
        return size
    return min(size), min(size)  # an ensemble also turns the tiles


class Strips:
    """Strips of rows as high as a tile; consecutive strips overlap."""

    def __init__(self, header: Header, read: ReadRows) -> None:
        self._header = header
        self._read = read
        self._held: Array | None = None
        self._first = 0  # the row that `_held` begins with

    def take(self, span: Span) -> Array:
        """``(N, h, W, layers)``; colors are spread into transparent pixels."""
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
    """Convert ``(N, 1 or 3, H, W)`` to the 1, 3 or 4 channels of a network."""
    if img_channels == 1:  # each channel is a separate image
        lr = lr.reshape(-1, 1, *lr.shape[2:])
    elif lr.shape[1] == 1:
        lr = np.repeat(lr, 3, axis=1)
    if img_channels == 4:
        lr = np.concatenate([lr, np.ones_like(lr[:, :1])], axis=1)
    return np.ascontiguousarray(lr)

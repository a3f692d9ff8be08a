"""Mirror images beyond their borders for the network, and crop results.

Convolutions pad with zeros, so a network sees every image in a black frame, and its results are
wrong at the borders: by up to half of the range in the corners of a flat image. Mirroring with the
edge repeated (``symmetric``) keeps flat images flat and changes natural images least.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

import numpy as np

from torch_sr.aliases import Array
from torch_sr.images import Header

ReadRows = Callable[[int], Array]
"""Returns the next rows of a batch, as many as requested: ``(N, h, W, layers)``."""


class MirroredRows:
    """Rows of an image and of its mirrored borders, read from top to bottom.

    Only rows that will be repeated are kept: at most ``border`` of them, and
    the rows that were read together with them.

    Args:
        header: of the image.
        read: returns its next rows.
        border: pixels on each side; if it exceeds the image, the mirrored image is mirrored again.

    Attributes:
        header: of the image with its borders.
    """

    def __init__(self, header: Header, read: ReadRows, border: int) -> None:
        self.header = replace(
            header, height=header.height + 2 * border, width=header.width + 2 * border
        )
        self._read = read
        self._rows = np.pad(np.arange(header.height), border, mode="symmetric")
        self._columns = np.pad(np.arange(header.width), border, mode="symmetric")
        self._held: Array | None = None
        self._first = 0  # the row of the source that `_held` begins with
        self._done = 0

    def read(self, count: int) -> Array:
        """The next ``count`` rows ``(N, count, W + 2 * border, layers)``, fewer at the end."""
        wanted = self._rows[self._done : self._done + count]
        held = self._hold(int(wanted.max()) + 1)
        rows = held[:, wanted - self._first][:, :, self._columns]
        self._done += len(wanted)
        if self._done < len(self._rows):
            still_needed = int(self._rows[self._done :].min())
            self._held = held[:, still_needed - self._first :]
            self._first = still_needed
        return rows

    def _hold(self, stop: int) -> Array:
        """Rows of the source from ``_first`` to at least ``stop``."""
        if self._held is None:
            self._held = self._read(stop)
        elif (missing := stop - self._first - self._held.shape[1]) > 0:
            self._held = np.concatenate([self._held, self._read(missing)], axis=1)
        return self._held


def cut_borders(bands: Iterable[Array], border: int, height: int, width: int) -> Iterator[Array]:
    """Cut the borders off bands of rows that follow one another.

    Args:
        bands: ``(N, h, W + 2 * border, layers)`` each, from top to bottom.
        border: pixels on each side.
        height, width: of the result.
    """
    top = -border
    for band in bands:
        rows = band[:, max(0, -top) : max(0, height - top), border : border + width]
        top += band.shape[1]
        if rows.shape[1]:
            yield rows

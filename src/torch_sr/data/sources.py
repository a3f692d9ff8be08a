"""Image files as training data: their sizes from the headers, their pixels as uint8 arrays."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

import numpy.typing as npt

from torch_sr.data.resize import downscale
from torch_sr.errors import DataError
from torch_sr.images import read_image, read_rgb8, read_size

Array = npt.NDArray[Any]
Shape = tuple[int, int, int]


class Images(Protocol):
    """Numbered ``(H, W, C)`` uint8 images."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Array: ...

    def shape(self, index: int) -> Shape:
        """``(H, W, C)`` of one image, without touching its pixels."""
        ...


class SourceImages:
    """Images read from their files whenever they are asked for; the sizes are read at once.

    Args:
        paths, channels, shrink: as for :func:`~torch_sr.data.cache.open_cache`.

    Raises:
        DataError: when one is too small to shrink.
        ImageError: when a header cannot be read.
    """

    def __init__(self, paths: Sequence[Path], channels: int | None = 3, shrink: int = 1) -> None:
        self._paths = list(paths)
        self._shrink = shrink
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            self._shapes = list(pool.map(lambda p: read_shape(p, channels, shrink), self._paths))

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: int) -> Array:
        return read_pixels(self._paths[index], self._shapes[index], self._shrink)

    def shape(self, index: int) -> Shape:
        """``(H, W, C)`` of one image, without touching its pixels."""
        return self._shapes[index]

    @property
    def num_bytes(self) -> int:
        """What all the pixels take."""
        return sum(math.prod(shape) for shape in self._shapes)


def read_shape(path: Path, channels: int | None = 3, shrink: int = 1) -> Shape:
    """``(H, W, C)`` that :func:`read_pixels` gives.

    Args:
        path: an image.
        channels: 1, 3 or 4; None keeps gray files gray and makes all others RGB.
        shrink: whole factor by which the image is downscaled.

    Raises:
        DataError: when the image is too small to shrink.
        ImageError: when it cannot be read.
    """
    height, width = read_size(path)
    if min(height, width) < shrink:
        raise DataError(
            f"{path}: {width}x{height} pixels are too few to shrink by {shrink}; leave the image "
            "out of the data set"
        )
    return height // shrink, width // shrink, channels or read_image(path).channels


def read_pixels(path: Path, shape: Shape, shrink: int = 1) -> Array:
    """Read an image, downscaled by MATLAB's bicubic.

    Args:
        path, shrink: as in :func:`read_shape`.
        shape: what that gave.

    Raises:
        DataError: when the file has another size by now.
        ImageError: when it cannot be read.
    """
    image: Array = read_rgb8(path, channels=shape[2])
    if shrink > 1:
        image = downscale(image, shrink)
    if image.shape != shape:
        raise DataError(f"{path}: changed while it was read; start again")
    return image

"""Read image files as indexed arrays: sizes first, pixels when needed.

Files with 16 bits or floating point become uint16, all others uint8.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from torch_sr.aliases import Array
from torch_sr.data.resize import downscale
from torch_sr.errors import DataError
from torch_sr.files import find_digest
from torch_sr.images import display_name, read_header, read_samples
from torch_sr.machine import usable_cpus

Shape = tuple[int, int, int]


@dataclass(frozen=True)
class PixelFormat:
    """The shape ``(H, W, C)`` of an image in memory, and its depth: 8 or 16 bits per sample."""

    shape: Shape
    depth: int

    @property
    def num_bytes(self) -> int:
        """Size of the pixels."""
        return math.prod(self.shape) * self.depth // 8


@dataclass(frozen=True)
class Described:
    """A pixel format, and phrases for what is left out of the image, such as alpha."""

    pixel_format: PixelFormat
    losses: tuple[str, ...] = ()


class Images(Protocol):
    """Indexed ``(H, W, C)`` images, uint8 or uint16."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Array: ...

    def pixel_format(self, index: int) -> PixelFormat:
        """Shape and depth of one image, without reading its pixels."""
        ...

    def digest(self, index: int) -> str:
        """SHA-256 of the source file of one image."""
        ...

    @property
    def uncached_bytes(self) -> int:
        """Size in a cache of the images that are read from their files."""
        ...

    @property
    def warnings(self) -> list[str]:
        """What is left out of the images, one sentence each."""
        ...


class PickedImages:
    """Images of another set, in another order; an image may occur several times."""

    def __init__(self, images: Images, picks: Sequence[int]) -> None:
        self._images = images
        self._picks = list(picks)

    def __len__(self) -> int:
        return len(self._picks)

    def __getitem__(self, index: int) -> Array:
        return self._images[self._picks[index]]

    def pixel_format(self, index: int) -> PixelFormat:
        """Shape and depth of one image, without reading its pixels."""
        return self._images.pixel_format(self._picks[index])

    def digest(self, index: int) -> str:
        """See :class:`Images`."""
        return self._images.digest(self._picks[index])

    @property
    def uncached_bytes(self) -> int:
        """See :class:`Images`."""
        return self._images.uncached_bytes

    @property
    def warnings(self) -> list[str]:
        """See :class:`Images`."""
        return self._images.warnings


class SourceImages:
    """Images that are read from their files when they are indexed; their sizes are read at once.

    Args:
        paths, channels, shrink: see :class:`~torch_sr.data.cache.CacheRecipe`.

    Raises:
        DataError: an image is too small to shrink.
        ImageError: a header cannot be read.
    """

    def __init__(self, paths: Sequence[Path], channels: int | None = 3, shrink: int = 1) -> None:
        self._paths = list(paths)
        self._shrink = shrink
        with ThreadPoolExecutor(usable_cpus()) as pool:
            self._described = list(
                pool.map(lambda path: describe(path, channels, shrink), self._paths)
            )
        self._formats = [described.pixel_format for described in self._described]

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: int) -> Array:
        return read_pixels(self._paths[index], self._formats[index], self._shrink)

    def pixel_format(self, index: int) -> PixelFormat:
        """Shape and depth of one image, without reading its pixels."""
        return self._formats[index]

    def digest(self, index: int) -> str:
        """SHA-256 of the file, which is read for this."""
        return find_digest(self._paths[index])

    @property
    def uncached_bytes(self) -> int:
        """Size of all pixels."""
        return sum(each.num_bytes for each in self._formats)

    @property
    def warnings(self) -> list[str]:
        """See :class:`Images`."""
        losses = [described.losses for described in self._described]
        return sum_up(list(zip(self._paths, losses, strict=True)))


def sum_up(losses: Sequence[tuple[Path, Sequence[str]]]) -> list[str]:
    """One sentence for each kind of loss: how many files have it, and the first of them.

    Args:
        losses: the losses of each file, see :class:`Described`.
    """
    files: dict[str, list[Path]] = {}
    for path, words in losses:
        for word in words:
            files.setdefault(word, []).append(path)
    return [
        f"{display_name(found[0])}{f' and {len(found) - 1} more' if len(found) > 1 else ''}: {word}"
        for word, found in files.items()
    ]


def describe(path: Path, channels: int | None = 3, shrink: int = 1) -> Described:
    """Shape and depth of the result of :func:`read_pixels`, and what it leaves out.

    Args:
        path: an image.
        channels: 1, 3 or 4; None keeps gray files gray and makes all others RGB.
        shrink: whole factor by which the image is downscaled.

    Raises:
        DataError: the image is too small to shrink.
        ImageError: it cannot be read.
    """
    header = read_header(path, pages=True)
    height, width = header.height, header.width
    if min(height, width) < shrink:
        raise DataError(
            f"{path}: {width}x{height} pixels are too few to shrink by {shrink}; leave the image "
            "out of the data set"
        )
    shape = height // shrink, width // shrink, channels or header.channels
    losses = []
    if header.alpha and shape[2] != 4:
        losses.append("the alpha channel is left out")
    if header.pages > 1:
        losses.append("only the first of several frames or pages is used")
    return Described(PixelFormat(shape, 8 if header.depth == 8 else 16), tuple(losses))


def read_pixels(path: Path, pixel_format: PixelFormat, shrink: int = 1) -> Array:
    """Read an image, downscaled by MATLAB's bicubic.

    Args:
        path, shrink: as for :func:`describe`.
        pixel_format: the result of :func:`describe`.

    Raises:
        DataError: the size of the file has changed.
        ImageError: it cannot be read.
    """
    image = read_samples(path, channels=pixel_format.shape[2], depth=pixel_format.depth)
    if shrink > 1:
        image = downscale(image, shrink)
    if image.shape != pixel_format.shape:
        raise DataError(f"{path}: start again; the file changed while it was read")
    return image

"""Image files as training data: their layouts from the headers, their pixels as arrays.

Files of 16 bits and of floats give uint16, all others uint8.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from torch_sr.aliases import Array
from torch_sr.data.resize import downscale
from torch_sr.download import find_digest
from torch_sr.errors import DataError
from torch_sr.images import display_name, read_header, read_samples

Shape = tuple[int, int, int]


@dataclass(frozen=True)
class Layout:
    """How an image lies in memory: ``(H, W, C)``, and 8 or 16 bits a sample."""

    shape: Shape
    depth: int

    @property
    def num_bytes(self) -> int:
        """What the pixels take."""
        return math.prod(self.shape) * self.depth // 8


@dataclass(frozen=True)
class Described:
    """A layout, and what the file holds and the layout does not, as the end of a sentence."""

    layout: Layout
    losses: tuple[str, ...] = ()


class Images(Protocol):
    """Numbered ``(H, W, C)`` images, uint8 or uint16."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Array: ...

    def layout(self, index: int) -> Layout:
        """Shape and depth of one image, without touching its pixels."""
        ...

    def digest(self, index: int) -> str:
        """SHA-256 of the file that one image comes from."""
        ...

    @property
    def uncached_bytes(self) -> int:
        """What the images that are read from their files would take in a cache."""
        ...

    @property
    def remarks(self) -> list[str]:
        """What the files hold and the images do not, a sentence each."""
        ...


class PickedImages:
    """Images of another set, in another order, some perhaps several times."""

    def __init__(self, images: Images, picks: Sequence[int]) -> None:
        self._images = images
        self._picks = list(picks)

    def __len__(self) -> int:
        return len(self._picks)

    def __getitem__(self, index: int) -> Array:
        return self._images[self._picks[index]]

    def layout(self, index: int) -> Layout:
        """Shape and depth of one image, without touching its pixels."""
        return self._images.layout(self._picks[index])

    def digest(self, index: int) -> str:
        """As :class:`Images` says."""
        return self._images.digest(self._picks[index])

    @property
    def uncached_bytes(self) -> int:
        """As :class:`Images` says."""
        return self._images.uncached_bytes

    @property
    def remarks(self) -> list[str]:
        """As :class:`Images` says."""
        return self._images.remarks


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
            self._described = list(
                pool.map(lambda path: describe(path, channels, shrink), self._paths)
            )
        self._layouts = [described.layout for described in self._described]

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: int) -> Array:
        return read_pixels(self._paths[index], self._layouts[index], self._shrink)

    def layout(self, index: int) -> Layout:
        """Shape and depth of one image, without touching its pixels."""
        return self._layouts[index]

    def digest(self, index: int) -> str:
        """SHA-256 of the file, which is read for it."""
        return find_digest(self._paths[index], "sha256")

    @property
    def uncached_bytes(self) -> int:
        """What all the pixels take."""
        return sum(layout.num_bytes for layout in self._layouts)

    @property
    def remarks(self) -> list[str]:
        """As :class:`Images` says."""
        losses = [described.losses for described in self._described]
        return sum_up(list(zip(self._paths, losses, strict=True)))


def sum_up(losses: Sequence[tuple[Path, Sequence[str]]]) -> list[str]:
    """A sentence for each kind of loss: how many files have it, and the first of them.

    Args:
        losses: of each file, as :class:`Described` has them.
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
    """Shape and depth of what :func:`read_pixels` gives, and what it leaves out.

    Args:
        path: an image.
        channels: 1, 3 or 4; None keeps gray files gray and makes all others RGB.
        shrink: whole factor by which the image is downscaled.

    Raises:
        DataError: when the image is too small to shrink.
        ImageError: when it cannot be read.
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
    return Described(Layout(shape, 8 if header.depth == 8 else 16), tuple(losses))


def read_pixels(path: Path, layout: Layout, shrink: int = 1) -> Array:
    """Read an image, downscaled by MATLAB's bicubic.

    Args:
        path, shrink: as in :func:`describe`.
        layout: what that gave.

    Raises:
        DataError: when the file has another size by now.
        ImageError: when it cannot be read.
    """
    image = read_samples(path, channels=layout.shape[2], depth=layout.depth)
    if shrink > 1:
        image = downscale(image, shrink)
    if image.shape != layout.shape:
        raise DataError(f"{path}: changed while it was read; start again")
    return image

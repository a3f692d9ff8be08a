"""Rows of a libvips image as arrays, and arrays as libvips images.

Rows are fetched in the calling thread: libvips' own worker threads do not survive a fork, and a
data loader forks.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from torch_sr.aliases import Pixels
from torch_sr.images.naming import libvips

SAMPLE_TYPES: dict[str, DTypeLike] = {
    "uchar": np.uint8,
    "char": np.int8,
    "ushort": np.uint16,
    "short": np.int16,
    "uint": np.uint32,
    "int": np.int32,
    "float": np.float32,
    "double": np.float64,
}
"""libvips' name of a sample type -> NumPy's."""
FIELDS = (
    *("icc-profile-data", "exif-data", "xmp-data", "iptc-data", "orientation"),
    *("n-pages", "page-height", "delay", "loop"),
)
"""What travels with pixels; the orientation after EXIF, which would reset it."""

_BAND_ROWS = 256
_SMALL = 100_000_000  # bytes that may lie in memory


def field(image: Any, name: str) -> Any:
    """What an image says under this name; None where it says nothing."""
    return image.get(name) if image.get_typeof(name) else None


def fetch(region: Any, first: int, shape: tuple[int, int, int], dtype: DTypeLike) -> Pixels:
    """Decode rows from ``first`` on into an array ``(H, W, bands)``, in this thread."""
    pixels = np.empty(shape, dtype=dtype)
    for top in range(0, len(pixels), _BAND_ROWS):
        band = pixels[top : top + _BAND_ROWS]
        data = region.fetch(0, first + top, shape[1], len(band))
        band[...] = np.frombuffer(data, dtype=dtype).reshape(band.shape)
    return pixels


def iterate_bands(image: Any, rows: int = _BAND_ROWS) -> Iterator[Pixels]:
    """All rows from top to bottom, so many at once: ``(h, W, bands)``."""
    region = libvips().Region.new(image)
    for top in range(0, image.height, rows):
        shape = (min(rows, image.height - top), image.width, image.bands)
        yield fetch(region, top, shape, SAMPLE_TYPES[image.format])


def spool(bands: Iterator[Pixels], like: Any, dtype: DTypeLike, layers: int) -> Any:
    """An image of rows ``(h, W, layers)`` that are computed once, in a file if they are many.

    Args:
        bands: the rows, from top to bottom.
        like: the image whose size, resolution and metadata it has.
        dtype: of the samples.
        layers: channels with alpha.
    """
    shape = (like.height, like.width, layers)
    if int(np.prod(shape)) * np.dtype(dtype).itemsize > _SMALL:
        with tempfile.TemporaryFile() as file:  # it is there as long as it is mapped
            pixels: Pixels = np.memmap(file, dtype=dtype, mode="w+", shape=shape)
    else:
        pixels = np.empty(shape, dtype=dtype)
    top = 0
    for band in bands:
        pixels[top : top + len(band)] = band
        top += len(band)
    return copy_fields(like, libvips().Image.new_from_array(pixels))


def blank(width: int, height: int, bands: int, dtype: DTypeLike) -> Any:
    """A black image, where only size and type are wanted."""
    name = next(name for name, kind in SAMPLE_TYPES.items() if np.dtype(kind) == dtype)
    return libvips().Image.black(width, height, bands=bands).cast(name)


def copy_fields(source: Any, target: Any) -> Any:
    """Give an image what travels with the pixels of another."""
    copy = target.copy(xres=source.xres, yres=source.yres)
    for name in FIELDS:
        if (value := field(source, name)) is not None:
            copy.set_type(source.get_typeof(name), name, value)
    return copy

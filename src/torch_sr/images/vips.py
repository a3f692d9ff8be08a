"""The binding of libvips, and its images as NumPy arrays and back.

Rows are read in the calling thread: libvips' own worker threads do not survive a fork, and a data
loader forks.
"""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from torch_sr.aliases import Pixels
from torch_sr.errors import ImageError

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
"""Metadata fields; the orientation comes after EXIF, which would reset it."""

_BAND_ROWS = 256
_SMALL = 100_000_000  # bytes that may be held in memory


def libvips() -> Any:
    """The binding of libvips.

    Raises:
        ImageError: it is not installed, or cannot start.
    """
    try:
        import pyvips
    except Exception as error:  # pyvips or libvips is missing, or libvips cannot start
        raise ImageError(
            f"libvips is not usable ({reason_of(error)}); run: pip install 'pyvips[binary]'"
        ) from error
    _log_glib_warnings()
    return pyvips


@functools.cache
def _log_glib_warnings() -> None:
    """Send GLib's warnings about malformed headers to the log, as pyvips does with libvips' own."""
    import pyvips

    every_level = 0b1111_1111
    with suppress(AttributeError):  # these names are not documented
        pyvips.glib_lib.g_log_set_handler(
            b"GLib-GObject", every_level, pyvips._log_handler_cb, pyvips.ffi.NULL
        )


def clear_errors() -> None:
    """Clear libvips' messages about other files, which it would add to its next error."""
    with suppress(AttributeError):  # this name is not documented
        libvips().vips_lib.vips_error_clear()


def reason_of(error: Exception) -> str:
    """The most useful line of an error; libvips collects several, each ``domain: message``."""
    text = getattr(error, "strerror", None) or getattr(error, "detail", None) or str(error)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    system = [line for line in lines if line.startswith("system error: ")]
    plain = [line for line in lines if "bad seek" not in line]
    line = (system or plain or lines or [type(error).__name__])[0]
    return line.partition(": ")[2] or line


def field(image: Any, name: str) -> Any:
    """The value of a metadata field, or None if the image does not have it."""
    return image.get(name) if image.get_typeof(name) else None


def read_rows(region: Any, first: int, shape: tuple[int, int, int], dtype: DTypeLike) -> Pixels:
    """Decode rows, starting at ``first``, into an array ``(H, W, bands)``, in this thread."""
    pixels = np.empty(shape, dtype=dtype)
    for top in range(0, len(pixels), _BAND_ROWS):
        band = pixels[top : top + _BAND_ROWS]
        data = region.fetch(0, first + top, shape[1], len(band))
        band[...] = np.frombuffer(data, dtype=dtype).reshape(band.shape)
    return pixels


def iterate_bands(image: Any, rows: int = _BAND_ROWS) -> Iterator[Pixels]:
    """All rows from top to bottom, ``rows`` at a time: ``(h, W, bands)``."""
    region = libvips().Region.new(image)
    for top in range(0, image.height, rows):
        shape = (min(rows, image.height - top), image.width, image.bands)
        yield read_rows(region, top, shape, SAMPLE_TYPES[image.format])


def spool(bands: Iterator[Pixels], like: Any, dtype: DTypeLike, layers: int) -> Any:
    """Collect rows ``(h, W, layers)`` into an image, in a temporary file if it is large.

    Args:
        bands: the rows, from top to bottom.
        like: the image whose size, resolution and metadata it gets.
        dtype: of the samples.
        layers: channels with alpha.
    """
    shape = (like.height, like.width, layers)
    if int(np.prod(shape)) * np.dtype(dtype).itemsize > _SMALL:
        with tempfile.TemporaryFile() as file:  # exists as long as it is mapped
            pixels: Pixels = np.memmap(file, dtype=dtype, mode="w+", shape=shape)
    else:
        pixels = np.empty(shape, dtype=dtype)
    top = 0
    for band in bands:
        pixels[top : top + len(band)] = band
        top += len(band)
    return copy_fields(like, libvips().Image.new_from_array(pixels))


def blank(width: int, height: int, bands: int, dtype: DTypeLike) -> Any:
    """A black image, for when only size and type are needed."""
    name = next(name for name, kind in SAMPLE_TYPES.items() if np.dtype(kind) == dtype)
    return libvips().Image.black(width, height, bands=bands).cast(name)


def copy_fields(source: Any, target: Any) -> Any:
    """Copy the metadata of one image to another."""
    copy = target.copy(xres=source.xres, yres=source.yres)
    for name in FIELDS:
        if (value := field(source, name)) is not None:
            copy.set_type(source.get_typeof(name), name, value)
    return copy

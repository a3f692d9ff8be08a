"""Convert a libvips image to upright gray or RGB in 8 or 16 bits or float."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from torch_sr.errors import ImageError
from torch_sr.images.image import DTYPES, Header
from torch_sr.images.value_range import ValueRange, measure
from torch_sr.images.vips import (
    SAMPLE_TYPES,
    copy_fields,
    field,
    iterate_bands,
    libvips,
    read_rows,
)

_SMALL = 100_000_000  # bytes that may be held in memory for rotation
_UNIT = ValueRange(0, 1)


def decode(load: Callable[[], Any]) -> tuple[Any, ValueRange | None]:
    """Convert an image lazily to its final form; also return the range of its values if not [0, 1].

    Args:
        load: returns the image; called again if its values must be measured first.

    Raises:
        ImageError: it is not gray or RGB, or has NaN or infinite values.
    """
    loaded = load()
    image, values = to_gray_or_rgb(loaded), None
    if image.format in ("float", "char", "short", "int", "uint"):
        colors = 1 if image.bands < 3 else 3
        found = measure(iterate_bands(image), colors)
        again = loaded if not loaded.get_typeof("vips-loader") else load()  # or in memory
        image = to_gray_or_rgb(again)
        if found.low < 0 or found.high > 1 or found.opaque > 1 or image.format != "float":
            values = found
            image = _scaled(image, found, colors)
    return _upright(image), values


def header_of(image: Any, pages: int = 1, *, tall: bool = False, turned: bool = False) -> Header:
    """The header of an image after decoding.

    Args:
        image: as :func:`decode` or :func:`to_gray_or_rgb` returns it.
        pages: frames or pages of the file.
        tall: whether the image has all frames, one below the other.
        turned: whether it will be rotated by 90 degrees.
    """
    colors = 1 if image.bands < 3 else 3
    height = image.height // pages if tall else image.height
    return Header(
        height=image.width if turned else height,
        width=height if turned else image.width,
        channels=colors,
        depth={"uchar": 8, "ushort": 16}.get(image.format, 32),
        alpha=image.bands > colors,
        pages=pages,
    )


def is_turned(image: Any) -> bool:
    """Whether the orientation swaps height and width."""
    return field(image, "orientation") in (5, 6, 7, 8)


def to_gray_or_rgb(image: Any) -> Any:
    """Convert color spaces that no network understands, at their own depth."""
    if image.interpretation == "cmyk":
        depth = 16 if image.format == "ushort" else 8
        image = image.icc_transform("srgb", embedded=True, input_profile="cmyk", depth=depth)
    elif image.interpretation in ("lab", "labs", "labq", "lch", "xyz", "yxy", "hsv"):
        deep = image.format in ("short", "ushort", "float")
        image = image.colourspace("rgb16" if deep else "srgb")
    if image.format not in SAMPLE_TYPES or image.bands > 4:
        raise ImageError(
            f"convert it to gray or RGB of 8 bits, 16 bits or float: {image.bands} channels of "
            f"type {image.format} are not supported"
        )
    bits = field(image, "bits-per-sample")
    if image.format == "ushort" and bits in (10, 12) and field(image, "heif-compression"):
        top = ((1 << bits) - 1) << (16 - bits)  # libvips shifts, so white falls short of 65535
        image = (image * (65535 / top)).rint().cast("ushort")
    return image


def _scaled(image: Any, values: ValueRange, colors: int) -> Any:
    """Scale values from their range to [0, 1]."""
    extent = values.high - values.low
    alphas = image.bands - colors
    factors = [1 / extent] * colors + [1 / values.opaque] * alphas
    offsets = [-values.low / extent] * colors + [0.0] * alphas
    return image.linear(factors, offsets).cast("float")


def _upright(image: Any) -> Any:
    """Apply the EXIF orientation, to a copy, because rotation does not read row by row.

    A large copy is a temporary file, which libvips removes.
    """
    if field(image, "orientation") in (None, 1):
        return image
    if image.width * image.height * image.bands * DTYPES[image.format]().itemsize > _SMALL:
        copy = libvips().Image.new_temp_file("%s.v")
        image.write(copy)
    else:
        shape = (image.height, image.width, image.bands)
        pixels = read_rows(libvips().Region.new(image), 0, shape, DTYPES[image.format])
        copy = copy_fields(image, libvips().Image.new_from_array(np.ascontiguousarray(pixels)))
    return copy.autorot()

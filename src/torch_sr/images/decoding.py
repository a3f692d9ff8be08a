"""A libvips image of any kind -> upright gray or RGB, of 8 bits, 16 bits or floats in [0, 1]."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from torch_sr.errors import ImageError
from torch_sr.images.fetching import (
    SAMPLE_TYPES,
    copy_fields,
    fetch,
    field,
    iterate_bands,
)
from torch_sr.images.naming import libvips
from torch_sr.images.pixels import DTYPES, Header
from torch_sr.images.value_range import ValueRange, measure

_SMALL = 100_000_000  # bytes that may lie in memory for the sake of turning
_UNIT = ValueRange(0, 1)


def decode(load: Callable[[], Any]) -> tuple[Any, ValueRange | None]:
    """The image in its final form, still lazily, and what 0 and 1 stand for if not 0 and 1.

    Args:
        load: gives the image; called a second time where its values have to be known first.

    Raises:
        ImageError: it is not gray or RGB, or has values that are no numbers.
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
    """What the image will be once it is decoded.

    Args:
        image: as :func:`decode` or :func:`to_gray_or_rgb` gives it.
        pages: frames or pages of the file.
        tall: whether the image has all frames, one below the other.
        turned: whether it will be turned on its side.
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
    """Whether the upright image is as wide as this one is high."""
    return field(image, "orientation") in (5, 6, 7, 8)


def to_gray_or_rgb(image: Any) -> Any:
    """Convert the colours that no network understands, at the depth they have."""
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
    """Into [0, 1]; the values that 0 and 1 stand for may lie anywhere."""
    extent = values.high - values.low
    alphas = image.bands - colors
    factors = [1 / extent] * colors + [1 / values.opaque] * alphas
    offsets = [-values.low / extent] * colors + [0.0] * alphas
    return image.linear(factors, offsets).cast("float")


def _upright(image: Any) -> Any:
    """Apply the EXIF orientation: on a copy, since turning reads against the rows.

    A large copy lies in a file that libvips removes.
    """
    if field(image, "orientation") in (None, 1):
        return image
    if image.width * image.height * image.bands * DTYPES[image.format]().itemsize > _SMALL:
        copy = libvips().Image.new_temp_file("%s.v")
        image.write(copy)
    else:
        shape = (image.height, image.width, image.bands)
        pixels = fetch(libvips().Region.new(image), 0, shape, DTYPES[image.format])
        copy = copy_fields(image, libvips().Image.new_from_array(np.ascontiguousarray(pixels)))
    return copy.autorot()

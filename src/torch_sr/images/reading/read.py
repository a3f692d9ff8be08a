"""Read an image file in one call: pixels, header, or training samples."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from torch_sr.aliases import PathLike, Pixels
from torch_sr.errors import ImageError
from torch_sr.images.compositing import LUMA, to_rgb
from torch_sr.images.errors import naming_file
from torch_sr.images.image import Header, Image, Pages, convert, max_value
from torch_sr.images.reading.kinds import find_kind
from torch_sr.images.reading.opening import Source, explaining
from torch_sr.images.reading.reader import (
    DAMAGED,
    MAX_PIXELS,
    ImageReader,
    is_wanted,
    open_animation,
    page_header,
)

_TOLERANCE = 0.25  # resampling may exceed [0, 1] by this much


def read_image(
    path: PathLike,
    max_pixels: int | None = MAX_PIXELS,
    *,
    strictly: bool = False,
    damaged: str = "refuse",
) -> Image:
    """Read an image file: upright, gray or RGB, at its own depth, with alpha and metadata.

    Only the first frame or page is read. Floats far outside [0, 1] and
    integers of other depths are scaled into it; ``metadata.values`` says how. Floats that
    exceed it a little, as after resampling, are kept.

    Args:
        path: any file that :class:`ImageReader` reads.
        max_pixels: refuse more pixels than this before decoding; ``None`` for no limit.
        strictly: scale floats that exceed [0, 1] a little too.
        damaged: ``refuse`` a damaged file, or ``keep`` what can be read of it.

    Raises:
        ImageError: the file is missing, unreadable, not an image, damaged, or too large.
    """
    with ImageReader(path, max_pixels, damaged=damaged) as reader:
        pixels = reader.read(reader.header.height)
        metadata = replace(reader.metadata, delays=None, loop=None)
        values = metadata.values
        if values is not None and values.is_near_unit(_TOLERANCE) and not strictly:
            pixels = values.restore(pixels, reader.header.channels)
            metadata = replace(metadata, values=None)
        return Image.from_array(pixels, metadata)


def read_size(path: PathLike) -> tuple[int, int]:
    """Height and width of the upright image, from the file's header only."""
    header = read_header(path)
    return header.height, header.width


def read_header(path: PathLike, *, pages: Pages = False) -> Header:
    """The header of what :func:`read_image` returns, without decoding any pixels.

    Args:
        path: any file that :class:`ImageReader` reads.
        pages: also count frames and pages; the rest is about the first.

    Raises:
        ImageError: the file is missing, unreadable or not an image.
    """
    with naming_file(path, DAMAGED), explaining(path):
        source = Source(path, find_kind(path))
        wanted = is_wanted(source.kind.loader, pages)
        animation = open_animation(path, source.kind.loader) if wanted else None
        if animation is None:
            return page_header(source, 0, None if wanted else 1)
        header = page_header(source, 0, len(animation))
        return replace(header, alpha=header.alpha or animation.alpha)


def read_samples(path: PathLike, channels: int = 3, depth: int = 8) -> Pixels:
    """Read an image as ``(H, W, channels)`` of 8 or 16 bits, for training and testing data.

    Args:
        path: any file that :func:`read_image` reads.
        channels: 1 for luma (ITU-R BT.601), 3 for RGB without alpha, 4 for RGBA.
        depth: 8 for uint8, 16 for uint16; files of another depth are converted.

    Raises:
        ImageError: as :func:`read_image`, and for values outside the format's range, since the
            images of a pair must be scaled alike.
    """
    if channels not in (1, 3, 4):
        raise ImageError(f"channels must be 1, 3 or 4, not {channels}")
    dtype = {8: np.uint8, 16: np.uint16}[depth]
    image = read_image(path)
    if (values := image.metadata.values) is not None:
        with naming_file(path):
            raise ImageError(
                "convert it to 8 bits, 16 bits or floats from 0 to 1: its values from "
                f"{values.low:g} to {values.high:g} cannot be compared with other images'"
            )
    color = convert(image.color, dtype)
    if channels == 1:
        if image.channels == 1:
            return color
        luma: Pixels = color @ np.array(LUMA).reshape(3, 1)
        return np.rint(luma).astype(dtype)
    color = to_rgb(color)
    if channels == 3:
        return color
    opaque = np.full(color.shape[:2], max_value(dtype), dtype=dtype)
    alpha = opaque if image.alpha is None else convert(image.alpha, dtype)
    return np.dstack([color, alpha])

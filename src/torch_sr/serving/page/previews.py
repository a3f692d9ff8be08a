"""Before and after, as a browser can show them: 8-bit sRGB of a moderate size."""

from __future__ import annotations

import math
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image as PillowImage
from PIL import ImageCms

from torch_sr.aliases import Bytes
from torch_sr.images import Header, ImageReader, Metadata
from torch_sr.images.compositing import flatten

MAX_PIXELS = 16_000_000  # of a preview; iPhones refuse images of more than 16.7 million
MAX_SIDE = 16_000  # of a preview, in pixels; browsers draw no larger ones
_ROWS = 256  # that are read at once


@dataclass(frozen=True)
class Area:
    """A rectangle of an image, in pixels."""

    top: int
    left: int
    height: int
    width: int


@dataclass(frozen=True)
class Preview:
    """Two image files of equal size.

    Args:
        before: the source, enlarged to the size of the result by bicubic interpolation.
        after: the result.
        source_size, result_size: width and height of the whole images.
        is_part: the images show only a part, because the result is too large for a browser.
    """

    before: Path
    after: Path
    source_size: tuple[int, int]
    result_size: tuple[int, int]
    is_part: bool


def make_preview(
    source: Path, result: Path, folder: Path, *, damaged: str = "refuse", limit: int = MAX_PIXELS
) -> Preview:
    """Write ``before.jpg`` and ``after.jpg`` into a folder.

    Transparent pixels are white. Of animations and documents, the first frame or page is shown.

    Args:
        source: the file that was upscaled.
        result: what it became.
        folder: an existing folder.
        damaged: ``keep`` to show what can be read of a damaged source.
        limit: show a part from the middle of results with more pixels than this.

    Raises:
        ImageError: a file that cannot be read.
    """
    with ImageReader(result) as reader:
        whole = reader.header
        area = middle(whole, limit)
        after = read_area(reader, area)
    with ImageReader(source, damaged=damaged) as reader:
        header = reader.header
        before = _enlarge(reader, whole, area)
    for name, image in (("before.jpg", before), ("after.jpg", after)):
        image.save(folder / name, quality=95, subsampling=0)
    return Preview(
        before=folder / "before.jpg",
        after=folder / "after.jpg",
        source_size=(header.width, header.height),
        result_size=(whole.width, whole.height),
        is_part=(area.height, area.width) != (whole.height, whole.width),
    )


def middle(header: Header, limit: int) -> Area:
    """An area of at most ``limit`` pixels around the center, about of the image's shape."""
    height, width = header.height, header.width
    shrink = min(1.0, math.sqrt(limit / (height * width)))
    rows = max(1, min(int(height * shrink), MAX_SIDE))
    columns = max(1, min(int(width * shrink), limit // rows, MAX_SIDE))
    return Area((height - rows) // 2, (width - columns) // 2, rows, columns)


def read_area(reader: ImageReader, area: Area) -> PillowImage.Image:
    """Read a part of an image as sRGB; memory is needed for the part only."""
    parts, top = [], 0
    bottom = area.top + area.height
    while top < bottom:
        rows = reader.read(min(_ROWS, bottom - top))
        wanted = rows[max(0, area.top - top) :, area.left : area.left + area.width]
        if len(wanted):
            parts.append(flatten(np.ascontiguousarray(wanted)))
        top += len(rows)
    return to_srgb(np.concatenate(parts), reader.metadata)


def to_srgb(pixels: Bytes, metadata: Metadata) -> PillowImage.Image:
    """Gray or RGB pixels ``(H, W, 1 or 3)`` as sRGB; a profile that is damaged is ignored."""
    image = PillowImage.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    if metadata.icc is not None:
        try:
            profile = ImageCms.ImageCmsProfile(BytesIO(metadata.icc))
            srgb = ImageCms.createProfile("sRGB")
            converted = ImageCms.profileToProfile(image, profile, srgb, outputMode="RGB")
        except (ImageCms.PyCMSError, OSError):
            converted = None
        if converted is not None:
            return converted
    return image.convert("RGB")


def _enlarge(reader: ImageReader, whole: Header, area: Area) -> PillowImage.Image:
    """The same part of the source as that of the result, in the same size."""
    source = reader.header
    rows, columns = source.height / whole.height, source.width / whole.width
    top, bottom = area.top * rows, (area.top + area.height) * rows
    left, right = area.left * columns, (area.left + area.width) * columns
    margin = 4  # pixels that bicubic interpolation also needs
    first_row, first_column = max(0, int(top) - margin), max(0, int(left) - margin)
    part = Area(
        first_row,
        first_column,
        min(source.height, math.ceil(bottom) + margin) - first_row,
        min(source.width, math.ceil(right) + margin) - first_column,
    )
    box = (left - first_column, top - first_row, right - first_column, bottom - first_row)
    image = read_area(reader, part)
    box = (*box[:2], min(box[2], image.width), min(box[3], image.height))
    return image.resize((area.width, area.height), PillowImage.Resampling.BICUBIC, box)

"""Image files <-> pixels: bit depths, alpha, metadata, color profiles.

::

    image.py        Image, Metadata, Header; pixels <-> floats in [0, 1]
    compositing.py  transparency on white, gray as RGB, luma
    window_sums.py  sums over windows
    value_range.py  values outside [0, 1], scaled to it and back
    vips.py         the binding of libvips
    errors.py       errors that name the file
    reading/        a file -> an Image, or its rows from top to bottom
    writing/        an Image, or rows -> a file; what its format cannot hold becomes a note
    formats/        format-specific code: PNG, TIFF, JPEG, GIF, PNM, EXIF ...

Pixels are never color-managed: the embedded ICC profile is passed on. Only color spaces that no
network understands (CMYK, Lab) are converted, to sRGB. Only this package handles files, bit
depths, alpha and profiles; it does not use PyTorch.
"""

from __future__ import annotations

from torch_sr.images.errors import display_name, refuse_existing
from torch_sr.images.image import Header, Image, Metadata, convert, from_unit, to_nchw, to_unit
from torch_sr.images.reading.compression import visible_compression
from torch_sr.images.reading.kinds import IMAGE_SUFFIXES, is_image_name
from torch_sr.images.reading.read import read_header, read_image, read_samples, read_size
from torch_sr.images.reading.reader import MAX_PIXELS, ImageReader
from torch_sr.images.value_range import ValueRange
from torch_sr.images.writing.capabilities import WRITABLE_SUFFIXES, check_format, holds_pages
from torch_sr.images.writing.documents import can_differ, open_document
from torch_sr.images.writing.encoders import WriteOptions
from torch_sr.images.writing.writer import (
    ImageWriter,
    check_writable,
    open_writer,
    write_image,
)

__all__ = [
    "IMAGE_SUFFIXES",
    "MAX_PIXELS",
    "WRITABLE_SUFFIXES",
    "Header",
    "Image",
    "ImageReader",
    "ImageWriter",
    "Metadata",
    "ValueRange",
    "WriteOptions",
    "can_differ",
    "check_format",
    "check_writable",
    "convert",
    "display_name",
    "from_unit",
    "holds_pages",
    "is_image_name",
    "open_document",
    "open_writer",
    "read_header",
    "read_image",
    "read_samples",
    "read_size",
    "refuse_existing",
    "to_nchw",
    "to_unit",
    "visible_compression",
    "write_image",
]

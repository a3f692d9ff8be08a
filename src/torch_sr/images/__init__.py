"""Any image file <-> pixels: the one place that knows files, bit depths, alpha and profiles.

::

    pixels.py     Image, Metadata, Header; integers <-> [0, 1]
    value_range.py  floats beyond [0, 1], which are scaled into it and back
    reading.py    a file -> an Image, or row bands from top to bottom; it lists its parts
    compression.py  how strongly a file was compressed with loss
    formats.py    what each format of files can hold
    writing.py    an Image, or row bands -> a file, whole or not at all
    documents.py  pages that differ, each written by itself; tiff_join.py joins them
    row_pipe.py   how row bands reach libvips without lying in memory as a whole
    saving.py     the encoders, one function a format
    notes.py      what a format cannot hold of a source, in sentences
    extras.py     what a file says beside its pixels and libvips does not read
    containers.py how that gets into JPEG, GIF, WebP and AVIF
    png.py        chunks of PNG; apng.py: frames of animated PNG
    profiles.py   ICC profiles applied where a format cannot hold them
    metadata.py   EXIF and XMP that stay true for pixels of another size
    tiff_exif.py  EXIF in TIFF files
    naming.py     whatever goes wrong, in one line that begins with the file's name

Pixels are never colour-managed: the embedded ICC profile travels along untouched. Only spaces that
no network understands (CMYK, Lab) are converted, to sRGB. Nothing here knows PyTorch.
"""

from __future__ import annotations

from torch_sr.images.compression import visible_compression
from torch_sr.images.documents import can_differ, open_document
from torch_sr.images.formats import WRITABLE_SUFFIXES, check_format, holds_pages
from torch_sr.images.kinds import IMAGE_SUFFIXES, is_image_name
from torch_sr.images.naming import display_name, refuse_existing
from torch_sr.images.pixels import Header, Image, Metadata, convert, from_unit, to_nchw, to_unit
from torch_sr.images.reading import (
    MAX_PIXELS,
    ImageReader,
    read_header,
    read_image,
    read_samples,
    read_size,
)
from torch_sr.images.saving import WriteOptions
from torch_sr.images.writing import (
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

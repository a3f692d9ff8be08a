"""XMP that stays true for upright pixels of another size (EXIF is mended by libvips).

Sizes and orientation stand in an XMP packet as attributes or as elements, after the EXIF and TIFF
schemas for XMP (ISO 16684-2). Only these are touched; embedded thumbnails, now wrong, are dropped.
"""

from __future__ import annotations

import re

_SIZES = {
    rb"(?:tiff:ImageWidth|exif:PixelXDimension)": "width",
    rb"(?:tiff:ImageLength|exif:PixelYDimension)": "height",
    rb"tiff:Orientation": "orientation",
}
_THUMBNAILS = re.compile(rb"<(x[ma]pG?:Thumbnails)\b.*?</\1>", re.DOTALL)


def correct_xmp(xmp: bytes, height: int, width: int) -> bytes:
    """State the new size and that the picture is upright.

    >>> correct_xmp(b'<x tiff:Orientation="6" tiff:ImageWidth="8"/>', 40, 32)
    b'<x tiff:Orientation="1" tiff:ImageWidth="32"/>'
    """
    values = {"width": width, "height": height, "orientation": 1}
    for name, key in _SIZES.items():
        value = str(values[key]).encode()
        xmp = re.sub(rb"(\b" + name + rb"\s*=\s*[\"'])\d+", rb"\g<1>" + value, xmp)
        xmp = re.sub(rb"(<" + name + rb"\s*>\s*)\d+", rb"\g<1>" + value, xmp)
    return _THUMBNAILS.sub(b"", xmp)

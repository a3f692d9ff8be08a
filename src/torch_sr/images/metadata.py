"""EXIF and XMP that stay true for upright pixels of another size.

In EXIF libvips states the new size and orientation; the thumbnail, which shows the old picture, it
would keep. In XMP size and orientation stand as attributes or as elements, after the EXIF and TIFF
schemas for XMP (ISO 16684-2). Only these are touched; embedded thumbnails, now wrong, are dropped.
"""

from __future__ import annotations

import re
import struct

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


def drop_thumbnail(exif: bytes) -> bytes:
    """End the list of an EXIF block's directories after the first: the second is the thumbnail's.

    A block that is not built as it should be (EXIF 2.3, 4.5; TIFF 6.0, section 2) is left alone.
    """
    start = 6 if exif.startswith(b"Exif\0\0") else 0
    order = {b"II": "<", b"MM": ">"}.get(exif[start : start + 2])
    if order is None:
        return exif
    try:
        (first,) = struct.unpack_from(order + "I", exif, start + 4)
        (entries,) = struct.unpack_from(order + "H", exif, start + first)
        link = start + first + 2 + 12 * entries
        struct.unpack_from(order + "I", exif, link)
    except struct.error:  # beyond its end
        return exif
    return exif[:link] + bytes(4) + exif[link + 4 :]

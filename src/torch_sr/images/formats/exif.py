"""Correct size, orientation and resolution in EXIF and XMP blocks.

In EXIF (2.3) the values of size and orientation are overwritten in place, so that everything else,
including maker notes with their offsets, stays the same byte for byte. In XMP they are attributes
or elements, by the EXIF and TIFF schemas for XMP (ISO 16684-2). Embedded thumbnails, which show the
old image, are removed from both.
"""

from __future__ import annotations

import io
import re
import struct
from collections.abc import Iterator

from torch_sr.images.formats.tiff.directories import (
    SIZES,
    Form,
    pack_directory,
    raw_entries,
    read_head,
)
from torch_sr.images.formats.tiff.resolution import resolution, resolution_entries

_SIZES = {
    rb"(?:tiff:ImageWidth|exif:PixelXDimension)": "width",
    rb"(?:tiff:ImageLength|exif:PixelYDimension)": "height",
    rb"tiff:Orientation": "orientation",
}
_THUMBNAILS = re.compile(rb"<(x[ma]pG?:Thumbnails)\b.*?</\1>", re.DOTALL)


def correct_xmp(xmp: bytes, height: int, width: int) -> bytes:
    """Set the new size, and the orientation to upright.

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
    """Remove the link from an EXIF block's first directory to the second, the thumbnail's.

    A malformed block (EXIF 2.3, 4.5; TIFF 6.0, section 2) is returned unchanged.
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


def correct_exif(exif: bytes, height: int, width: int) -> bytes:
    """Set the new size, and the orientation to upright; remove the thumbnail.

    A malformed block is returned unchanged.
    """
    exif = drop_thumbnail(exif)
    start = 6 if exif.startswith(b"Exif\0\0") else 0
    body = bytearray(exif[start:])
    try:
        form, first, _ = read_head(io.BytesIO(body))
        if form.big:
            return exif
        directories = dict(_directories(body, form, first))
        _overwrite(body, form, directories, height, width)
        return exif[:start] + bytes(body[: _used(body, form, directories)])
    except (struct.error, KeyError, ValueError):
        return exif


def _overwrite(
    body: bytearray, form: Form, directories: dict[int, dict[int, int]], height: int, width: int
) -> None:
    """Overwrite size and orientation in place."""
    values = {0x0112: 1, 0x0100: width, 0x0101: height, 0xA002: width, 0xA003: height}
    for places in directories.values():
        for tag in values.keys() & places.keys():
            at = places[tag]
            kind = struct.unpack_from(form.order + "H", body, at + 2)[0]
            short = kind == 3 and values[tag] < 65536
            value = struct.pack(form.order + ("HH" if short else "I"), values[tag], *[0] * short)
            struct.pack_into(form.order + "HHI", body, at, tag, 3 if short else 4, 1)
            body[at + 8 : at + 12] = value


def exif_resolution(exif: bytes) -> tuple[float, float] | None:
    """Pixels per inch across and down, if the block, or a TIFF file's first bytes, states them."""
    body = exif.removeprefix(b"Exif\0\0")
    try:
        form, first, _ = read_head(io.BytesIO(body))
        entries, _ = raw_entries(io.BytesIO(body), form, first)
        return resolution(io.BytesIO(body), form, entries)
    except (struct.error, KeyError, ValueError, OverflowError):
        return None


def add_resolution(exif: bytes | None, x: float, y: float) -> bytes:
    """Add pixels per inch to a block, for formats without a resolution field."""
    empty = b"II*\0\x08\0\0\0" + bytes(6)
    body = (exif or empty).removeprefix(b"Exif\0\0")
    try:
        form, first, place = read_head(io.BytesIO(body))
        kept, following = raw_entries(io.BytesIO(body), form, first)
    except (struct.error, KeyError, ValueError):
        return exif or b""
    body += bytes(-len(body) % 2)
    new = resolution_entries(x, y)
    packed = pack_directory(new, len(body), form, kept, following)
    at = form.offset.pack(len(body))
    return b"Exif\0\0" + body[:place] + at + body[place + len(at) :] + packed


def _directories(
    body: bytes | bytearray, form: Form, first: int
) -> Iterator[tuple[int, dict[int, int]]]:
    """The offset of each directory, and the offsets of its entries by tag."""
    waiting, seen = [first], set()
    while waiting:
        at = waiting.pop()
        if at in seen:  # a circle
            continue
        seen.add(at)
        (count,) = struct.unpack_from(form.order + "H", body, at)
        places = {}
        for entry in range(at + 2, at + 2 + 12 * count, 12):
            (tag,) = struct.unpack_from(form.order + "H", body, entry)
            places[tag] = entry
            if tag in (0x8769, 0x8825, 0xA005):
                waiting += struct.unpack_from(form.order + "I", body, entry + 8)
        yield at, places


def _used(body: bytearray, form: Form, directories: dict[int, dict[int, int]]) -> int:
    """The end of the data that the directories point to; the thumbnail came after it."""
    end = 8
    for at, places in directories.items():
        end = max(end, at + 2 + 12 * len(places) + 4)
        for place in places.values():
            _, kind, count = struct.unpack_from(form.order + "HHI", body, place)
            if (size := SIZES.get(kind, 1) * count) > 4:
                (value,) = struct.unpack_from(form.order + "I", body, place + 8)
                end = max(end, value + size)
    return end

"""EXIF in TIFF files, which libvips neither reads nor writes.

In a TIFF the tags of EXIF (2.3, section 4.6) stand in its first directory and in two that this one
points to. To add them, these two and a new first directory, with the entries of the old one as they
are, are appended to the file; then its header points there. Maker notes and interoperability are
left out: they hold offsets of their own, which would lead astray. TIFF 6.0, section 2; BigTIFF.
"""

from __future__ import annotations

import io
import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

_DESCRIPTIONS = (0x010E, 0x010F, 0x0110, 0x0131, 0x0132, 0x013B, 0x8298)  # maker, model, date …
_EXIF, _GPS = 0x8769, 0x8825
_WIDTH, _HEIGHT = 0xA002, 0xA003
_WITH_OFFSETS = (0x927C, 0xA005)
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8}
_WORDS = {3: 2, 4: 4, 5: 4, 8: 2, 9: 4, 10: 4, 11: 4, 12: 8}  # bytes that have an order
_LONG, _LONG8 = 4, 16
_MOST_ENTRIES = 1000
_MOST_BYTES = 1 << 20


@dataclass(frozen=True)
class _Entry:
    kind: int
    count: int
    value: bytes  # little-endian


@dataclass(frozen=True)
class Form:
    """How numbers are laid out: the order of bytes, and whether offsets have eight of them."""

    order: str
    big: bool

    @property
    def room(self) -> int:
        """Bytes of a value that lies in its entry."""
        return 8 if self.big else 4

    @property
    def offset(self) -> struct.Struct:
        return struct.Struct(self.order + ("Q" if self.big else "I"))

    @property
    def count(self) -> struct.Struct:
        """Of the entries of a directory."""
        return struct.Struct(self.order + ("Q" if self.big else "H"))

    @property
    def entry(self) -> struct.Struct:
        """Tag, type, number of values."""
        return struct.Struct(self.order + ("HHQ" if self.big else "HHI"))


_CLASSIC = Form("<", big=False)


def read_exif(path: str | os.PathLike[str]) -> bytes | None:
    """The EXIF of a TIFF file as the block that other formats hold; None where there is none."""
    try:
        with Path(path).open("rb") as file:
            form, first, _ = read_head(file)
            tags = _read_tags(file, form, first)
    except (struct.error, KeyError, ValueError, OverflowError, OSError):  # damaged: there is none
        return None
    if not any(tags):
        return None
    out = io.BytesIO(struct.pack("<2sHI", b"II", 42, 8))
    out.seek(8)
    descriptions, exif, gps = tags
    # The first directory lies first; its pointers have their places before the others are written.
    pointers = {tag: _pointer(0, _CLASSIC) for tag, found in ((_EXIF, exif), (_GPS, gps)) if found}
    size = len(_pack(descriptions | pointers, 8, _CLASSIC))
    end = 8 + size
    body = b""
    for tag, found in ((_EXIF, exif), (_GPS, gps)):
        if found:
            pointers[tag] = _pointer(end + len(body), _CLASSIC)
            body += _pack(found, end + len(body), _CLASSIC)
    out.write(_pack(descriptions | pointers, 8, _CLASSIC) + body)
    return b"Exif\0\0" + out.getvalue()


def append_exif(path: str | os.PathLike[str], block: bytes, height: int, width: int) -> None:
    """Add an EXIF block, with the new size, to a TIFF file that has none; damaged ones are left.

    Raises:
        OSError: the file cannot be written.
    """
    block = block.removeprefix(b"Exif\0\0")
    try:
        source = io.BytesIO(block)
        descriptions, exif, gps = _read_tags(source, *read_head(source)[:2])
    except (struct.error, KeyError, ValueError, OverflowError):
        return
    for tag, size in ((_WIDTH, width), (_HEIGHT, height)):
        if tag in exif:
            exif[tag] = _Entry(_LONG, 1, struct.pack("<I", size))
    with Path(path).open("r+b") as file:
        form, first, place = read_head(file)
        entries, following = raw_entries(file, form, first)
        end = file.seek(0, os.SEEK_END)
        file.write(bytes(-end % 8))
        new = dict(descriptions)
        for tag, found in ((_EXIF, exif), (_GPS, gps)):
            if found:
                at = file.tell()
                file.write(_pack(found, at, form))
                new[tag] = _pointer(at, form)
        at = file.tell()
        file.write(_pack(new, at, form, entries, following))
        file.seek(place)
        file.write(form.offset.pack(at))


def read_head(file: BinaryIO) -> tuple[Form, int, int]:
    """The form of a TIFF, where its first directory lies, and where that is told."""
    file.seek(0)
    head = file.read(16)
    order = {b"II": "<", b"MM": ">"}[head[:2]]
    (version,) = struct.unpack_from(order + "H", head, 2)
    form = Form(order, big={42: False, 43: True}[version])
    place = 8 if form.big else 4
    return form, form.offset.unpack_from(head, place)[0], place


def _read_tags(
    file: BinaryIO, form: Form, first: int
) -> tuple[dict[int, _Entry], dict[int, _Entry], dict[int, _Entry]]:
    """Descriptions of the first directory, then those of EXIF, and of GPS."""
    top = _read_entries(file, form, first, (*_DESCRIPTIONS, _EXIF, _GPS))
    found = []
    for tag in (_EXIF, _GPS):
        entry = top.pop(tag, None)
        at = int.from_bytes(entry.value[: _SIZES.get(entry.kind, 8)], "little") if entry else 0
        inner = _read_entries(file, form, at) if at else {}
        found.append({tag: value for tag, value in inner.items() if tag not in _WITH_OFFSETS})
    return top, found[0], found[1]


def _read_entries(
    file: BinaryIO, form: Form, at: int, wanted: tuple[int, ...] | None = None
) -> dict[int, _Entry]:
    raw, _ = raw_entries(file, form, at)
    entries = {}
    for tag, data in raw.items():
        _, kind, count = form.entry.unpack_from(data)
        size = _SIZES.get(kind, 8 if kind == _LONG8 else 0) * count
        if (wanted is not None and tag not in wanted) or not 0 < size <= _MOST_BYTES:
            continue
        value = data[-form.room :][:size]
        if size > form.room:
            file.seek(form.offset.unpack_from(data, len(data) - form.room)[0])
            value = file.read(size)
        if len(value) == size:
            word = 8 if kind == _LONG8 else _WORDS.get(kind, 1)
            entries[tag] = _Entry(kind, count, _swapped(value, word, form.order))
    return entries


def raw_entries(file: BinaryIO, form: Form, at: int) -> tuple[dict[int, bytes], int]:
    """The entries of a directory as they are, and where the next directory lies."""
    file.seek(at)
    (count,) = form.count.unpack(file.read(form.count.size))
    if count > _MOST_ENTRIES:
        raise ValueError(f"{count} entries")
    size = form.entry.size + form.room
    data = file.read(size * count)
    (following,) = form.offset.unpack(file.read(form.offset.size))
    parts = [data[i * size : (i + 1) * size] for i in range(count)]
    return {struct.unpack_from(form.order + "H", part)[0]: part for part in parts}, following


def _pack(
    entries: dict[int, _Entry],
    at: int,
    form: Form,
    kept: dict[int, bytes] | None = None,
    following: int = 0,
) -> bytes:
    """A directory that lies at `at`, with the values that its entries point to behind it."""
    tags = sorted({**(kept or {}), **entries})
    end = at + form.count.size + len(tags) * (form.entry.size + form.room) + form.offset.size
    head, body = form.count.pack(len(tags)), b""
    for tag in tags:
        if tag not in entries:
            head += (kept or {})[tag]
            continue
        entry = entries[tag]
        word = 8 if entry.kind == _LONG8 else _WORDS.get(entry.kind, 1)
        value = _swapped(entry.value, word, form.order)
        head += form.entry.pack(tag, entry.kind, entry.count)
        if len(value) <= form.room:
            head += value.ljust(form.room, b"\0")
        else:
            head += form.offset.pack(end + len(body))
            body += value + bytes(-len(value) % 8)
    return head + form.offset.pack(following) + body


def _pointer(at: int, form: Form) -> _Entry:
    if form.big:
        return _Entry(_LONG8, 1, struct.pack("<Q", at))
    return _Entry(_LONG, 1, struct.pack("<I", at))


def _swapped(value: bytes, word: int, order: str) -> bytes:
    """From or to little-endian."""
    if order == "<" or word == 1:
        return value
    swapped: bytes = np.frombuffer(value, f"<u{word}").byteswap().tobytes()
    return swapped

"""Directories of TIFF files and EXIF blocks: read and pack their entries.

TIFF 6.0, section 2; BigTIFF.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8}
_WORDS = {3: 2, 4: 4, 5: 4, 8: 2, 9: 4, 10: 4, 11: 4, 12: 8}  # bytes that have an order
LONG, _LONG8 = 4, 16
_MAX_ENTRIES = 1000
_MAX_BYTES = 1 << 20


@dataclass(frozen=True)
class Entry:
    """A tag's values and their type, by TIFF's number."""

    kind: int
    count: int
    value: bytes  # little-endian


@dataclass(frozen=True)
class Form:
    """The byte order of a file, and whether it is a BigTIFF, with offsets of eight bytes."""

    order: str
    big: bool

    @property
    def room(self) -> int:
        """The most bytes of a value that is stored in its entry."""
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


CLASSIC = Form("<", big=False)


def read_head(file: BinaryIO) -> tuple[Form, int, int]:
    """The form of a TIFF, the offset of its first directory, and where that offset is stored."""
    file.seek(0)
    head = file.read(16)
    order = {b"II": "<", b"MM": ">"}[head[:2]]
    (version,) = struct.unpack_from(order + "H", head, 2)
    form = Form(order, big={42: False, 43: True}[version])
    place = 8 if form.big else 4
    return form, form.offset.unpack_from(head, place)[0], place


def read_entries(
    file: BinaryIO, form: Form, at: int, wanted: tuple[int, ...] | None = None
) -> dict[int, Entry]:
    """The entries of a directory with their values, little-endian; damaged ones are left out."""
    raw, _ = raw_entries(file, form, at)
    entries = {}
    for tag, data in raw.items():
        _, kind, count = form.entry.unpack_from(data)
        size = SIZES.get(kind, 8 if kind == _LONG8 else 0) * count
        if (wanted is not None and tag not in wanted) or not 0 < size <= _MAX_BYTES:
            continue
        value = data[-form.room :][:size]
        if size > form.room:
            file.seek(form.offset.unpack_from(data, len(data) - form.room)[0])
            value = file.read(size)
        if len(value) == size:
            word = 8 if kind == _LONG8 else _WORDS.get(kind, 1)
            entries[tag] = Entry(kind, count, swapped(value, word, form.order))
    return entries


def raw_entries(file: BinaryIO, form: Form, at: int) -> tuple[dict[int, bytes], int]:
    """The entries of a directory as stored, and the offset of the next directory."""
    file.seek(at)
    (count,) = form.count.unpack(file.read(form.count.size))
    if count > _MAX_ENTRIES:
        raise ValueError(f"{count} entries")
    size = form.entry.size + form.room
    data = file.read(size * count)
    (following,) = form.offset.unpack(file.read(form.offset.size))
    parts = [data[i * size : (i + 1) * size] for i in range(count)]
    found: dict[int, bytes] = {}
    for part in parts:  # of duplicate tags, the first one counts
        found.setdefault(struct.unpack_from(form.order + "H", part)[0], part)
    return found, following


def first_value(entry: bytes, form: Form) -> int:
    """The offset stored in an entry, as :func:`raw_entries` returns it."""
    return int(form.offset.unpack(entry[-form.room :])[0])


def pack_directory(
    entries: dict[int, Entry],
    at: int,
    form: Form,
    kept: dict[int, bytes] | None = None,
    following: int = 0,
) -> bytes:
    """A directory for the offset `at`, followed by the values that its entries point to."""
    tags = sorted({**(kept or {}), **entries})
    end = at + form.count.size + len(tags) * (form.entry.size + form.room) + form.offset.size
    head, body = form.count.pack(len(tags)), b""
    for tag in tags:
        if tag not in entries:
            head += (kept or {})[tag]
            continue
        entry = entries[tag]
        word = 8 if entry.kind == _LONG8 else _WORDS.get(entry.kind, 1)
        value = swapped(entry.value, word, form.order)
        head += form.entry.pack(tag, entry.kind, entry.count)
        if len(value) <= form.room:
            head += value.ljust(form.room, b"\0")
        else:
            head += form.offset.pack(end + len(body))
            body += value + bytes(-len(value) % 8)
    return head + form.offset.pack(following) + body


def pointer(at: int, form: Form) -> Entry:
    """An entry that points to a directory at `at`."""
    if form.big:
        return Entry(_LONG8, 1, struct.pack("<Q", at))
    return Entry(LONG, 1, struct.pack("<I", at))


def swapped(value: bytes, word: int, order: str) -> bytes:
    """From or to little-endian."""
    if order == "<" or word == 1:
        return value
    swapped: bytes = np.frombuffer(value, f"<u{word}").byteswap().tobytes()
    return swapped

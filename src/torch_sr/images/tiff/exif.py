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
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO

import numpy as np

_DESCRIPTIONS = (
    *(0x010E, 0x010F, 0x0110, 0x0131, 0x0132, 0x013B, 0x8298),  # maker, model, date …
    *(0x010D, 0x011D, 0x013C, 0x4746, 0x4749, *range(0x9C9B, 0x9CA0)),  # names, rating, Windows'
)
_RESOLUTION = (0x011A, 0x011B, 0x0128)
_STRUCTURE = {  # how the pixels are stored, or what libvips reads and writes itself
    *(254, 255, 256, 257, 258, 259, 262, 263, 264, 265, 266, 273, 274, 277, 278, 279, 280, 281),
    *(284, 288, 289, 292, 293, 297, 317, 320, 322, 323, 324, 325, 330, 332, 334, 336, 338, 339),
    *(340, 341, 347, 512, 513, 514, 515, 519, 520, 521, 529, 530, 531, 532, 700, 33723, 34377),
    *(34675, 301, 318, 319, 290, 291, 433, 434, 435, 559),
}
_EXIF, _GPS = 0x8769, 0x8825
_IPTC = 33723
_WIDTH, _HEIGHT = 0xA002, 0xA003
_WITH_OFFSETS = (0x927C, 0xA005)
SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8}
_WORDS = {3: 2, 4: 4, 5: 4, 8: 2, 9: 4, 10: 4, 11: 4, 12: 8}  # bytes that have an order
_LONG, _LONG8 = 4, 16
_MOST_ENTRIES = 1000
_MOST_BYTES = 1 << 20


@dataclass(frozen=True)
class Entry:
    """A tag's values and their type, by TIFF's number."""

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
    size = len(pack_directory(descriptions | pointers, 8, _CLASSIC))
    end = 8 + size
    body = b""
    for tag, found in ((_EXIF, exif), (_GPS, gps)):
        if found:
            pointers[tag] = _pointer(end + len(body), _CLASSIC)
            body += pack_directory(found, end + len(body), _CLASSIC)
    out.write(pack_directory(descriptions | pointers, 8, _CLASSIC) + body)
    return b"Exif\0\0" + out.getvalue()


def append_exif(
    path: str | os.PathLike[str],
    block: bytes,
    height: int,
    width: int,
    iptc: bytes | None = None,
) -> None:
    """Add EXIF, with the new size, and IPTC to a TIFF file that has none; damaged EXIF is left out.

    Raises:
        OSError: the file cannot be written.
    """
    block = block.removeprefix(b"Exif\0\0")
    try:
        source = io.BytesIO(block)
        descriptions, exif, gps = _read_tags(source, *read_head(source)[:2])
    except (struct.error, KeyError, ValueError, OverflowError):
        descriptions, exif, gps = {}, {}, {}
    if iptc:
        descriptions[_IPTC] = Entry(7, len(iptc), iptc)
    for tag, size in ((_WIDTH, width), (_HEIGHT, height)):
        if tag in exif:
            exif[tag] = Entry(_LONG, 1, struct.pack("<I", size))
    if not (descriptions or exif or gps):
        return
    with Path(path).open("r+b") as file:
        form, first, place = read_head(file)
        entries, following = raw_entries(file, form, first)
        end = file.seek(0, os.SEEK_END)
        file.write(bytes(-end % 8))
        new = dict(descriptions)
        for tag, found in ((_EXIF, exif), (_GPS, gps)):
            if found:
                at = file.tell()
                file.write(pack_directory(found, at, form))
                new[tag] = _pointer(at, form)
        at = file.tell()
        file.write(pack_directory(new, at, form, entries, following))
        file.seek(place)
        file.write(form.offset.pack(at))


def read_resolution(path: str | os.PathLike[str]) -> tuple[float, float] | None:
    """Pixels per inch across and down that a TIFF file states."""
    try:
        with Path(path).open("rb") as file:
            form, first, _ = read_head(file)
            return resolution(file, form, raw_entries(file, form, first)[0])
    except (struct.error, KeyError, ValueError, OverflowError, OSError):
        return None


def resolution(file: BinaryIO, form: Form, entries: dict[int, bytes]) -> tuple[float, float] | None:
    """The same of a directory's entries; a ratio without a unit is none."""
    if not {0x011A, 0x011B} <= entries.keys():
        return None
    found = []
    for tag in (0x011A, 0x011B):
        file.seek(form.offset.unpack(entries[tag][-form.room :])[0])
        data = entries[tag][-8:] if form.big else file.read(8)
        above, below = struct.unpack(form.order + "II", data)
        found.append(above / below if below else 0.0)
    unit = 2
    if 0x0128 in entries:
        (unit,) = struct.unpack_from(form.order + "H", entries[0x0128], form.entry.size)
    factor = {2: 1.0, 3: 2.54}.get(unit)
    if factor is None or min(found) <= 0:
        return None
    return found[0] * factor, found[1] * factor


def resolution_entries(x: float, y: float) -> dict[int, Entry]:
    """What states so many pixels per inch."""
    values = [Fraction(value).limit_denominator(10_000) for value in (x, y)]
    entries = {
        tag: Entry(5, 1, struct.pack("<II", value.numerator, value.denominator))
        for tag, value in zip((0x011A, 0x011B), values, strict=True)
    }
    return {**entries, 0x0128: Entry(3, 1, struct.pack("<H", 2))}


def set_resolution(path: str | os.PathLike[str], dpi: tuple[float, float] | None) -> None:
    """State pixels per inch in each page of a TIFF file of libvips, or none, which it cannot."""
    with Path(path).open("r+b") as file:
        form, at, _ = read_head(file)
        while at:
            entries, following = raw_entries(file, form, at)
            if dpi is not None:
                _state(file, form, entries, dpi)
            tags = sorted(entries.keys() - (set(_RESOLUTION) if dpi is None else set()))
            kept = [entries[tag] for tag in tags]
            file.seek(at)
            file.write(form.count.pack(len(kept)) + b"".join(kept) + form.offset.pack(following))
            at = following


def _state(file: BinaryIO, form: Form, entries: dict[int, bytes], dpi: tuple[float, float]) -> None:
    """Overwrite values where they stand, in the entries or behind their offsets."""
    for tag, new in resolution_entries(*dpi).items():
        if tag not in entries:
            continue
        size = form.entry.size
        value = _swapped(new.value, 4 if new.kind == 5 else 2, form.order)
        if len(value) <= form.room:
            head = form.entry.pack(tag, new.kind, 1)
            entries[tag] = head + value.ljust(form.room, b"\0")
        else:
            file.seek(form.offset.unpack(entries[tag][size:])[0])
            file.write(value)


def other_tags(path: str | os.PathLike[str]) -> list[int]:
    """Tags of a TIFF's first page that say something beside the pixels and are not kept."""
    try:
        with Path(path).open("rb") as file:
            form, first, _ = read_head(file)
            entries, _ = raw_entries(file, form, first)
            lost = _lost_descriptions(file, form, first)
            if _EXIF in entries and any(
                tag in _read_entries(file, form, _value(entries[_EXIF], form))
                for tag in _WITH_OFFSETS[:1]
            ):
                lost.append(_WITH_OFFSETS[0])
    except (struct.error, KeyError, ValueError, OverflowError, OSError):
        return []
    known = {*_STRUCTURE, *_DESCRIPTIONS, *_RESOLUTION, _EXIF, _GPS}
    return [tag for tag in entries if tag not in known] + lost


def has_maker_note(block: bytes) -> bool:
    """Whether an EXIF block has one, which TIFF files cannot take over."""
    source = io.BytesIO(block.removeprefix(b"Exif\0\0"))
    try:
        form, first, _ = read_head(source)
        entries, _ = raw_entries(source, form, first)
        return (
            _EXIF in entries
            and 0x927C in raw_entries(source, form, _value(entries[_EXIF], form))[0]
        )
    except (struct.error, KeyError, ValueError, OverflowError):
        return False


def _value(entry: bytes, form: Form) -> int:
    return int(form.offset.unpack(entry[-form.room :])[0])


def _lost_descriptions(file: BinaryIO, form: Form, first: int) -> list[int]:
    """A description that states the old size for another program, as OME-XML does."""
    found = _read_entries(file, form, first, (0x010E,)).get(0x010E)
    return [0x010E] if found and b"<OME" in found.value else []


def _of_the_old_size(tag: int, entry: Entry) -> bool:
    """Descriptions by which tifffile and OME programs find the shape of the pixels."""
    return tag == 0x010E and (entry.value.startswith(b'{"shape"') or b"<OME" in entry.value)


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
) -> tuple[dict[int, Entry], dict[int, Entry], dict[int, Entry]]:
    """Descriptions of the first directory, then those of EXIF, and of GPS."""
    top = _read_entries(file, form, first, (*_DESCRIPTIONS, _EXIF, _GPS))
    top = {tag: entry for tag, entry in top.items() if not _of_the_old_size(tag, entry)}
    found = []
    for tag in (_EXIF, _GPS):
        entry = top.pop(tag, None)
        at = int.from_bytes(entry.value[: SIZES.get(entry.kind, 8)], "little") if entry else 0
        inner = _read_entries(file, form, at) if at else {}
        found.append({tag: value for tag, value in inner.items() if tag not in _WITH_OFFSETS})
    return top, found[0], found[1]


def _read_entries(
    file: BinaryIO, form: Form, at: int, wanted: tuple[int, ...] | None = None
) -> dict[int, Entry]:
    raw, _ = raw_entries(file, form, at)
    entries = {}
    for tag, data in raw.items():
        _, kind, count = form.entry.unpack_from(data)
        size = SIZES.get(kind, 8 if kind == _LONG8 else 0) * count
        if (wanted is not None and tag not in wanted) or not 0 < size <= _MOST_BYTES:
            continue
        value = data[-form.room :][:size]
        if size > form.room:
            file.seek(form.offset.unpack_from(data, len(data) - form.room)[0])
            value = file.read(size)
        if len(value) == size:
            word = 8 if kind == _LONG8 else _WORDS.get(kind, 1)
            entries[tag] = Entry(kind, count, _swapped(value, word, form.order))
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
    found: dict[int, bytes] = {}
    for part in parts:  # of a tag that stands twice, the first counts
        found.setdefault(struct.unpack_from(form.order + "H", part)[0], part)
    return found, following


def pack_directory(
    entries: dict[int, Entry],
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


def _pointer(at: int, form: Form) -> Entry:
    if form.big:
        return Entry(_LONG8, 1, struct.pack("<Q", at))
    return Entry(_LONG, 1, struct.pack("<I", at))


def _swapped(value: bytes, word: int, order: str) -> bytes:
    """From or to little-endian."""
    if order == "<" or word == 1:
        return value
    swapped: bytes = np.frombuffer(value, f"<u{word}").byteswap().tobytes()
    return swapped

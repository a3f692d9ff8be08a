"""EXIF in TIFF files, which libvips neither reads nor writes.

In a TIFF, the tags of EXIF (2.3, section 4.6) are in the first directory and in two more that it
points to. To add them, these two and a new first directory, with the entries of the old one, are
appended to the file; then the header points there. Maker notes and interoperability are left out,
because they contain offsets. TIFF 6.0, section 2; BigTIFF.

tifftools is not used: it writes the whole file again, and hangs on a directory that points to
itself.
"""

from __future__ import annotations

import io
import os
import struct
from pathlib import Path
from typing import BinaryIO

from torch_sr.aliases import PathLike
from torch_sr.images.formats.tiff.directories import (
    CLASSIC,
    LONG,
    SIZES,
    Entry,
    Form,
    first_value,
    pack_directory,
    pointer,
    raw_entries,
    read_entries,
    read_head,
)
from torch_sr.images.formats.tiff.resolution import RESOLUTION

_DESCRIPTIONS = (
    *(0x010E, 0x010F, 0x0110, 0x0131, 0x0132, 0x013B, 0x8298),  # maker, model, date …
    *(0x010D, 0x011D, 0x013C, 0x4746, 0x4749, *range(0x9C9B, 0x9CA0)),  # names, rating, Windows'
)
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


def read_exif(path: PathLike) -> bytes | None:
    """The EXIF of a TIFF file as a block for other formats; None if there is none."""
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
    # The first directory comes first, so its size must be known before the others are placed.
    pointers = {tag: pointer(0, CLASSIC) for tag, found in ((_EXIF, exif), (_GPS, gps)) if found}
    size = len(pack_directory(descriptions | pointers, 8, CLASSIC))
    end = 8 + size
    body = b""
    for tag, found in ((_EXIF, exif), (_GPS, gps)):
        if found:
            pointers[tag] = pointer(end + len(body), CLASSIC)
            body += pack_directory(found, end + len(body), CLASSIC)
    out.write(pack_directory(descriptions | pointers, 8, CLASSIC) + body)
    return b"Exif\0\0" + out.getvalue()


def append_exif(
    path: PathLike,
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
            exif[tag] = Entry(LONG, 1, struct.pack("<I", size))
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
                new[tag] = pointer(at, form)
        at = file.tell()
        file.write(pack_directory(new, at, form, entries, following))
        file.seek(place)
        file.write(form.offset.pack(at))


def other_tags(path: PathLike) -> list[int]:
    """Descriptive tags of a TIFF's first page that are not kept."""
    try:
        with Path(path).open("rb") as file:
            form, first, _ = read_head(file)
            entries, _ = raw_entries(file, form, first)
            lost = _lost_descriptions(file, form, first)
            if _EXIF in entries and any(
                tag in read_entries(file, form, first_value(entries[_EXIF], form))
                for tag in _WITH_OFFSETS[:1]
            ):
                lost.append(_WITH_OFFSETS[0])
    except (struct.error, KeyError, ValueError, OverflowError, OSError):
        return []
    known = {*_STRUCTURE, *_DESCRIPTIONS, *RESOLUTION, _EXIF, _GPS}
    return [tag for tag in entries if tag not in known] + lost


def has_maker_note(block: bytes) -> bool:
    """Whether an EXIF block has a maker note, which cannot be copied into TIFF files."""
    source = io.BytesIO(block.removeprefix(b"Exif\0\0"))
    try:
        form, first, _ = read_head(source)
        entries, _ = raw_entries(source, form, first)
        return (
            _EXIF in entries
            and 0x927C in raw_entries(source, form, first_value(entries[_EXIF], form))[0]
        )
    except (struct.error, KeyError, ValueError, OverflowError):
        return False


def _lost_descriptions(file: BinaryIO, form: Form, first: int) -> list[int]:
    """A description that states the old size for another program, as OME-XML does."""
    found = read_entries(file, form, first, (0x010E,)).get(0x010E)
    return [0x010E] if found and b"<OME" in found.value else []


def _states_old_size(tag: int, entry: Entry) -> bool:
    """Descriptions by which tifffile and OME programs find the shape of the pixels."""
    return tag == 0x010E and (entry.value.startswith(b'{"shape"') or b"<OME" in entry.value)


def _read_tags(
    file: BinaryIO, form: Form, first: int
) -> tuple[dict[int, Entry], dict[int, Entry], dict[int, Entry]]:
    """Descriptions of the first directory, then those of EXIF, and of GPS."""
    top = read_entries(file, form, first, (*_DESCRIPTIONS, _EXIF, _GPS))
    top = {tag: entry for tag, entry in top.items() if not _states_old_size(tag, entry)}
    found = []
    for tag in (_EXIF, _GPS):
        entry = top.pop(tag, None)
        at = int.from_bytes(entry.value[: SIZES.get(entry.kind, 8)], "little") if entry else 0
        inner = read_entries(file, form, at) if at else {}
        found.append({tag: value for tag, value in inner.items() if tag not in _WITH_OFFSETS})
    return top, found[0], found[1]

"""Join TIFF files of one page each into a file of all pages.

The pages may differ in everything. The files are appended to the first one, and the offsets in
their directories are corrected. TIFF 6.0, section 2; BigTIFF. Pages that this package writes have
no directories inside their directories except those of EXIF and GPS.
"""

from __future__ import annotations

import shutil
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from torch_sr.images.formats.tiff.directories import Form, raw_entries, read_head

_OFFSETS = (273, 324)  # of strips and tiles
_DIRECTORIES = (34665, 34853)  # EXIF and GPS
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
_SIZES |= {16: 8, 17: 8, 18: 8}
_LETTERS = {3: "H", 4: "I", 16: "Q"}


def join_pages(target: Path, pages: Sequence[Path]) -> None:
    """Append all files to the first, and rename that one to ``target``.

    Args:
        target: the file of all pages.
        pages: TIFF files of one page and equal form (classic or big, byte order); they are removed.

    Raises:
        OSError: the disk is full, or a file is not what was written.
    """
    first, *others = pages
    with first.open("r+b") as file:
        form, at, _ = read_head(file)
        for page in others:
            base = _append(file, page)
            place = _shift(file, form, base)
            _link(file, form, at, place)
            at = place
            page.unlink()
    first.replace(target)


def _append(file: BinaryIO, page: Path) -> int:
    """Append a file to another, and return the offset at which it begins."""
    end = file.seek(0, 2)
    file.write(bytes(-end % 16))
    base = file.tell()
    with page.open("rb") as source:
        shutil.copyfileobj(source, file, 1 << 20)
    return base


def _shift(file: BinaryIO, form: Form, base: int) -> int:
    """Correct all offsets in a copy that begins at `base`; return that of its directory."""
    file.seek(base + (8 if form.big else 4))
    (first,) = form.offset.unpack(file.read(form.offset.size))
    _shift_directory(file, form, base + first, base)
    return int(base + first)


def _shift_directory(file: BinaryIO, form: Form, at: int, base: int) -> None:
    entries, _ = raw_entries(file, form, at)
    size = form.entry.size + form.room
    for i, (tag, entry) in enumerate(entries.items()):
        _, kind, count = form.entry.unpack_from(entry)
        length = _SIZES[kind] * count
        place = at + form.count.size + i * size + form.entry.size
        if length > form.room:
            place = _add(file, form.offset, place, base)
        if tag in _OFFSETS:
            file.seek(place)
            numbers = struct.Struct(f"{form.order}{count}{_LETTERS[kind]}")
            found = numbers.unpack(file.read(numbers.size))
            file.seek(place)
            file.write(numbers.pack(*(number + base for number in found)))
        elif tag in _DIRECTORIES:
            pointer = struct.Struct(form.order + _LETTERS[kind])
            _shift_directory(file, form, _add(file, pointer, place, base), base)


def _add(file: BinaryIO, number: struct.Struct, place: int, base: int) -> int:
    """Add `base` to the number stored at `place`."""
    file.seek(place)
    value = number.unpack(file.read(number.size))[0] + base
    file.seek(place)
    file.write(number.pack(value))
    return int(value)


def _link(file: BinaryIO, form: Form, at: int, following: int) -> None:
    """Store the offset of the next directory in the one at `at`."""
    file.seek(at)
    (count,) = form.count.unpack(file.read(form.count.size))
    file.seek(at + form.count.size + count * (form.entry.size + form.room))
    file.write(form.offset.pack(following))

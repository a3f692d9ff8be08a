"""The resolution in pixels per inch that TIFF files and EXIF blocks state."""

from __future__ import annotations

import struct
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO

from torch_sr.aliases import PathLike
from torch_sr.images.formats.tiff.directories import Entry, Form, raw_entries, read_head, swapped

RESOLUTION = (0x011A, 0x011B, 0x0128)


def read_resolution(path: PathLike) -> tuple[float, float] | None:
    """Pixels per inch across and down that a TIFF file states."""
    try:
        with Path(path).open("rb") as file:
            form, first, _ = read_head(file)
            return resolution(file, form, raw_entries(file, form, first)[0])
    except (struct.error, KeyError, ValueError, OverflowError, OSError):
        return None


def resolution(file: BinaryIO, form: Form, entries: dict[int, bytes]) -> tuple[float, float] | None:
    """Pixels per inch in a directory's entries; None if they are unitless."""
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
    """The entries for a resolution in pixels per inch."""
    values = [Fraction(value).limit_denominator(10_000) for value in (x, y)]
    entries = {
        tag: Entry(5, 1, struct.pack("<II", value.numerator, value.denominator))
        for tag, value in zip((0x011A, 0x011B), values, strict=True)
    }
    return {**entries, 0x0128: Entry(3, 1, struct.pack("<H", 2))}


def set_resolution(path: PathLike, dpi: tuple[float, float] | None) -> None:
    """Set or remove the resolution in each page of a TIFF file that libvips wrote."""
    with Path(path).open("r+b") as file:
        form, at, _ = read_head(file)
        while at:
            entries, following = raw_entries(file, form, at)
            if dpi is not None:
                _state(file, form, entries, dpi)
            tags = sorted(entries.keys() - (set(RESOLUTION) if dpi is None else set()))
            kept = [entries[tag] for tag in tags]
            file.seek(at)
            file.write(form.count.pack(len(kept)) + b"".join(kept) + form.offset.pack(following))
            at = following


def _state(file: BinaryIO, form: Form, entries: dict[int, bytes], dpi: tuple[float, float]) -> None:
    """Overwrite values in place, in the entries or at their offsets."""
    for tag, new in resolution_entries(*dpi).items():
        if tag not in entries:
            continue
        size = form.entry.size
        value = swapped(new.value, 4 if new.kind == 5 else 2, form.order)
        if len(value) <= form.room:
            head = form.entry.pack(tag, new.kind, 1)
            entries[tag] = head + value.ljust(form.room, b"\0")
        else:
            file.seek(form.offset.unpack(entries[tag][size:])[0])
            file.write(value)

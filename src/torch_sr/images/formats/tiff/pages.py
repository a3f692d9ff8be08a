"""The pages of TIFF files: their samples, and which of them can be read.

TIFF 6.0, sections 2, 8 and 19; BigTIFF; Adobe's TIFF Technical Notes; DNG 1.6.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from torch_sr.aliases import PathLike
from torch_sr.errors import ImageError
from torch_sr.images.formats.tiff.directories import Form, raw_entries, read_head

UNSIGNED, SIGNED, FLOAT = 1, 2, 3
WHITE_IS_ZERO, RGB, CMYK, YCBCR, CIELAB, ICCLAB = 0, 2, 5, 6, 8, 9
_CFA, _LINEAR_RAW = 32803, 34892
_PHOTOMETRICS = {0, 1, 2, 3, 5, 6, 8, 9}
_DECODED = {1, 2, 3, 4, 5, 6, 7, 8, 32773, 32809, 32946, 34676, 34677, 50001}
_BY_PILLOW = {34925, 50000}  # LZMA and Zstandard
_COMPRESSIONS = {
    33003: "JPEG 2000",
    33004: "JPEG 2000",
    33005: "JPEG 2000",
    34712: "JPEG 2000",
    34887: "LERC",
    34892: "lossy JPEG of DNG",
    34925: "LZMA",
    34933: "PNG",
    50000: "Zstandard",
    50002: "JPEG XL",
    52546: "JPEG XL",
}
_MAX_PAGES = 100_000
_KINDS = {1: "unsigned integer", 2: "signed integer", 3: "float", 5: "complex", 6: "complex"}


@dataclass(frozen=True)
class TiffPage:
    """A directory of a TIFF.

    Args:
        place: its offset in the file.
        form: how its numbers are laid out.
        tags: its values by the number of the tag.
    """

    place: int
    form: Form
    tags: dict[int, tuple[int, ...]]

    def get(self, tag: int, default: int) -> int:
        """The first value of a tag."""
        return next(iter(self.tags.get(tag, ())), default)

    @property
    def bits(self) -> int:
        """Bits per sample."""
        return self.get(258, 1)

    @property
    def kind(self) -> int:
        """Of the numbers: see `UNSIGNED`, `SIGNED`, `FLOAT`."""
        found = self.get(339, 1)
        return UNSIGNED if found == 4 else found  # 4: not stated

    @property
    def samples(self) -> int:
        """Channels of all kinds."""
        return self.get(277, 1)

    @property
    def photometric(self) -> int:
        """What the samples mean."""
        return self.get(262, 1)

    @property
    def is_copy(self) -> bool:
        """Whether it is a smaller copy of another page, or a mask."""
        return bool(self.get(254, 0) & 0b101)

    @property
    def tile_size(self) -> tuple[int, int] | None:
        """Width and height of its tiles; None if it has none."""
        size = self.get(322, 0), self.get(323, 0)
        return size if min(size) > 0 else None

    @property
    def end(self) -> int:
        """The offset of the end of its strips, if they are few."""
        places = zip(self.tags.get(273, ()), self.tags.get(279, ()), strict=False)
        return max((place + size for place, size in places), default=0)

    @property
    def is_compressed(self) -> bool:
        """Whether the samples are compressed."""
        return self.get(259, 1) != 1

    @property
    def has_alpha(self) -> bool:
        """Whether the first extra channel is opacity."""
        return self.get(338, 0) in (1, 2)

    @property
    def extra_channels(self) -> int:
        """The number of channels besides color and alpha, if it is clear which these are."""
        colors = {RGB: 3, CMYK: 4}.get(self.photometric, self.samples)
        return self.samples - colors - self.has_alpha if self.samples > colors + 1 else 0

    @property
    def by_pillow(self) -> bool:
        """Whether Pillow decodes it and libvips does not."""
        if self.bits == 12:
            return self.samples == 1 and self.get(259, 1) == 1 and self.form.order == "<"
        plain_colors = self.get(259, 1) not in (6, 7) and self.photometric == YCBCR
        planes = self.get(284, 1) == 2 and self.photometric == RGB and self.samples == 3
        tiled_planes = planes and self.tile_size is not None
        known = self.get(259, 1) in _BY_PILLOW
        return self.bits == 8 and (known or plain_colors or tiled_planes)


def read_pages(path: PathLike) -> tuple[list[TiffPage], bool]:
    """The directories in order, as far as they can be read, and whether they are complete."""
    pages: list[TiffPage] = []
    try:
        with Path(path).open("rb") as file:
            form, at, _ = read_head(file)
            seen = set()
            while at and at not in seen and len(pages) < _MAX_PAGES:
                seen.add(at)
                page, at = _read_page(file, form, at)
                pages.append(page)
    except (struct.error, KeyError, ValueError, OverflowError, OSError):
        return pages, False
    return pages, True


_WANTED = (254, 258, 259, 262, 273, 277, 279, 284, 317, 322, 323, 330, 338, 339, 50706)


def _read_page(file: BinaryIO, form: Form, at: int) -> tuple[TiffPage, int]:
    entries, following = raw_entries(file, form, at)
    tags = {}
    for tag in _WANTED:
        if tag in entries and (values := _values(file, form, entries[tag])):
            tags[tag] = values
    return TiffPage(at, form, tags), following


def _values(file: BinaryIO, form: Form, entry: bytes) -> tuple[int, ...]:
    """The values of an entry with a few integers."""
    _, kind, count = form.entry.unpack_from(entry)
    letter = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}.get(kind)
    if letter is None or not 0 < count <= 32:
        return ()
    numbers = struct.Struct(f"{form.order}{count}{letter}")
    data = entry[-form.room :]
    if numbers.size > form.room:
        file.seek(form.offset.unpack(data)[0])
        data = file.read(numbers.size)
    return numbers.unpack(data[: numbers.size])


def check_raw(path: PathLike, pages: list[TiffPage]) -> None:
    """Raise an :class:`ImageError` if a TIFF is a raw file of a camera (DNG, NEF, ARW ...)."""
    if not pages:
        return
    first = pages[0]
    inside = [first, *_sub_pages(path, first)]
    raw = any(page.photometric in (_CFA, _LINEAR_RAW) for page in inside)
    preview = first.get(254, 0) & 1 and 330 in first.tags
    if raw or preview or 50706 in first.tags:
        raise ImageError(
            "is a camera's raw file (DNG, NEF, ARW or the like), which is not read: develop it in "
            "a raw converter and name the TIFF or JPEG that it exports"
        )


def _sub_pages(path: PathLike, page: TiffPage) -> list[TiffPage]:
    found = []
    try:
        with Path(path).open("rb") as file:
            for at in page.tags.get(330, ()):
                found.append(_read_page(file, page.form, at)[0])
    except (struct.error, KeyError, ValueError, OverflowError, OSError):
        pass
    return found


def check_samples(page: TiffPage) -> None:
    """Raise an :class:`ImageError` for kinds of samples that are not supported."""
    compression = page.get(259, 1)
    bits, kind = page.bits, page.kind
    if page.by_pillow:
        return
    if compression not in _DECODED:
        name = _COMPRESSIONS.get(compression, f"compression {compression}")
        raise ImageError(f"save it again with LZW or Deflate: TIFF with {name} is not supported")
    if page.photometric not in _PHOTOMETRICS:
        raise _unsupported(f"TIFF colors of kind {page.photometric}")
    if len(set(page.tags.get(258, ()))) > 1:
        raise _unsupported("TIFF channels of different depth")
    known = {UNSIGNED: (1, 2, 4, 8, 16, 32, 64), SIGNED: (8, 16, 32, 64), FLOAT: (16, 32, 64)}
    if bits not in known.get(kind, ()):
        raise _unsupported(f"{bits}-bit {_KINDS.get(kind, 'unknown')} samples")
    if page.photometric == WHITE_IS_ZERO and (kind != UNSIGNED or bits > 16):
        raise _unsupported(f"{bits}-bit {_KINDS[kind]} samples in which 0 is white")
    if bits == 64 and page.get(317, 1) != 1:
        raise ImageError("save it without a predictor: 64-bit samples with one are not supported")
    if page.photometric in (CIELAB, ICCLAB) and kind != FLOAT and bits not in (8, 16):
        raise _unsupported(f"{bits}-bit CIELAB samples")
    if page.photometric == CMYK and (kind == SIGNED or (kind == UNSIGNED and bits not in (8, 16))):
        raise _unsupported(f"{bits}-bit {_KINDS[kind]} CMYK samples")


def _unsupported(what: str) -> ImageError:
    return ImageError(f"convert it to 8 or 16 bits, or 32-bit float: {what} are not supported")

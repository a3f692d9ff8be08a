"""Notes on what a format cannot hold of a source.

Everything is either kept or noted. Metadata is known before the pixels; whether anything is
transparent, how many colors there are, and whether 16 bits are used is only known after them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np

from torch_sr.aliases import Pixels
from torch_sr.images.formats.png.chunks import TEXTS, keyword
from torch_sr.images.formats.png.stream import short_fraction
from torch_sr.images.formats.tiff.exif import has_maker_note
from torch_sr.images.image import Header, Metadata, is_wide, max_value, profile_fits
from torch_sr.images.writing.capabilities import Format
from torch_sr.images.writing.profiles import means_srgb

_SRGB_GAMMA = range(45_000, 46_001)
_SRGB_PRIMARIES = (31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000)
_MAX_NAMES = 5


@dataclass
class Seen:
    """Properties of the pixels that some formats cannot hold.

    Attributes:
        transparent: something is not opaque.
        partial: something is neither opaque nor transparent.
        deep: the pixels need more than 8 bits.
        colors: the different colors, up to one more than GIF has.
    """

    transparent: bool = False
    partial: bool = False
    deep: bool = False
    colors: set[int] = field(default_factory=set)

    def add(self, rows: Pixels, fitted: Pixels, header: Header, writer: Format) -> None:
        """Examine rows ``(h, W, layers)``, given before and after the conversion to the format."""
        if header.alpha and not self.partial and not (writer.alpha and writer.partial):
            alpha, most = rows[..., -1], max_value(rows.dtype)
            self.transparent = self.transparent or bool((alpha < most).any())
            self.partial = bool(((alpha > 0) & (alpha < most)).any())
        if header.depth == 16 and writer.deepest < 16 and not self.deep:
            self.deep = bool((rows % 257 != 0).any())
        if writer.colors and len(self.colors) <= writer.colors:
            self.colors.update(_colors(fitted))


def lost(header: Header, metadata: Metadata, writer: Format, seen: Seen) -> list[str]:
    """Notes on what a file of this format cannot keep, one sentence each.

    Args:
        header: of the rows before their conversion to the format.
        metadata: of the source.
        writer: the format.
        seen: what was seen in the pixels.
    """
    return [
        *_frames(header, metadata, writer),
        *_pixels(header, metadata, writer, seen),
        *_colors_meant(header, metadata, writer),
        *_blocks(metadata, writer),
    ]


def _frames(header: Header, metadata: Metadata, writer: Format) -> Iterator[str]:
    name = writer.name
    if metadata.left_out:
        was = "was" if metadata.left_out.startswith("1 ") else "were"
        what = metadata.left_out.split()[-1].removesuffix("s")
        if what == "image" or writer.pages or (writer.frames and what == "frame"):
            yield f"the first {what} was read: {metadata.left_out} {was} left out"
        else:
            held = "is written with" if name == "AVIF" else "holds"
            yield f"{name} {held} one {what}: the other {metadata.left_out} {was} left out"
    if header.pages < 2:
        return
    if metadata.delays is None:
        if not writer.timed:
            return
        yield f"{name} holds no pages: they became frames of an animation, 0.1 seconds each"
    elif not writer.timed:
        yield f"{name} holds pages without times: those of the frames, and the loops, were left out"
    elif writer.step == 0:
        seconds = [Fraction(delay) / 1000 for delay in metadata.delays]
        if any(short_fraction(time) != time for time in seconds):
            yield f"{name} cannot hold times of this length: they were rounded"
    elif any(delay % writer.step for delay in metadata.delays):
        yield f"{name} holds times in steps of {writer.step} ms: those of the frames were rounded"
    if writer.timed and any(delay > writer.longest for delay in metadata.delays or ()):
        yield f"{name} shows a frame for {writer.longest / 1000:g} seconds at most: times were cut"


def _pixels(header: Header, metadata: Metadata, writer: Format, seen: Seen) -> Iterator[str]:
    name = writer.name
    if not writer.alpha and seen.transparent:
        yield f"{name} holds no transparency: it was flattened onto white"
    elif not writer.partial and seen.partial:
        yield f"{name} holds no partial transparency: pixels became opaque or transparent"
    if writer.colors and len(seen.colors) > writer.colors - 1:
        yield f"{name} holds {writer.colors} colors: the others were approximated"
    elif header.depth == 32 and writer.deepest < 32 and metadata.values is None:
        yield f"{name} holds {_bits(writer)} bits per sample: floats were rounded"
    elif (
        header.depth == 16
        and (metadata.bits or 16) > _bits(writer)
        and (seen.deep or writer.deepest == 16)
    ):
        yield f"{name} holds {_bits(writer)} bits per sample: {metadata.bits or 16} were rounded"


def _colors_meant(header: Header, metadata: Metadata, writer: Format) -> Iterator[str]:
    name = writer.name
    icc = bool(metadata.icc and profile_fits(metadata.icc, header.channels))
    if icc and header.channels == 1 and not writer.gray:
        yield f"{name} holds no gray: the gray ICC profile was applied, the result is sRGB"
    elif icc and "ICC profile" not in writer.holds and not means_srgb(metadata.icc or b""):
        yield f"{name} holds no ICC profile: the colors were converted to sRGB"
    if icc:
        return
    if metadata.cicp and is_wide(metadata.cicp) and "CICP" not in writer.holds:
        yield (
            f"{name} cannot state the colors' primaries {metadata.cicp[0]} and transfer "
            f"{metadata.cicp[1]} (ITU-T H.273): they will look different"
        )
    elif "PNG" not in writer.holds and not metadata.cicp and _unusual(metadata):
        yield f"{name} cannot state PNG's gamma and primaries: colors may look different"


def _blocks(metadata: Metadata, writer: Format) -> Iterator[str]:
    found: dict[str, Any] = {
        "EXIF": metadata.exif,
        "XMP": metadata.xmp,
        "IPTC": metadata.iptc,
        "DPI": metadata.dpi,
        "the comment": metadata.comment,
    }
    held = {name for name in found if name.removeprefix("the ") in writer.holds}
    names = [name for name, value in found.items() if value and name not in held]
    if "PNG" not in writer.holds:
        names += [what for what in _chunk_names(metadata) if what]
    if names:
        yield f"{writer.name} cannot hold {_listed(names)}: left out"
    large = [name for name in held if isinstance(found[name], bytes)]
    large = [name for name in large if len(found[name]) > writer.most]
    if large:
        yield f"{writer.name} holds {writer.most} bytes at most of {_listed(large)}: left out"
    if writer.name == "TIFF" and metadata.exif and has_maker_note(metadata.exif):
        yield "TIFF cannot hold the maker note of EXIF: left out"


def _chunk_names(metadata: Metadata) -> Iterator[str]:
    texts = [keyword(chunk) for chunk in metadata.chunks if chunk[0] in TEXTS]
    if texts:
        yield f"text ({_listed(list(dict.fromkeys(texts)), 'and')})"
    kinds = {kind for kind, _ in metadata.chunks}
    yield "the time of the last change" if b"tIME" in kinds else ""
    yield "the background color" if b"bKGD" in kinds else ""
    known = {*TEXTS, b"tIME", b"bKGD", b"gAMA", b"cHRM", b"sRGB"}
    for kind in sorted(kinds - known):
        yield f"PNG chunk {kind.decode('latin-1')}"


def _unusual(metadata: Metadata) -> bool:
    """Whether gamma and primaries of a PNG are other than sRGB's."""
    chunks = dict(metadata.chunks)
    if b"sRGB" in chunks:
        return False
    gamma, primaries = chunks.get(b"gAMA"), chunks.get(b"cHRM")
    if gamma and int.from_bytes(gamma, "big") not in _SRGB_GAMMA:
        return True
    if not primaries or len(primaries) != 32:
        return False
    found = np.frombuffer(primaries, ">u4").astype(int)
    return bool(np.abs(found - _SRGB_PRIMARIES).max() > 100)


def _bits(writer: Format) -> int:
    return writer.bits or writer.deepest


def _colors(rows: Pixels) -> list[int]:
    """Up to 300 different colors as numbers; all fully transparent pixels count as one."""
    red, green, blue = (rows[..., i].astype(np.uint32) for i in range(3))
    numbers = red << 16 | green << 8 | blue
    if rows.shape[2] == 4:
        numbers = np.where(rows[..., 3] == 0, np.uint32(1 << 24), numbers)
    found: list[int] = np.unique(numbers)[:300].tolist()
    return found


def _listed(names: list[str], last: str = "and") -> str:
    shown = names[:_MAX_NAMES]
    if len(names) > _MAX_NAMES:
        return ", ".join(shown) + f" {last} {len(names) - _MAX_NAMES} more"
    return f" {last} ".join(filter(None, [", ".join(shown[:-1]), shown[-1]]))

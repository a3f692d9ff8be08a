"""PNG files chunk by chunk: text, colour and time that libvips neither reads nor writes, and APNG.

Chunks that stay true for a picture of another size are copied byte for byte: the known ones below,
and unknown ones that say of themselves that they are safe to copy (PNG, third edition, 5.4). Those
that libvips reads and writes itself (profile, EXIF, XMP, transparency) are left to it.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO, TypeAlias

from torch_sr.images.naming import PathLike

Chunk: TypeAlias = tuple[bytes, bytes]
"""The four letters of a chunk, and its data."""

SIGNATURE = b"\x89PNG\r\n\x1a\n"
TEXTS = (b"tEXt", b"zTXt", b"iTXt")
COLORS = (b"cICP", b"gAMA", b"cHRM", b"sRGB", b"mDCV", b"cLLI")
_COPIED = {*TEXTS, *COLORS, b"tIME", b"bKGD"}
_ELSEWHERE = {  # read by libvips, of the animation, or about samples that are no more
    *(b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"iCCP", b"eXIf", b"pHYs"),
    *(b"acTL", b"fcTL", b"fdAT", b"sBIT", b"hIST", b"sPLT"),
}
_MOST_BYTES = 64 << 20  # of copied chunks
_XMP = b"XML:com.adobe.xmp"
_RAW_KINDS = {  # how ImageMagick stores what PNG had no chunk for
    f"Raw profile type {name}": name for name in ("exif", "APP1", "xmp", "iptc")
}


def walk(file: BinaryIO) -> Iterator[tuple[bytes, int, int]]:
    """Kind, position and length of the data of each chunk, up to the end or the first damage."""
    place = len(SIGNATURE)
    file.seek(0)
    if file.read(place) != SIGNATURE:
        return
    while True:
        file.seek(place)
        head = file.read(8)
        if len(head) < 8:
            return
        length, kind = struct.unpack(">I4s", head)
        yield kind, place + 8, length
        if kind == b"IEND":
            return
        place += 12 + length


def read_chunks(path: PathLike) -> tuple[list[Chunk], list[str]]:
    """The chunks of a PNG file that a larger picture can keep, and the names of those it cannot.

    Among the latter is ``iCCP``, which libvips may or may not accept.

    Raises:
        OSError: the file cannot be read.
    """
    kept: list[Chunk] = []
    others: list[str] = []
    total, header, palette = 0, b"", b""
    with Path(path).open("rb") as file:
        for kind, place, length in walk(file):
            safe = bool(kind[0] & kind[3] & 32)  # not critical, safe to copy
            if kind not in _COPIED and (kind in _ELSEWHERE or not safe):
                if kind in (b"IHDR", b"PLTE"):
                    file.seek(place)
                    data = file.read(min(length, 768))
                    header, palette = (data, palette) if kind == b"IHDR" else (header, data)
                elif kind not in _ELSEWHERE or kind == b"iCCP":
                    others.append(kind.decode("latin-1"))
                continue
            total += length
            if total > _MOST_BYTES:
                others.append(kind.decode("latin-1"))
                continue
            file.seek(place)
            data = file.read(length)
            if len(data) == length and not (kind == b"iTXt" and data.startswith(_XMP + b"\0")):
                if kind == b"bKGD":
                    data = _background(data, header, palette)
                if data:
                    kept.append((kind, data))
    return kept, list(dict.fromkeys(others))


def _background(data: bytes, header: bytes, palette: bytes) -> bytes:
    """The background as 8 or 16 bits of gray or RGB, which is what the pixels become."""
    depth, color_type = header[8], header[9]
    if color_type == 3 and data:
        rgb = palette[3 * data[0] : 3 * data[0] + 3]
        return struct.pack(">3H", *rgb) if len(rgb) == 3 else b""
    if color_type == 0 and depth < 8 and len(data) == 2:
        (value,) = struct.unpack(">H", data)
        return struct.pack(">H", min(255, value * 255 // ((1 << depth) - 1)))
    return data


def keyword(chunk: Chunk) -> str:
    r"""What a text is called, such as Title or parameters.

    >>> keyword((b"tEXt", b"Title\0A tree"))
    'Title'
    """
    return chunk[1].split(b"\0", 1)[0].decode("latin-1")


def raw_profiles(chunks: Iterable[Chunk]) -> tuple[list[Chunk], dict[str, bytes]]:
    """Take EXIF, XMP and IPTC that ImageMagick stores as text out of the texts, by name."""
    rest: list[Chunk] = []
    found: dict[str, bytes] = {}
    for chunk in chunks:
        kind = _RAW_KINDS.get(keyword(chunk)) if chunk[0] in TEXTS else None
        blob = _raw_profile(chunk) if kind else None
        if kind and blob:
            found[kind if kind != "APP1" else "exif" if blob[:4] == b"Exif" else "xmp"] = blob
        else:
            rest.append(chunk)
    return rest, found


def _raw_profile(chunk: Chunk) -> bytes | None:
    """Newline, name, length, and the bytes in hexadecimal."""
    kind, data = chunk
    try:
        text = data.split(b"\0", 1)[1]
        if kind == b"zTXt":
            text = zlib.decompressobj().decompress(text[1:], _MOST_BYTES)
        parts = text.split(None, 2)
        return bytes.fromhex(parts[2].decode("ascii"))
    except (zlib.error, ValueError, IndexError):
        return None


def pack(kind: bytes, data: bytes) -> bytes:
    """A chunk as it stands in a file."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def text_chunk(name: str, text: str) -> Chunk:
    """A text of any language: Latin-1 where that suffices, else UTF-8."""
    try:
        return b"tEXt", name.encode() + b"\0" + text.encode("latin-1")
    except UnicodeEncodeError:
        return b"iTXt", name.encode() + b"\0\0\0\0\0" + text.encode()


def xmp_chunk(xmp: bytes) -> Chunk:
    """An XMP packet, uncompressed as its specification asks for (ISO 16684-3)."""
    return b"iTXt", _XMP + b"\0\0\0\0\0" + xmp


def physical_chunk(x: float, y: float) -> Chunk:
    """So many pixels per inch across and down, which PNG states per metre."""
    most = (1 << 31) - 1
    return b"pHYs", struct.pack(">IIB", *(min(most, round(n / 0.0254)) for n in (x, y)), 1)


class PngStream:
    """Turns the PNGs of single frames, one after the other, into one file.

    Args:
        chunks: what to add before the pixels.
        frames: how many there are; more than one make an animation (APNG).
        delays: milliseconds that each frame is shown, by default 100.
        plays: how often; 0 for ever.
    """

    def __init__(
        self,
        chunks: Sequence[Chunk],
        frames: int = 1,
        delays: Sequence[int | Fraction] | None = None,
        plays: int = 0,
    ) -> None:
        self._chunks = chunks
        self._frames = frames
        self._delays = delays or [100] * frames
        self._plays = plays
        self._sequence = 0
        self._frame = 0
        self._size = b""
        self._corner = (0, 0)
        self._controlled = False
        self._rest = b""
        self._signed = False

    def place(self, left: int, top: int) -> None:
        """Say where the next frame, which may be a part of the picture, lies."""
        self._corner = (left, top)

    def feed(self, data: bytes) -> bytes:
        """Take the next bytes of a frame's PNG and give those that the file goes on with."""
        self._rest += data
        out = []
        if not self._signed:
            if len(self._rest) < len(SIGNATURE):
                return b""
            self._rest = self._rest[len(SIGNATURE) :]
            self._signed = True
            out += [SIGNATURE] if self._frame == 0 else []
        place = 0
        while len(self._rest) - place >= 12:
            length, kind = struct.unpack_from(">I4s", self._rest, place)
            if len(self._rest) - place < 12 + length:
                break
            out += self._take(kind, self._rest[place + 8 : place + 8 + length])
            place += 12 + length
        self._rest = self._rest[place:]
        return b"".join(out)

    def _take(self, kind: bytes, data: bytes) -> Iterator[bytes]:
        first = self._frame == 0
        if kind == b"IHDR":
            self._size = data[:8]
            yield from self._begin(data) if first else ()
        elif kind == b"IDAT":
            if not self._controlled and self._frames > 1:
                yield pack(b"fcTL", self._control())
                self._controlled = True
            yield pack(kind, data) if first else pack(b"fdAT", self._number() + data)
        elif kind == b"IEND":
            self._frame += 1
            self._signed = self._controlled = False
            if self._frame == self._frames:
                yield pack(kind, data)
        elif first and kind != b"pHYs":  # libvips states a resolution even where none is known
            yield pack(kind, data)

    def _begin(self, header: bytes) -> Iterator[bytes]:
        yield pack(b"IHDR", header)
        if self._frames > 1:
            yield pack(b"acTL", struct.pack(">II", self._frames, self._plays))
        yield from (pack(*chunk) for chunk in self._chunks)

    def _number(self) -> bytes:
        self._sequence += 1
        return struct.pack(">I", self._sequence - 1)

    def _control(self) -> bytes:
        """A frame that replaces what was shown where it lies."""
        seconds = short_fraction(Fraction(self._delays[self._frame]) / 1000)
        times = struct.pack(">HH", seconds.numerator, seconds.denominator)
        return self._number() + self._size + struct.pack(">II", *self._corner) + times + bytes(2)


def short_fraction(seconds: Fraction) -> Fraction:
    """The nearest fraction of two 16-bit numbers, in which APNG states times.

    >>> short_fraction(Fraction(1, 30)), short_fraction(Fraction(100000))
    (Fraction(1, 30), Fraction(65535, 1))
    """
    if seconds >= 65535:
        return Fraction(65535)
    most = 65535
    while (short := seconds.limit_denominator(most)).numerator > 65535:
        most //= 2
    return short

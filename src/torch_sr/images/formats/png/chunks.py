"""PNG chunks that libvips neither reads nor writes: text, color, time.

Chunks that do not depend on the size are copied byte for byte: the known ones below, and unknown
ones that are marked as safe to copy (PNG, third edition, 5.4). Chunks that libvips reads and writes
itself (profile, EXIF, XMP, transparency) are left to it.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, TypeAlias

from torch_sr.aliases import PathLike

Chunk: TypeAlias = tuple[bytes, bytes]
"""The four letters of a chunk, and its data."""

SIGNATURE = b"\x89PNG\r\n\x1a\n"
TEXTS = (b"tEXt", b"zTXt", b"iTXt")
COLORS = (b"cICP", b"gAMA", b"cHRM", b"sRGB", b"mDCV", b"cLLI")
_COPIED = {*TEXTS, *COLORS, b"tIME", b"bKGD"}
_ELSEWHERE = {  # read by libvips, part of the animation, or about the original samples
    *(b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"iCCP", b"eXIf", b"pHYs"),
    *(b"acTL", b"fcTL", b"fdAT", b"sBIT", b"hIST", b"sPLT"),
}
_MAX_BYTES = 64 << 20  # of copied chunks
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
    """The chunks of a PNG file that a result can keep, and the names of those it cannot.

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
            if total > _MAX_BYTES:
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
    """The background as 8 or 16 bits of gray or RGB, like the converted pixels."""
    depth, color_type = header[8], header[9]
    if color_type == 3 and data:
        rgb = palette[3 * data[0] : 3 * data[0] + 3]
        return struct.pack(">3H", *rgb) if len(rgb) == 3 else b""
    if color_type == 0 and depth < 8 and len(data) == 2:
        (value,) = struct.unpack(">H", data)
        return struct.pack(">H", min(255, value * 255 // ((1 << depth) - 1)))
    return data


def keyword(chunk: Chunk) -> str:
    r"""The keyword of a text, such as Title or parameters.

    >>> keyword((b"tEXt", b"Title\0A tree"))
    'Title'
    """
    return chunk[1].split(b"\0", 1)[0].decode("latin-1")


def raw_profiles(chunks: Iterable[Chunk]) -> tuple[list[Chunk], dict[str, bytes]]:
    """Separate EXIF, XMP and IPTC, which ImageMagick stores as text, from other texts."""
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
            text = zlib.decompressobj().decompress(text[1:], _MAX_BYTES)
        parts = text.split(None, 2)
        return bytes.fromhex(parts[2].decode("ascii"))
    except (zlib.error, ValueError, IndexError):
        return None


def pack(kind: bytes, data: bytes) -> bytes:
    """The bytes of a chunk."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def text_chunk(name: str, text: str) -> Chunk:
    """A text chunk: Latin-1 if possible, otherwise UTF-8."""
    try:
        return b"tEXt", name.encode() + b"\0" + text.encode("latin-1")
    except UnicodeEncodeError:
        return b"iTXt", name.encode() + b"\0\0\0\0\0" + text.encode()


def xmp_chunk(xmp: bytes) -> Chunk:
    """An XMP packet, uncompressed, as its specification requires (ISO 16684-3)."""
    return b"iTXt", _XMP + b"\0\0\0\0\0" + xmp


def physical_chunk(x: float, y: float) -> Chunk:
    """A chunk for a resolution in pixels per inch, which PNG states per meter."""
    most = (1 << 31) - 1
    return b"pHYs", struct.pack(">IIB", *(min(most, round(n / 0.0254)) for n in (x, y)), 1)

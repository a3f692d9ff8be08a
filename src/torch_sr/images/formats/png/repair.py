"""Rebuild a damaged PNG from the rows that can still be decompressed.

PNG specification, third edition, sections 5, 8 and 9.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from torch_sr.aliases import PathLike
from torch_sr.images.formats.pillow import check_size

_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # PNG's color types
_ADAM7 = (  # of each pass: first column and row, and their steps
    *((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2)),
    (0, 1, 1, 2),
)


def repaired_png(path: PathLike, start: int, max_pixels: int | None) -> tuple[bytes, int | None]:
    """A complete PNG, and the number of rows that were decoded; None if it is interlaced.

    Args:
        path: the file.
        start: bytes before the image.
        max_pixels: refuse more pixels than this.

    Raises:
        ImageError: too large.
        ValueError: nothing of it can be read.
    """
    chunks = list(_png_chunks(path, start))
    if not chunks or chunks[0][0] != b"IHDR" or len(chunks[0][1]) != 13:
        raise ValueError("its header is missing")
    width, height, bits, color, _, _, interlace = struct.unpack(">IIBBBBB", chunks[0][1])
    if color not in _CHANNELS or min(width, height) < 1:
        raise ValueError("its header is invalid")
    check_size(width, height, max_pixels)
    passes = _ADAM7 if interlace else ((0, 0, 1, 1),)
    bits *= _CHANNELS[color]
    rows = [  # bytes in a row and number of rows, of each pass
        ((-((x - width) // across) * bits + 7) // 8, -((y - height) // down))
        for x, y, across, down in passes
        if width > x and height > y
    ]
    stream = zlib.compressobj(1)
    packed, found = [], 0
    for part in _inflated(data for name, data in chunks if name == b"IDAT"):
        found += len(part)
        packed.append(stream.compress(part))
    if not found:
        raise ValueError("nothing of it can be read")
    for part in _filler(rows, found, b"\0" if color == 3 else b"\x80"):
        packed.append(stream.compress(part))
    packed.append(stream.flush())
    kept = [chunk for chunk in chunks if chunk[0] not in (b"IDAT", b"IEND")]
    body = b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in [*kept, (b"IDAT", b"".join(packed)), (b"IEND", b"")]
    )
    return b"\x89PNG\r\n\x1a\n" + body, None if interlace else min(
        height, found // (1 + rows[0][0])
    )


def _png_chunks(path: PathLike, start: int) -> Iterator[tuple[bytes, bytes]]:
    """Chunks with a correct checksum, and image data with any."""
    with Path(path).open("rb") as file:
        file.seek(start + 8)
        while len(head := file.read(8)) == 8:
            name = head[4:]
            data = file.read(int.from_bytes(head[:4], "big"))
            intact = file.read(4) == zlib.crc32(name + data).to_bytes(4, "big")
            if intact or name in (b"IHDR", b"IDAT"):
                yield name, data
            if name == b"IEND" or not name.isalpha():
                return


def _inflated(parts: Iterator[bytes]) -> Iterator[bytes]:
    """Decompress a stream up to its first error."""
    inflate = zlib.decompressobj()
    for part in parts:
        for at in range(0, len(part), 4096):
            before, piece = inflate.copy(), part[at : at + 4096]
            try:
                yield inflate.decompress(piece)
            except zlib.error:
                yield from _up_to_error(before, piece)
                return


def _up_to_error(inflate: Any, piece: bytes) -> Iterator[bytes]:
    for byte in piece:
        try:
            yield inflate.decompress(bytes([byte]))
        except zlib.error:
            return


def _filler(rows: list[tuple[int, int]], found: int, level: bytes) -> Iterator[bytes]:
    """The missing bytes, as gray."""
    for size, number in rows:
        for _ in range(number):
            row = b"\0" + level * size
            if found < len(row):
                yield row[found:]
            found = max(0, found - len(row))

"""Insert metadata that libvips cannot write into the files that it writes.

libvips writes 72 dpi if no resolution is known, creates an EXIF block if there is none, and
rewrites an existing one. To avoid both, metadata is inserted into a file while its
bytes pass (PNG, JPEG, GIF), or into the encoded file, which the encoder holds in memory anyway
(WebP, AVIF). TIFF files are completed on disk.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Callable, Sequence
from typing import BinaryIO

from torch_sr.images.vips import libvips

_PHOTOSHOP = b"Photoshop 3.0\0"


class Passage:
    """A target for libvips, whose bytes pass through `edit` into a file.

    Attributes:
        error: the Python error, because libvips only reports that there was one.
    """

    def __init__(self, file: BinaryIO, edit: Callable[[bytes], bytes]) -> None:
        self.error: BaseException | None = None
        self._file = file
        self._edit = edit
        self.target = libvips().TargetCustom()
        self.target.on_write(self._write)

    def _write(self, data: bytes) -> int:
        data = bytes(data)
        try:
            self._file.write(self._edit(data))
        except BaseException as error:  # no exception may leave a callback of C
            self.error = error
            return -1
        return len(data)


class Insertion:
    """Replaces the first bytes of a file when they are complete, and passes on the rest.

    Args:
        length: how many they are, or None as long as more bytes are needed to know.
        change: returns their replacement.
    """

    def __init__(
        self, length: Callable[[bytes], int | None], change: Callable[[bytes], bytes]
    ) -> None:
        self._length = length
        self._change = change
        self._head: bytes | None = b""

    def feed(self, data: bytes) -> bytes:
        """Take the next bytes; return the next bytes of the file."""
        if self._head is None:
            return data
        self._head += data
        length = self._length(self._head)
        if length is None or len(self._head) < length:
            return b""
        head, self._head = self._head, None
        return self._change(head[:length]) + head[length:]


def jpeg_insertion(
    exif: bytes | None,
    iptc: bytes | None,
    comment: bytes | None,
    dpi: tuple[float, float] | None,
) -> Insertion:
    """Insert a JFIF segment with the resolution, if any, then EXIF, IPTC and a comment."""
    blocks = [
        (b"\xff\xe1", exif and with_prefix(exif)),
        (b"\xff\xed", iptc and _PHOTOSHOP + _resource(to_iim(iptc))),
        (b"\xff\xfe", comment),
    ]
    added = b"".join(
        marker + struct.pack(">H", len(block) + 2) + block for marker, block in blocks if block
    )
    x, y = (max(1, min(65535, round(value))) for value in dpi or (1, 1))

    jfif = struct.pack(">HH5sHBHHBB", 0xFFE0, 16, b"JFIF", 0x0102, 1 if dpi else 0, x, y, 0, 0)

    def length(head: bytes) -> int | None:
        return None if len(head) < 4 else 20 if head[2:4] == b"\xff\xe0" else 2

    return Insertion(length, lambda head: head[:2] + jfif + added)


def gif_insertion(comment: bytes | None, xmp: bytes | None) -> Insertion:
    """A comment and XMP (ISO 16684-3) after the header and its color table."""
    parts = [comment[i : i + 255] for i in range(0, len(comment), 255)] if comment else []
    block = b"".join(bytes([len(part)]) + part for part in parts)
    added = b"\x21\xfe" + block + b"\0" if block else b""
    if xmp:  # not in blocks; a reader finds the end from any byte that it takes for a length
        added += b"\x21\xff\x0bXMP DataXMP" + xmp + b"\1" + bytes(range(255, -1, -1)) + b"\0"

    def length(head: bytes) -> int | None:
        if len(head) < 13:
            return None
        return 13 + (3 << ((head[10] & 7) + 1) if head[10] & 0x80 else 0)

    return Insertion(length, lambda head: head + added)


def with_prefix(exif: bytes) -> bytes:
    """The block with the prefix that JPEG and libvips need."""
    return exif if exif.startswith(b"Exif\0\0") else b"Exif\0\0" + exif


def placeholder(size: int) -> bytes:
    """An EXIF block that libvips turns into one of at least `size` bytes."""
    marker = b"torch-sr placeholder".ljust(size, b"\xa5")
    first = struct.pack("<2sHIH", b"II", 42, 8, 1)
    first += struct.pack("<HHII", 0x8769, 4, 1, 26) + bytes(4)
    inner = struct.pack("<HHHIII", 1, 0x9286, 7, len(marker), 44, 0)
    return b"Exif\0\0" + first + inner + marker


def webp_with_exif(data: bytes, exif: bytes) -> bytes:
    """Replace the placeholder in a WebP by EXIF (RIFF container)."""
    parts, place = [data[8:12]], 12
    exif = exif.removeprefix(b"Exif\0\0")
    while place + 8 <= len(data):
        kind, length = struct.unpack_from("<4sI", data, place)
        content = data[place + 8 : place + 8 + length]
        content = exif if kind == b"EXIF" else content
        parts.append(struct.pack("<4sI", kind, len(content)) + content + bytes(len(content) % 2))
        place += 8 + length + length % 2
    body = b"".join(parts)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def webp_with_times(data: bytes, delays: Sequence[int]) -> bytes:
    """Set the milliseconds per frame of an animated WebP.

    libvips writes 100 ms instead of 10 ms or less, and may merge equal frames. In the
    chunk of a frame, its duration follows four fields of 3 bytes (RIFF container, ANMF).
    """
    changed, place = bytearray(data), 12
    waiting = deque((100 if delay <= 10 else delay, delay) for delay in delays)
    while place + 8 <= len(data):
        kind, length = struct.unpack_from("<4sI", data, place)
        if kind == b"ANMF":
            at = place + 8 + 12
            left, wanted = int.from_bytes(data[at : at + 3], "little"), 0
            while left > 0 and waiting:
                written, delay = waiting.popleft()
                left, wanted = left - written, wanted + delay
            if left:  # not the frames that were expected
                return data
            changed[at : at + 3] = wanted.to_bytes(3, "little")
        place += 8 + length + length % 2
    return bytes(changed)


def avif_with_exif(data: bytes, exif: bytes) -> bytes:
    """Replace the placeholder in an AVIF by EXIF and zeros."""
    marker = data.find(b"torch-sr placeholder")
    start = data.rfind(b"Exif\0\0", 0, marker) + 6
    end = marker + 20
    while data[end : end + 1] == b"\xa5":
        end += 1
    exif = exif.removeprefix(b"Exif\0\0")
    if marker < 0 or start < 6 or len(exif) > end - start:
        return data
    return data[:start] + exif.ljust(end - start, b"\0") + data[end:]


def to_iim(block: bytes) -> bytes:
    """The records of IPTC, without the wrapper of Photoshop's resource 1028.

    >>> to_iim(_PHOTOSHOP + _resource(b"records"))
    b'records'
    """
    block = block.removeprefix(_PHOTOSHOP)
    while block.startswith(b"8BIM") and len(block) >= 12:
        (number,) = struct.unpack_from(">H", block, 4)
        name = 1 + block[6]
        place = 6 + name + name % 2
        (length,) = struct.unpack_from(">I", block.ljust(place + 4, b"\0"), place)
        if number == 0x0404:
            return block[place + 4 : place + 4 + length]
        block = block[place + 4 + length + length % 2 :]
    return block


def _resource(records: bytes) -> bytes:
    return b"8BIM\x04\x04\0\0" + struct.pack(">I", len(records)) + records + bytes(len(records) % 2)

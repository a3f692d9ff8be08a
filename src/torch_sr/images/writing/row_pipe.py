"""Stream rows into a lazy libvips image, never holding all of it.

libvips pulls pixels; a network pushes them. A pipe connects the two. It carries the only
uncompressed stream that libvips reads from a pipe: a PNG with stored deflate blocks (RFC 1950,
1951; PNG, second edition). Packing and unpacking 250 megapixels takes a second.

PNG has no floats: they are sent as pairs of 16-bit halves, one color plane next to the other.
"""

from __future__ import annotations

import os
import struct
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import numpy as np

from torch_sr.aliases import Pixels
from torch_sr.images.image import Header
from torch_sr.images.vips import libvips

_COLOR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}  # layers -> PNG's number for them
_STORED = 65_535  # bytes in a stored block at most
_BLOCKS = 64  # of these in one chunk
_PIPE_BYTES = 1 << 20
_AT_ONCE = 1 << 24  # bytes of rows that are sent, and copied, at a time


class RowPipe:
    """Pass rows to a function that needs a libvips image and runs in its own thread.

    Args:
        header: of the rows; all pages follow one another.
        consume: called with the image in the other thread; it must read from top to bottom.
    """

    def __init__(self, header: Header, consume: Callable[[Any], None]) -> None:
        self._header = header
        self._error: BaseException | None = None
        self._failed = threading.Event()
        read_end, write_end = os.pipe()
        self._stream = os.fdopen(write_end, "wb", buffering=0)
        self._adler = 1
        self._thread = threading.Thread(
            target=self._consume, args=(read_end, consume), name="image writer", daemon=True
        )
        self._thread.start()
        for part in self._head():
            self._put(part)

    def write(self, rows: Pixels) -> None:
        """Send ``(h, W, layers)`` of the header's type; raise the consumer's error, if any."""
        step = max(1, _AT_ONCE // self._bytes_per_row())
        for top in range(0, len(rows), step):
            self._send(rows[top : top + step])

    def _send(self, rows: Pixels) -> None:
        raw = np.zeros((len(rows), 1 + self._bytes_per_row()), dtype=np.uint8)
        raw[:, 1:] = self._to_samples(rows).view(np.uint8).reshape(len(rows), -1)
        data = raw.reshape(-1).data
        self._adler = zlib.adler32(data, self._adler)
        for start in range(0, len(data), _STORED * _BLOCKS):
            blocks = data[start : start + _STORED * _BLOCKS]
            for part in _chunk(b"IDAT", *_stored(blocks)):
                self._put(part)

    def finish(self) -> None:
        """Send the end and wait for the consumer; raise its error, if any."""
        end = struct.pack("<BHH", 1, 0, 0xFFFF) + struct.pack(">I", self._adler)  # an empty block
        for part in (*_chunk(b"IDAT", end), *_chunk(b"IEND")):
            self._put(part)
        self.close()
        if self._error is not None:
            raise self._error

    def close(self) -> None:
        """Close the pipe; if the image is incomplete, the consumer fails."""
        with suppress(OSError):
            self._stream.close()
        self._thread.join()

    def _consume(self, read_end: int, consume: Callable[[Any], None]) -> None:
        try:
            consume(self._open(read_end))
        except BaseException as error:  # raised again in the writing thread
            self._error = error
            self._failed.set()
            while os.read(read_end, _PIPE_BYTES):  # so that the writer does not block
                pass
        finally:
            os.close(read_end)

    def _open(self, read_end: int) -> Any:
        """Open the libvips image; blocks until the header has been sent."""
        vips = libvips()
        source = vips.Source.new_from_descriptor(read_end)
        image = vips.Image.pngload_source(
            source, access="sequential", fail_on="error", unlimited=True
        )
        if self._header.depth != 32:
            return image
        width = self._header.width
        planes = [
            image.crop(i * width, 0, width, image.height).copy(format="float", bands=1)
            for i in range(self._header.layers)
        ]
        return planes[0].bandjoin(planes[1:]) if len(planes) > 1 else planes[0]

    def _to_samples(self, rows: Pixels) -> Pixels:
        """Arrange rows as the PNG has them: big-endian, floats as planes of two halves."""
        if self._header.depth == 32:
            planes = np.ascontiguousarray(rows.transpose(0, 2, 1), dtype=np.float32)
            rows = planes.view(np.uint16)
        return np.ascontiguousarray(rows, dtype=">u2" if self._header.depth > 8 else np.uint8)

    def _bytes_per_row(self) -> int:
        return self._header.width * self._header.layers * self._header.depth // 8

    def _head(self) -> Iterator[bytes | memoryview]:
        header = self._header
        planes = header.layers if header.depth == 32 else 1
        kind = _COLOR_TYPES[2 if header.depth == 32 else header.layers]
        depth = min(header.depth, 16)
        size = (header.width * planes, header.height * header.pages)
        yield b"\x89PNG\r\n\x1a\n"
        yield from _chunk(b"IHDR", struct.pack(">IIBBBBB", *size, depth, kind, 0, 0, 0))
        yield from _chunk(b"IDAT", b"\x78\x01")  # the head of the deflate stream

    def _put(self, part: bytes | memoryview) -> None:
        rest = memoryview(part)
        while len(rest):
            if self._failed.is_set() and self._error is not None:
                raise self._error
            try:
                rest = rest[self._stream.write(rest) :]
            except BrokenPipeError:  # the reader is done; it need not read a PNG's last bytes
                return


def _chunk(kind: bytes, *parts: bytes | memoryview) -> Iterator[bytes | memoryview]:
    crc = zlib.crc32(kind)
    for part in parts:
        crc = zlib.crc32(part, crc)
    yield struct.pack(">I", sum(map(len, parts))) + kind
    yield from parts
    yield struct.pack(">I", crc)


def _stored(data: memoryview) -> Iterator[bytes | memoryview]:
    for start in range(0, len(data), _STORED):
        block = data[start : start + _STORED]
        yield struct.pack("<BHH", 0, len(block), len(block) ^ 0xFFFF)
        yield block

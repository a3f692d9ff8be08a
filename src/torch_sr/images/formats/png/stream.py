"""Join the PNGs of frames into one file, an animation if several."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from fractions import Fraction

from torch_sr.images.formats.png.chunks import SIGNATURE, Chunk, pack


class PngStream:
    """Joins the PNGs of single frames into one file.

    Args:
        chunks: what to add before the pixels.
        frames: how many there are; more than one make an animation (APNG).
        delays: milliseconds that each frame is shown, by default 100.
        plays: how often; 0 for endlessly.
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
        """Set the position of the next frame, which may be a part of the image."""
        self._corner = (left, top)

    def feed(self, data: bytes) -> bytes:
        """Take the next bytes of a frame's PNG; return the next bytes of the file."""
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
        elif first and kind != b"pHYs":  # libvips states a resolution even if none is known
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
        """The frame control chunk: the frame replaces what is in its place."""
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

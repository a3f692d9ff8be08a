"""Decode the frames of animated PNGs one after the other.

Each frame is a rectangle that is drawn onto what was shown before. libvips decodes it as a PNG, so
palettes and 16 bits are read as in any other PNG. Memory holds the frame shown, the rectangle drawn
onto it and, if a frame requires it, the frame before it.
PNG, third edition, 4.10 and 11.3.6.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from torch_sr.aliases import PathLike, Pixels
from torch_sr.images.formats.png.chunks import SIGNATURE, pack, walk
from torch_sr.images.image import max_value
from torch_sr.images.vips import libvips

_KEEP, _CLEAR, _RESTORE = range(3)  # what happens to a frame before the next one
_FIELDS = ("icc-profile-data", "exif-data", "xmp-data", "orientation")
_MAX_FRAMES = 100_000


@dataclass
class _Frame:
    width: int
    height: int
    left: int
    top: int
    delay: Fraction  # in milliseconds
    dispose: int
    blend: int
    data: list[tuple[int, int]] = field(default_factory=list)


class Animation:
    """The frames of an animated PNG.

    Attributes:
        plays: how often the animation is shown; 0 for endlessly.
        alpha: whether anything shown may be transparent.
        has_still: whether there is a still image, for viewers without animation.

    Raises:
        ValueError: a frame is outside the image.
        OSError: the file cannot be read.
    """

    def __init__(self, path: PathLike) -> None:
        self._path = path
        self._header = b""
        self._shared = b""  # palette and transparency
        self._frames: list[_Frame] = []
        self.plays = 0
        self.has_still = False
        self._announced = 0
        self._scan()
        if len(self._header) != 13:
            raise ValueError("its header is damaged")
        self._width, self._height = struct.unpack_from(">II", self._header)
        for number, frame in enumerate(self._frames, 1):
            right, bottom = frame.left + frame.width, frame.top + frame.height
            if right > self._width or bottom > self._height or 0 in (frame.width, frame.height):
                raise ValueError(f"frame {number} is outside the image")
        self._next = 0
        self._canvas: Pixels | None = None
        self.alpha = bool(self._frames) and self._find_alpha()

    def __len__(self) -> int:
        return len(self._frames)

    @property
    def delays(self) -> tuple[int | Fraction, ...]:
        """Milliseconds that each frame is shown."""
        return tuple(_whole(frame.delay) for frame in self._frames)

    @property
    def missing(self) -> int:
        """How many of the announced frames are missing."""
        return max(0, self._announced - len(self._frames))

    def drop_damaged(self) -> None:
        """Leave out the first frame that cannot be decoded, and all after it."""
        for number, frame in enumerate(self._frames):
            try:
                self._decode(frame)
            except libvips().Error:
                del self._frames[number:]
                return

    def load(self, number: int, plain: Any) -> Any:
        """A frame as a libvips image; reading frames in order is fastest.

        Args:
            number: from 0.
            plain: the file as libvips reads it, for the metadata.
        """
        if number < self._next:
            self._next, self._canvas = 0, None
        while self._next <= number:
            shown = self._show(self._next)
            self._next += 1
        image = libvips().Image.new_from_array(shown, interpretation=plain.interpretation)
        image = image.copy(xres=plain.xres, yres=plain.yres)
        for name in _FIELDS:
            if plain.get_typeof(name):
                image.set_type(plain.get_typeof(name), name, plain.get(name))
        return image

    def _scan(self) -> None:
        with Path(self._path).open("rb") as file:
            for kind, place, length in walk(file):
                if kind in (b"IDAT", b"fdAT"):
                    skip = 4 if kind == b"fdAT" else 0  # its number
                    if self._frames:
                        self._frames[-1].data.append((place + skip, length - skip))
                    else:
                        self.has_still = True
                    continue
                if kind not in (b"IHDR", b"PLTE", b"tRNS", b"acTL", b"fcTL"):
                    continue
                file.seek(place)
                data = file.read(min(length, 1024))
                if kind == b"IHDR":
                    self._header = data
                elif kind == b"acTL" and len(data) >= 8:
                    self._announced, self.plays = struct.unpack_from(">II", data)
                elif kind == b"fcTL" and len(data) >= 26 and len(self._frames) < _MAX_FRAMES:
                    self._frames.append(_control(data))
                elif kind in (b"PLTE", b"tRNS"):
                    self._shared += pack(kind, data)
        self._frames = [frame for frame in self._frames if frame.data]

    def _show(self, number: int) -> Pixels:
        """Draw a frame; return what is visible, and prepare the canvas for the next frame."""
        frame = self._frames[number]
        pixels = self._decode(frame)
        if self._canvas is None:
            self._begin(pixels)
        assert self._canvas is not None
        area = np.s_[frame.top : frame.top + frame.height, frame.left : frame.left + frame.width]
        dispose = _CLEAR if number == 0 and frame.dispose == _RESTORE else frame.dispose
        before = self._canvas[area].copy() if dispose == _RESTORE else None
        self._canvas[area] = _over(pixels, self._canvas[area]) if frame.blend else pixels
        seen: Pixels = (self._canvas if self.alpha else self._canvas[..., :-1]).copy()
        if dispose == _CLEAR:
            self._canvas[area] = 0
        elif before is not None:
            self._canvas[area] = before
        return seen

    def _begin(self, pixels: Pixels) -> None:
        shape = (self._height, self._width, pixels.shape[2])
        self._canvas = np.zeros(shape, pixels.dtype)

    def _find_alpha(self) -> bool:
        """Whether anything shown may be transparent."""
        first = self._frames[0]
        whole = (first.width, first.height) == (self._width, self._height)
        cleared = any(frame.dispose == _CLEAR for frame in self._frames[:-1])
        transparent = self._header[9] in (4, 6) or b"tRNS" in self._shared
        return transparent or cleared or not whole or first.dispose == _RESTORE

    def _decode(self, frame: _Frame) -> Pixels:
        """The rectangle of a frame, with an alpha channel."""
        header = struct.pack(">II", frame.width, frame.height) + self._header[8:]
        parts = [SIGNATURE, pack(b"IHDR", header), self._shared]
        with Path(self._path).open("rb") as file:
            for place, length in frame.data:
                file.seek(place)
                parts.append(pack(b"IDAT", file.read(length)))
        parts.append(pack(b"IEND", b""))
        image = libvips().Image.pngload_buffer(b"".join(parts), fail_on="error")
        pixels: Pixels = np.atleast_3d(image.numpy())
        if pixels.shape[2] in (2, 4):
            return pixels
        opaque = np.full((*pixels.shape[:2], 1), max_value(pixels.dtype), pixels.dtype)
        return np.concatenate([pixels, opaque], axis=2)


def is_animated(path: PathLike) -> bool:
    """Whether a PNG file says, before its pixels, that it is an animation."""
    with Path(path).open("rb") as file:
        for kind, _, _ in walk(file):
            if kind in (b"acTL", b"IDAT"):
                return kind == b"acTL"
    return False


def _control(data: bytes) -> _Frame:
    _, width, height, left, top, delay, parts, dispose, blend = struct.unpack_from(
        ">IIIIIHHBB", data
    )
    return _Frame(width, height, left, top, Fraction(1000 * delay, parts or 100), dispose, blend)


def _whole(delay: Fraction) -> int | Fraction:
    return int(delay) if delay.denominator == 1 else delay


def _over(top: Pixels, bottom: Pixels) -> Pixels:
    """Straight alpha over straight alpha (PNG, third edition, 13.16)."""
    most = max_value(top.dtype)
    above = top[..., -1:].astype(np.float64) / most
    below = bottom[..., -1:].astype(np.float64) / most * (1 - above)
    opacity = above + below
    color = top[..., :-1] * above + bottom[..., :-1] * below
    color = np.divide(color, opacity, out=np.zeros_like(color), where=opacity > 0)
    mixed: Pixels = np.rint(np.concatenate([color, opacity * most], axis=2)).astype(top.dtype)
    return mixed

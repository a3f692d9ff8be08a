"""Image, Metadata and Header; pixels of any depth <-> floats in [0, 1]."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import DTypeLike

from torch_sr.aliases import Floats, Pixels
from torch_sr.errors import ImageError
from torch_sr.images.value_range import ValueRange

Pages: TypeAlias = bool | Literal["frames"]
"""All frames and pages of a file, those of animations only, or the first one only."""

DTYPES = {"uchar": np.uint8, "ushort": np.uint16, "float": np.float32}
"""libvips' name of a sample type -> NumPy's."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Metadata:
    """What a file holds in addition to its pixels.

    Args:
        icc: the ICC profile of the colors; without one they are sRGB.
        exif: the EXIF block as found; its orientation is already applied to the pixels.
        xmp: the XMP packet as found.
        iptc: the IPTC block as found.
        dpi: resolution for print, if the file states one.
        dpi_y: the vertical resolution, if it differs from the horizontal one.
        delays: milliseconds that each frame of an animation is shown.
        loop: how often an animation is played; 0 for endlessly.
        comment: of a GIF or JPEG.
        chunks: text, color and time of a PNG, each as its type and data.
        cicp: primaries and transfer of the colors, as numbers of ITU-T H.273, if the file
            states them in addition to, or instead of, a profile.
        bits: per sample, if they are fewer than those of the pixels: 10 or 12.
        left_out: frames or pages of the file that were not read, as "3 frames" or "1 page".
        values: what 0 and 1 stand for in the file, if its values are outside [0, 1]; see
            :class:`~torch_sr.images.value_range.ValueRange`.
    """

    icc: bytes | None = None
    exif: bytes | None = None
    xmp: bytes | None = None
    iptc: bytes | None = None
    dpi: float | None = None
    dpi_y: float | None = None
    delays: tuple[int | Fraction, ...] | None = None
    loop: int | None = None
    comment: bytes | None = None
    chunks: tuple[tuple[bytes, bytes], ...] = ()
    cicp: tuple[int, int] | None = None
    bits: int | None = None
    left_out: str | None = None
    values: ValueRange | None = None


@dataclass(frozen=True, eq=False)
class Image:
    """Pixels and their metadata.

    Args:
        color: gray ``(H, W, 1)`` or RGB ``(H, W, 3)``; uint8, uint16, or float32 in [0, 1].
        alpha: opacity ``(H, W)`` of the same type, not multiplied into the color.
        metadata: profile, EXIF, resolution and the like.

    Raises:
        ImageError: arrays of another shape or type.

    >>> image = Image(np.zeros((4, 6, 3), np.uint8), metadata=Metadata(dpi=300))
    >>> image.height, image.width, image.metadata.dpi
    (4, 6, 300)
    """

    color: Pixels
    alpha: Pixels | None = None
    metadata: Metadata = Metadata()

    def __post_init__(self) -> None:
        if self.color.ndim != 3 or self.channels not in (1, 3) or self.color.size == 0:
            raise ImageError(f"color must be (H, W, 1) or (H, W, 3), not {self.color.shape}")
        if self.color.dtype not in DTYPES.values():
            raise ImageError(f"pixels must be uint8, uint16 or float32, not {self.color.dtype}")
        if self.alpha is not None and (
            self.alpha.shape != self.color.shape[:2] or self.alpha.dtype != self.color.dtype
        ):
            raise ImageError("alpha must be (H, W) of the color's size and type")

    @classmethod
    def from_array(cls, array: Pixels, metadata: Metadata | None = None) -> Image:
        """Split ``(H, W)`` or ``(H, W, 1 to 4)`` into color and alpha, the last of 2 or 4."""
        layers = array[..., None] if array.ndim == 2 else array
        if layers.ndim != 3 or not 1 <= layers.shape[2] <= 4:
            raise ImageError(f"an image is (H, W) or (H, W, 1 to 4), not {array.shape}")
        colors = 1 if layers.shape[2] < 3 else 3
        alpha = layers[..., colors].copy() if layers.shape[2] > colors else None
        return cls(np.ascontiguousarray(layers[..., :colors]), alpha, metadata or Metadata())

    def to_array(self) -> Pixels:
        """Join color and alpha, if any: ``(H, W, 1 to 4)``."""
        return self.color if self.alpha is None else np.dstack([self.color, self.alpha])

    @property
    def height(self) -> int:
        """Rows of pixels."""
        return int(self.color.shape[0])

    @property
    def width(self) -> int:
        """Pixels in a row."""
        return int(self.color.shape[1])

    @property
    def channels(self) -> int:
        """Color channels, without alpha: 1 or 3."""
        return int(self.color.shape[2])

    @property
    def depth(self) -> int:
        """Bits per sample: 8, 16, or 32 for float."""
        return int(self.color.dtype.itemsize) * 8


@dataclass(frozen=True)
class Header:
    """What is known of an image before its pixels are decoded: size, channels, depth.

    Args:
        height, width: of one upright page.
        channels: 1 or 3, without alpha.
        depth: bits per sample: 8, 16, or 32 for float.
        alpha: whether there is an alpha channel.
        pages: frames of an animation, pages of a document.
    """

    height: int
    width: int
    channels: int
    depth: int
    alpha: bool
    pages: int = 1

    @property
    def layers(self) -> int:
        """Channels including alpha: 1 to 4."""
        return self.channels + self.alpha

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the samples."""
        return np.dtype({8: np.uint8, 16: np.uint16, 32: np.float32}[self.depth])

    @property
    def num_pixels(self) -> int:
        """Of all pages."""
        return self.height * self.width * self.pages


def to_unit(array: Pixels) -> Floats:
    """Convert integers or floats to float32 in [0, 1]; NaN becomes 0.

    >>> to_unit(np.array([0, 51, 255], dtype=np.uint8)).tolist()
    [0.0, 0.20000000298023224, 1.0]
    """
    unit: Floats = array.astype(np.float32) / np.float32(max_value(array.dtype))
    if np.issubdtype(array.dtype, np.floating):
        np.clip(np.nan_to_num(unit, copy=False), 0, 1, out=unit)
    return unit


def from_unit(array: Pixels, dtype: DTypeLike) -> Pixels:
    """Clamp and round floats in [0, 1] to uint8 or uint16; float types are only cast."""
    if np.issubdtype(dtype, np.floating):
        return array.astype(dtype)
    levels: Pixels = np.rint(to_unit(array) * np.float32(max_value(dtype)))
    return levels.astype(dtype)


def to_nchw(array: Pixels) -> Floats:
    """Convert pixels ``(H, W, C)`` of any depth to ``(1, C, H, W)`` in [0, 1], as networks take."""
    return np.ascontiguousarray(to_unit(array).transpose(2, 0, 1)[None])


def convert(array: Pixels, dtype: DTypeLike) -> Pixels:
    """Convert pixels to another type: 65535 <-> 255 <-> 1.0."""
    return array if array.dtype == dtype else from_unit(to_unit(array), dtype)


def max_value(dtype: DTypeLike) -> int:
    """The value of full brightness: 255, 65535 or 1."""
    return int(np.iinfo(dtype).max) if np.issubdtype(dtype, np.integer) else 1


def profile_fits(icc: bytes, channels: int) -> bool:
    """Whether an ICC profile is for this number of color channels."""
    return icc[16:20] == (b"GRAY" if channels == 1 else b"RGB ")


def is_wide(cicp: tuple[int, int]) -> bool:
    """Whether colors of these primaries and transfer look wrong if they are taken for sRGB."""
    return cicp[0] not in (1, 2) or cicp[1] not in (1, 2, 6, 13, 14, 15)

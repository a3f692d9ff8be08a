"""Estimate from a file's header how strongly it was compressed with loss.

A network trained on clean images sharpens compression artifacts. Measured with ``compact-x4`` on
Set5 (low resolution compressed; the gain in PSNR over bicubic interpolation is 3.0 dB without
compression), a third of the gain is left at a JPEG quality of 85, a WebP quality of 70 and an AVIF
quality of 60; at lower qualities the network is soon no better than bicubic. These qualities are
the limits here.

JPEG states its quantization tables, WebP the index of its quantizer. AVIF is judged by its bits per
pixel, so an AVIF of a flat image may be reported although it has no visible artifacts.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from torch_sr.aliases import PathLike
from torch_sr.errors import ImageError
from torch_sr.images.reading.read import read_size

_JPEG_QUALITY = 85
_WEBP_INDEX = 36  # of 0 to 127: libwebp's quality 70 to 75
_AVIF_BITS = 1.0  # per pixel
_HEAD = 1 << 16  # bytes, in which a WebP's first frame begins

# Table K.1 of the JPEG standard, from which libjpeg scales the tables of each quality.
_LUMA = (
    *(16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55),
    *(14, 13, 16, 24, 40, 57, 69, 56, 14, 17, 22, 29, 51, 87, 80, 62),
    *(18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92),
    *(49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99),
)


def visible_compression(path: PathLike) -> str | None:
    """The compression of a file if artifacts are likely to be visible, as ``JPEG of quality 60``.

    None for files that were stored with little or no loss, and for files that cannot be read.
    """
    try:
        with Path(path).open("rb") as file:
            head = file.read(_HEAD)
        if head.startswith(b"\xff\xd8\xff"):
            quality = jpeg_quality(path)
            seen = quality is not None and quality <= _JPEG_QUALITY
            return f"JPEG of quality {quality}" if seen else None
        if head[8:12] == b"WEBP":
            index = _webp_index(head)
            return "WebP of low quality" if index is not None and index >= _WEBP_INDEX else None
        if head[4:12] == b"ftypavif":
            bits = _bits_per_pixel(path)
            return f"AVIF of {bits:.2f} bits per pixel" if bits < _AVIF_BITS else None
    except (OSError, ValueError, ImageError):  # the error is reported when the file is processed
        pass
    return None


def jpeg_quality(path: PathLike) -> int | None:
    """The quality from 1 to 100 at which libjpeg writes a luma table as coarse as this file's.

    Args:
        path: a JPEG file. None is returned if it has no table or cannot be read.
    """
    from PIL import Image as PillowImage

    try:
        with PillowImage.open(path, formats=("JPEG",)) as image:
            tables: dict[int, list[int]] = getattr(image, "quantization", {})
    except (OSError, SyntaxError, ValueError, PillowImage.DecompressionBombError):
        return None
    if 0 not in tables:
        return None
    coarseness = sum(tables[0])
    return min(range(1, 101), key=lambda quality: abs(_coarseness(quality) - coarseness))


def _coarseness(quality: int) -> int:
    """The sum of libjpeg's luma table of a quality."""
    percent = 5000 // quality if quality < 50 else 200 - 2 * quality
    return sum(min(max((value * percent + 50) // 100, 1), 255) for value in _LUMA)


def _bits_per_pixel(path: PathLike) -> float:
    height, width = read_size(path)
    return Path(path).stat().st_size * 8 / (height * width)


# --- The header of a VP8 frame, RFC 6386, sections 7 and 9 ----------------------------------------


def _webp_index(head: bytes) -> int | None:
    """The base index of the quantizer, 0 to 127; None for a WebP without loss or an animation."""
    place = head.find(b"VP8 ", 12)
    if place < 0:
        return None
    bits = _bool_decoder(head[place + 18 :])  # after the chunk's and the frame's uncompressed part
    bits(2)  # color space, clamping
    if bits(1):  # segments
        has_map, has_data = bits(1), bits(1)
        if has_data:
            bits(1)
            _skip_deltas(bits, [7] * 4 + [6] * 4)
        for _ in range(3 * has_map):
            if bits(1):
                bits(8)
    bits(10)  # loop filter
    if bits(1) and bits(1):
        _skip_deltas(bits, [6] * 8)
    bits(2)  # number of partitions
    return bits(7)


def _skip_deltas(bits: Callable[[int], int], widths: list[int]) -> None:
    for width in widths:
        if bits(1):
            bits(width + 1)  # and the sign


def _bool_decoder(data: bytes) -> Callable[[int], int]:
    """Read numbers of so many bits, each of even probability, from an arithmetic coder."""
    value, interval, shifts, following = int.from_bytes(data[:2], "big"), 255, 0, 2

    def read_bit() -> int:
        nonlocal value, interval, shifts, following
        split = 1 + ((interval - 1) >> 1)
        bit = value >= split << 8
        value, interval = (value - (split << 8), interval - split) if bit else (value, split)
        while interval < 128:
            value, interval, shifts = value << 1, interval << 1, shifts + 1
            if shifts % 8 == 0:
                value |= data[following] if following < len(data) else 0
                following += 1
        return int(bit)

    def read(width: int) -> int:
        number = 0
        for _ in range(width):
            number = 2 * number + read_bit()
        return number

    return read

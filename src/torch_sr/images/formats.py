"""What file formats can hold, and the nearest that a picture becomes in them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np

from torch_sr.aliases import Pixels
from torch_sr.errors import ImageError
from torch_sr.images.compositing import on_white, to_rgb
from torch_sr.images.naming import PathLike, naming
from torch_sr.images.pixels import Header, convert

Pages: TypeAlias = bool | Literal["frames"]
"""All frames and pages of a file; those of animations only; or the first picture alone."""


@dataclass(frozen=True)
class Format:
    """What a file format can hold.

    Args:
        name: as people write it.
        max_side: pixels.
        deepest: bits per sample that rows are written with.
        bits: of these, what is kept.
        quality: the default; none: always lossless.
        gray, alpha, frames, pages: whether these can be held; pages are those of a document.
        partial: alpha between opaque and transparent.
        step: of the times of frames, in milliseconds; 0: any.
        longest: milliseconds that a frame can be shown.
        holds: what can be stored beside the pixels, by the names of :mod:`torch_sr.images.notes`.
        most: bytes of one of these.
    """

    name: str
    max_side: int
    deepest: int = 8
    bits: int | None = None
    quality: int | None = None
    gray: bool = True
    alpha: bool = True
    partial: bool = True
    lossless: bool = True
    frames: bool = False
    pages: bool = False
    timed: bool = True
    step: int = 1
    longest: int = (1 << 24) - 1
    colors: int | None = None
    holds: frozenset[str] = frozenset()
    most: int = 1 << 31


_BASIC = frozenset({"ICC profile", "EXIF", "XMP", "DPI"})
_JPEG = Format(
    "JPEG",
    65_500,
    quality=95,
    alpha=False,
    lossless=False,
    holds=_BASIC | {"IPTC", "comment"},
    most=65_000,  # a segment ends at 65,533
)
_TIFF = Format(
    "TIFF", 10_000_000, deepest=32, frames=True, pages=True, timed=False, holds=_BASIC | {"IPTC"}
)
_PNG = Format(
    "PNG",
    1_000_000,
    deepest=16,
    frames=True,
    step=0,
    longest=65_535_000,
    holds=_BASIC | {"comment", "text", "CICP", "PNG"},
)
_FORMATS = {
    ".png": _PNG,
    ".jpg": _JPEG,
    ".jpeg": _JPEG,
    ".webp": Format("WebP", 16_383, quality=95, gray=False, frames=True, pages=True, holds=_BASIC),
    ".tif": _TIFF,
    ".tiff": _TIFF,
    ".avif": Format("AVIF", 16_384, deepest=16, bits=12, quality=85, gray=False, holds=_BASIC),
    ".gif": Format(
        "GIF",
        65_535,
        gray=False,
        partial=False,
        lossless=False,
        frames=True,
        pages=True,
        step=10,
        longest=655_350,
        colors=256,
        holds=frozenset({"XMP", "comment"}),
    ),
    ".apng": _PNG,
    ".jpe": _JPEG,
    ".jfif": _JPEG,
    ".jif": _JPEG,
    ".jfi": _JPEG,
}
WRITABLE_SUFFIXES = tuple(_FORMATS)


def find_format(path: PathLike, format: str | None = None) -> Format:  # noqa: A002
    """The format of a name, or the one that is asked for.

    Raises:
        ImageError: there is none of that name.
    """
    suffix = (Path(path).suffix if format is None else "." + format.lstrip(".")).lower()
    if suffix not in _FORMATS:
        known = ", ".join(WRITABLE_SUFFIXES)
        raise ImageError(f"'{suffix}' is no format to write; use one of {known}")
    return _FORMATS[suffix]


def check_format(
    path: PathLike,
    height: int,
    width: int,
    *,
    format: str | None = None,  # noqa: A002
) -> None:
    """Raise an :class:`ImageError` if the format of this name cannot hold an image so large."""
    with naming(path):
        writer = find_format(path, format)
        if min(height, width) < 1:
            raise ImageError(f"{width}x{height} pixels are no picture; ask for a larger one")
        if (longest := max(height, width)) > writer.max_side:
            remedy = "write .tif instead" if longest <= _TIFF.max_side else "ask for fewer"
            raise ImageError(
                f"{width}x{height} pixels do not fit: {writer.name} ends at {writer.max_side} "
                f"per side; {remedy}"
            )


def holds_pages(path: PathLike, format: str | None = None) -> Pages:  # noqa: A002
    """Whether a file of this name can hold several pages, or only ``"frames"`` of animations."""
    try:
        found = find_format(path, format)
    except ImageError:
        return False
    return found.pages or ("frames" if found.frames else False)


def fitted_header(header: Header, writer: Format) -> Header:
    """What becomes of a picture in this format, size aside."""
    return Header(
        header.height,
        header.width,
        header.channels if writer.gray else 3,
        min(header.depth, writer.deepest),
        header.alpha and writer.alpha,
        header.pages,
    )


def fit(rows: Pixels, header: Header, writer: Format) -> Pixels:
    """Bring rows ``(h, W, layers)`` to the nearest that the format can hold."""
    color, alpha = rows[..., : header.channels], rows[..., header.channels :]
    if header.alpha and not writer.alpha:  # onto white
        color = on_white(color, alpha)
        alpha = alpha[..., :0]
    if not writer.gray:
        color = to_rgb(color)
    if color.shape[2] + alpha.shape[2] != rows.shape[2] or color.shape[2] != header.channels:
        rows = np.dstack([color, alpha])
    fitted = fitted_header(header, writer)
    rows = convert(rows, fitted.dtype)
    if writer.name == "AVIF" and fitted.depth == 16:  # round here: libvips would cut
        rows = np.rint(rows * np.float64(4095 / 65535)).astype(np.uint16) << 4
    return rows

"""What each file format can hold, and the conversion of pixels to that."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from torch_sr.aliases import PathLike, Pixels
from torch_sr.errors import ImageError
from torch_sr.images.compositing import on_white, to_rgb
from torch_sr.images.errors import naming_file
from torch_sr.images.image import Header, Pages, convert


@dataclass(frozen=True)
class Format:
    """What a file format can hold.

    Args:
        name: for users.
        max_side: the most pixels per side.
        deepest: the most bits per sample in which rows are written.
        bits: how many of them are kept, if fewer.
        quality: the default; None: always lossless.
        gray, alpha, frames, pages: whether the format holds these; pages are of documents.
        partial: whether alpha may be between opaque and transparent.
        lossless: whether pixels can be stored without loss.
        timed: whether frames have times.
        step: of the times of frames, in milliseconds; 0 for any.
        colors: the most colors; None for any number.
        longest: the most milliseconds that a frame can be shown.
        holds: what can be stored with the pixels, by its name in
            :mod:`torch_sr.images.writing.notes`.
        most: the most bytes of one of these blocks.
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


def find_format(path: PathLike, file_format: str | None = None) -> Format:
    """The requested format, or by default that of a file's suffix.

    Raises:
        ImageError: it is not a format that is written.
    """
    suffix = (Path(path).suffix if file_format is None else "." + file_format.lstrip(".")).lower()
    if suffix not in _FORMATS:
        known = ", ".join(WRITABLE_SUFFIXES)
        raise ImageError(f"'{suffix}' is not a format that is written; use one of {known}")
    return _FORMATS[suffix]


def check_format(
    path: PathLike,
    height: int,
    width: int,
    *,
    file_format: str | None = None,
) -> None:
    """Raise an :class:`ImageError` if the format cannot hold an image of this size."""
    with naming_file(path):
        writer = find_format(path, file_format)
        if min(height, width) < 1:
            raise ImageError(f"{width}x{height} pixels are not an image; request a larger size")
        if (longest := max(height, width)) > writer.max_side:
            remedy = "write .tif instead" if longest <= _TIFF.max_side else "request fewer"
            raise ImageError(
                f"{width}x{height} pixels do not fit: {writer.name} holds {writer.max_side} "
                f"per side at most; {remedy}"
            )


def holds_pages(path: PathLike, file_format: str | None = None) -> Pages:
    """Whether a file of this name can hold several pages, or only ``"frames"`` of animations."""
    try:
        found = find_format(path, file_format)
    except ImageError:
        return False
    return found.pages or ("frames" if found.frames else False)


def fitted_header(header: Header, writer: Format) -> Header:
    """The header of an image after the conversion to this format."""
    return Header(
        header.height,
        header.width,
        header.channels if writer.gray else 3,
        min(header.depth, writer.deepest),
        header.alpha and writer.alpha,
        header.pages,
    )


def fit(rows: Pixels, header: Header, writer: Format) -> Pixels:
    """Convert rows ``(h, W, layers)`` to what the format can hold."""
    color, alpha = rows[..., : header.channels], rows[..., header.channels :]
    if header.alpha and not writer.alpha:  # blend with white
        color = on_white(color, alpha)
        alpha = alpha[..., :0]
    if not writer.gray:
        color = to_rgb(color)
    if color.shape[2] + alpha.shape[2] != rows.shape[2] or color.shape[2] != header.channels:
        rows = np.dstack([color, alpha])
    fitted = fitted_header(header, writer)
    rows = convert(rows, fitted.dtype)
    if writer.name == "AVIF" and fitted.depth == 16:  # round here: libvips would truncate
        rows = np.rint(rows * np.float64(4095 / 65535)).astype(np.uint16) << 4
    return rows

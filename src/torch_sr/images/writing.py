"""An Image, or rows from top to bottom -> a file, whole or not at all.

What the format cannot hold is converted: depth is rounded down to what fits, JPEG's transparency
becomes white, WebP, AVIF and GIF store gray as RGB.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from torch_sr.errors import ImageError
from torch_sr.files import atomic_write
from torch_sr.images.formats import Format, check_format, find_format, fit, fitted_header
from torch_sr.images.metadata import correct_xmp, drop_thumbnail
from torch_sr.images.naming import UNWRITABLE, PathLike, letting_through, libvips, naming
from torch_sr.images.pixels import (
    Header,
    Image,
    Metadata,
    Pixels,
    profile_fits,
)
from torch_sr.images.row_pipe import RowPipe
from torch_sr.images.tiff_exif import append_exif
from torch_sr.images.value_range import ValueRange

_BAND_PIXELS = 1 << 22  # written at once
_BIG = 2**31  # bytes that may not fit a classic TIFF


@dataclass(frozen=True)
class WriteOptions:
    """How an image is stored.

    Args:
        format: png, jpg, webp, tif, avif or gif; without it, the name's suffix decides.
        quality: 1 to 100 for JPEG (default 95), WebP (95) and AVIF (85).
        lossless: WebP and AVIF without loss; PNG and TIFF always are.
        bigtiff: a TIFF with room for more than 4 GB; by itself it has it where it may need it.
    """

    format: str | None = None
    quality: int | None = None
    lossless: bool = False
    bigtiff: bool = False


class ImageWriter:
    """Takes rows from top to bottom, page after page, and stores them; see :func:`open_writer`.

    Attributes:
        notes: what the format cannot hold and is therefore lost, one sentence each, complete once
            the file is written.
    """

    def __init__(
        self,
        path: Path,
        source: Header,
        target: Header,
        writer: Format,
        pipe: RowPipe,
        values: ValueRange | None = None,
    ) -> None:
        self.notes: list[str] = []
        self._values = values if target.depth == 32 else None
        if values is not None and self._values is None:
            self.notes.append(
                f"{writer.name} holds no such values: {values.low:g} became black and "
                f"{values.high:g} white"
            )
        self._path = path
        self._source = source
        self._target = target
        self._writer = writer
        self._pipe = pipe
        self._resized = source.pages > 1 and _size(source) != _size(target)
        self._page: list[Pixels] = []

    def write(self, rows: Pixels) -> None:
        """Store ``(h, W, layers)`` of the type announced; bands may be of any height.

        Raises:
            ImageError: they could not be stored.
        """
        with naming(self._path, UNWRITABLE):
            if self._resized:
                self._collect(rows)
            else:
                self._send(rows)

    def _send(self, rows: Pixels) -> None:
        rows = fit(rows, self._source, self._writer)
        if self._values is not None:
            rows = self._values.restore(rows, self._target.channels)
        self._pipe.write(rows)

    def _collect(self, rows: Pixels) -> None:
        """Frames may not run into each other, so each is resized by itself."""
        self._page.append(rows)
        if sum(map(len, self._page)) < self._source.height:
            return
        page = libvips().Image.new_from_array(
            np.concatenate(self._page), interpretation=_interpretation(self._source)
        )
        self._page.clear()
        shape = (self._target.height, self._target.width, self._source.layers)
        resized = np.asarray(_resize(page, self._source, self._target)).reshape(shape)
        self._send(resized)


@contextmanager
def open_writer(
    path: PathLike,
    header: Header,
    metadata: Metadata | None = None,
    *,
    options: WriteOptions | None = None,
    size: tuple[int, int] | None = None,
) -> Iterator[ImageWriter]:
    """Yield a writer of rows; the file is there, whole, when the block is left without an error.

    Args:
        path: where to; an existing file is replaced.
        header: what the rows will be.
        metadata: what to store beside them.
        options: format and quality.
        size: ``(height, width)`` to resample each page to, by Lanczos' filter.

    Raises:
        ImageError: what :func:`check_writable` refuses, a bad option, or a failed write.
    """
    path = Path(path)
    options = options or WriteOptions()
    height, width = size or _size(header)
    check_writable(path, height, width, format=options.format)
    writer = find_format(path, options.format)
    fitted = fitted_header(header, writer)
    target = replace(fitted, height=height, width=width)
    resized = header.pages == 1 and _size(header) != (height, width)
    with naming(path, UNWRITABLE), atomic_write(path) as temporary:
        _check_options(writer, options, header)

        def consume(image: Any) -> None:
            image = image.copy(interpretation=_interpretation(fitted))
            if resized:
                image = _resize(image, fitted, target)
            if header.channels == 1 and fitted.channels == 3 and metadata is not None:
                image = _gray_to_srgb(image, metadata.icc)
            _save(temporary, _describe(image, target, metadata), writer, options)
            if writer.name == "TIFF" and metadata is not None and metadata.exif:
                append_exif(temporary, metadata.exif, target.height, target.width)

        pipe = RowPipe(fitted if resized else target, consume)
        try:
            with letting_through():
                values = metadata.values if metadata is not None else None
                yield ImageWriter(path, header, target, writer, pipe, values)
            pipe.finish()
        finally:
            pipe.close()


def write_image(
    path: PathLike,
    image: Image,
    *,
    format: str | None = None,  # noqa: A002
    quality: int | None = None,
    lossless: bool = False,
) -> Path:
    """Write an image file whole or not at all.

    Args:
        path: where to; an existing file is replaced.
        image: pixels, with the profile and metadata to keep.
        format, quality, lossless: see :class:`WriteOptions`.

    Raises:
        ImageError: what :func:`check_writable` refuses, a bad option, or a failed write.
    """
    options = WriteOptions(format, quality, lossless)
    header = Header(image.height, image.width, image.channels, image.depth, image.alpha is not None)
    step = max(1, _BAND_PIXELS // image.width)
    pixels = image.to_array()
    with open_writer(path, header, image, options=options) as writer:
        for top in range(0, image.height, step):
            writer.write(pixels[top : top + step])
    return Path(path)


def check_writable(
    path: PathLike,
    height: int,
    width: int,
    *,
    format: str | None = None,  # noqa: A002
) -> None:
    """Raise an :class:`ImageError` now if an image of this size could not be written later."""
    check_format(path, height, width, format=format)
    path = Path(path)
    with naming(path, UNWRITABLE):
        if not path.parent.is_dir():
            raise ImageError("its folder does not exist; create it first")
        if path.is_dir():
            raise ImageError("is a folder; give a file name")
        if Path(os.path.realpath(path)).is_symlink():
            raise ImageError("is a link that leads in circles; give another name")
        if not os.access(path.parent, os.W_OK | os.X_OK):
            raise ImageError("its folder may not be written to; choose another or mend its rights")


def _size(header: Header) -> tuple[int, int]:
    return header.height, header.width


def _check_options(writer: Format, options: WriteOptions, header: Header) -> None:
    if options.quality is not None and not 1 <= options.quality <= 100:
        raise ImageError(f"quality must be 1 to 100, not {options.quality}")
    if options.lossless and not writer.lossless:
        raise ImageError(f"{writer.name} is never lossless; write .png, .webp, .tif or .avif")
    if header.pages > 1 and not writer.pages:
        raise ImageError(
            f"{header.pages} pages do not fit: {writer.name} holds one; write .tif, .webp or .gif"
        )


# --- What libvips does with the rows --------------------------------------------------------------


def _interpretation(header: Header) -> str:
    gray, rgb = {8: ("b-w", "srgb"), 16: ("grey16", "rgb16"), 32: ("b-w", "scrgb")}[header.depth]
    return gray if header.channels == 1 else rgb


def _resize(image: Any, source: Header, target: Header) -> Any:
    """Resample by Lanczos' filter; colours weigh as much as they are opaque."""
    shrunk = image.premultiply() if source.alpha else image
    shrunk = shrunk.resize(target.width / source.width, vscale=target.height / source.height)
    if source.alpha:
        shrunk = shrunk.unpremultiply()
    if source.depth < 32:
        shrunk = shrunk.rint()  # a cast would cut
    return shrunk.cast(image.format).copy(interpretation=image.interpretation)


def _gray_to_srgb(image: Any, icc: bytes | None) -> Any:
    """Of gray as RGB: brightness as its gray profile means it, which cannot travel along."""
    if not icc or not profile_fits(icc, 1):
        return image
    vips, deep = libvips(), image.format == "ushort"
    gray = image[0].copy(interpretation="grey16" if deep else "b-w")
    gray.set_type(vips.GValue.blob_type, "icc-profile-data", icc)
    try:
        color = gray.icc_transform("srgb", embedded=True, depth=16 if deep else 8).copy()
    except vips.Error:  # a damaged profile is as none
        return image
    color.remove("icc-profile-data")
    return color.bandjoin(image[3]) if image.bands == 4 else color


# --- Saving -------------------------------------------------------------------------------------


def _describe(image: Any, header: Header, metadata: Metadata | None) -> Any:
    """Attach what travels with the pixels."""
    metadata = metadata or Metadata()
    vips = libvips()
    per_mm = (metadata.dpi or 72) / 25.4
    image = image.copy(xres=per_mm, yres=per_mm)
    for name in image.get_fields():  # what the pipe brought
        if name.startswith(("png-", "vips-loader", "palette", "bits-per-sample")):
            image.remove(name)
    icc = metadata.icc if metadata.icc and profile_fits(metadata.icc, header.channels) else None
    xmp = metadata.xmp and correct_xmp(metadata.xmp, header.height, header.width)
    exif = metadata.exif and drop_thumbnail(metadata.exif)
    blobs = {"icc-profile": icc, "exif": exif, "xmp": xmp, "iptc": metadata.iptc}
    for name, blob in blobs.items():
        if blob:
            image.set_type(vips.GValue.blob_type, f"{name}-data", blob)
    image.set_type(vips.GValue.gint_type, "orientation", 1)  # after EXIF, which sets it too
    if header.pages > 1:
        image.set_type(vips.GValue.gint_type, "page-height", header.height)
        if metadata.delays:
            image.set_type(vips.GValue.array_int_type, "delay", list(metadata.delays))
        if metadata.loop is not None:
            image.set_type(vips.GValue.gint_type, "loop", metadata.loop)
    return image


def _save(path: Path, image: Any, writer: Format, options: WriteOptions) -> None:
    """Write straight to `path`; the one place that knows the encoders' settings."""
    name = os.fsencode(path)
    quality = options.quality or writer.quality
    if writer.name == "PNG":
        image.pngsave(name, compression=6)
    elif writer.name == "JPEG":
        image.jpegsave(name, Q=quality, subsample_mode="off", optimize_coding=True)
    elif writer.name == "WebP":
        image.webpsave(name, Q=quality, lossless=options.lossless, exact=True, smart_subsample=True)
    elif writer.name == "GIF":
        image.gifsave(name)
    elif writer.name == "AVIF":
        image.heifsave(
            name,
            compression="av1",
            Q=quality,
            lossless=options.lossless,
            bitdepth=8 if image.format == "uchar" else 12,
            subsample_mode="off",
        )
    else:
        size = (
            image.width
            * image.height
            * image.bands
            * {"uchar": 1, "ushort": 2}.get(image.format, 4)
        )
        image.tiffsave(
            name,
            compression="deflate",
            predictor="float" if image.format == "float" else "horizontal",
            bigtiff=options.bigtiff or size > _BIG,  # its compressed size is not known yet
        )

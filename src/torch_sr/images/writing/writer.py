"""Write an Image, or its rows, to a file, completely or not at all.

What the format cannot hold is converted: depth is reduced, transparency becomes white in JPEG, and
WebP, AVIF and GIF store gray as RGB.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from torch_sr.aliases import PathLike, Pixels
from torch_sr.errors import ImageError
from torch_sr.files import atomic_write
from torch_sr.images.errors import UNWRITABLE, naming_file
from torch_sr.images.image import Header, Image, Metadata
from torch_sr.images.value_range import ValueRange
from torch_sr.images.vips import libvips
from torch_sr.images.writing.capabilities import (
    Format,
    check_format,
    find_format,
    fit,
    fitted_header,
)
from torch_sr.images.writing.encoders import WriteOptions, save
from torch_sr.images.writing.metadata import corrected
from torch_sr.images.writing.notes import Seen, lost
from torch_sr.images.writing.profiles import to_srgb
from torch_sr.images.writing.row_pipe import RowPipe

_BAND_PIXELS = 1 << 22  # written at once


class ImageWriter:
    """Writes rows from top to bottom, page after page; see :func:`open_writer`.

    Attributes:
        notes: what the format cannot hold, one sentence each; complete when the file is written.
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
        self.seen = Seen()
        self._values = values if target.depth == 32 else None
        if values is not None and self._values is None:
            self.notes.append(
                f"{writer.name} cannot hold the file's values: {values.low:g} became black "
                f"and {values.high:g} white"
            )
        self._path = path
        self._source = source
        self._target = target
        self._writer = writer
        self._pipe = pipe
        self._resized = source.pages > 1 and _size(source) != _size(target)
        self._page: list[Pixels] = []

    def write(self, rows: Pixels) -> None:
        """Write rows ``(h, W, layers)`` of the header's type; bands may have any height.

        Raises:
            ImageError: the file cannot be written.
        """
        with naming_file(self._path, UNWRITABLE):
            if self._resized:
                self._collect(rows)
            else:
                self._send(rows)

    def _send(self, rows: Pixels) -> None:
        fitted = fit(rows, self._source, self._writer)
        self.seen.add(rows, fitted, self._source, self._writer)
        if self._values is not None:
            fitted = self._values.restore(fitted, self._target.channels)
        self._pipe.write(fitted)

    def _collect(self, rows: Pixels) -> None:
        """Resize each frame separately, so that frames do not mix at their edges."""
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
    """Yield a writer of rows; the file is complete when the block ends without an error.

    Args:
        path: of the file; an existing file is replaced.
        header: of the rows.
        metadata: to store with the pixels.
        options: format and quality.
        size: ``(height, width)`` to resample each page to, with a Lanczos filter.

    Raises:
        ImageError: what :func:`check_writable` refuses, a bad option, or a failed write.
    """
    path = Path(path)
    options = options or WriteOptions()
    height, width = size or _size(header)
    check_writable(path, height, width, file_format=options.file_format)
    writer = find_format(path, options.file_format)
    fitted = fitted_header(header, writer)
    target = replace(fitted, height=height, width=width)
    described = corrected(metadata or Metadata(), target)
    resized = header.pages == 1 and _size(header) != (height, width)
    with ExitStack() as file:
        with naming_file(path, UNWRITABLE):
            temporary = file.enter_context(atomic_write(path))
            _check_options(writer, options, header)

        def consume(image: Any) -> None:
            image = image.copy(interpretation=_interpretation(fitted))
            if resized:
                image = _resize(image, fitted, target)
            if resized and writer.colors:  # resampling adds colors
                image = image.copy_memory()
                pixels = np.atleast_3d(image.numpy())
                image_writer.seen.add(pixels, pixels, target, writer)
            if header.channels != fitted.channels or "ICC profile" not in writer.holds:
                image = to_srgb(image, described.icc, header.channels)
            save(temporary, image, target, described, writer, options)

        pipe = RowPipe(fitted if resized else target, consume)
        file.callback(pipe.close)
        image_writer = ImageWriter(path, header, target, writer, pipe, described.values)
        yield image_writer
        with naming_file(path, UNWRITABLE), file.pop_all():
            pipe.finish()
            image_writer.notes += lost(header, described, writer, image_writer.seen)


def write_image(
    path: PathLike,
    image: Image,
    *,
    file_format: str | None = None,
    quality: int | None = None,
    lossless: bool = False,
) -> Path:
    """Write an image file, completely or not at all.

    Args:
        path: of the file; an existing file is replaced.
        image: pixels and metadata.
        file_format, quality, lossless: see :class:`WriteOptions`.

    Raises:
        ImageError: what :func:`check_writable` refuses, a bad option, or a failed write.
    """
    options = WriteOptions(file_format, quality, lossless)
    header = Header(image.height, image.width, image.channels, image.depth, image.alpha is not None)
    step = max(1, _BAND_PIXELS // image.width)
    pixels = image.to_array()
    with open_writer(path, header, image.metadata, options=options) as writer:
        for top in range(0, image.height, step):
            writer.write(pixels[top : top + step])
    return Path(path)


def check_writable(
    path: PathLike,
    height: int,
    width: int,
    *,
    file_format: str | None = None,
) -> None:
    """Raise an :class:`ImageError` now if an image of this size could not be written later."""
    check_format(path, height, width, file_format=file_format)
    path = Path(path)
    with naming_file(path, UNWRITABLE):
        if not path.parent.is_dir():
            raise ImageError("its folder does not exist; create it first")
        if path.is_dir():
            raise ImageError("is a folder; give a file name")
        if Path(os.path.realpath(path)).is_symlink():
            raise ImageError("is a circular link; give another name")
        if not os.access(path.parent, os.W_OK | os.X_OK):
            raise ImageError("check the permissions of its folder, or choose another folder")


def _size(header: Header) -> tuple[int, int]:
    return header.height, header.width


def _check_options(writer: Format, options: WriteOptions, header: Header) -> None:
    if options.quality is not None and not 1 <= options.quality <= 100:
        raise ImageError(f"quality must be 1 to 100, not {options.quality}")
    if options.lossless and not writer.lossless:
        raise ImageError(f"{writer.name} is never lossless; write .png, .webp, .tif or .avif")
    if header.pages > 1 and not writer.frames:
        raise ImageError(
            f"{header.pages} pages do not fit: {writer.name} holds one; "
            "write .png, .tif, .webp or .gif"
        )


# --- Done by libvips ------------------------------------------------------------------------------


def _interpretation(header: Header) -> str:
    gray, rgb = {8: ("b-w", "srgb"), 16: ("grey16", "rgb16"), 32: ("b-w", "scrgb")}[header.depth]
    return gray if header.channels == 1 else rgb


def _resize(image: Any, source: Header, target: Header) -> Any:
    """Resample with a Lanczos filter; colors are weighted by their opacity."""
    shrunk = image.premultiply() if source.alpha else image
    shrunk = shrunk.resize(target.width / source.width, vscale=target.height / source.height)
    if source.alpha:
        shrunk = shrunk.unpremultiply()
    if source.depth < 32:
        shrunk = shrunk.rint()  # a cast would truncate
    return shrunk.cast(image.format).copy(interpretation=image.interpretation)

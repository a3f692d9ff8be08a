"""Convert a file, page by page: read, super-resolve, resample, write.

The caller provides the function that computes the pixels, from rows to rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

from torch_sr.aliases import Array, Progress
from torch_sr.images import (
    Header,
    ImageReader,
    ImageWriter,
    WriteOptions,
    can_differ,
    holds_pages,
    open_document,
    open_writer,
)
from torch_sr.images.writing.documents import DocumentWriter
from torch_sr.inference.borders import ReadRows
from torch_sr.inference.files.sizes import TargetSize

Bands = Callable[[Header, ReadRows, Progress], Iterator[Array]]
"""Header, rows and progress of an image -> bands of its result ``(1, h, W, layers)``."""

_DRAWN_ROWS = 256


def convert_file(
    source: str | Path,
    target: str | Path,
    bands: Bands,
    scale_factor: int,
    *,
    progress: Progress | None,
    options: WriteOptions,
    size: TargetSize | None,
    max_pixels: int | None,
    damaged: str,
) -> list[str]:
    """Write the result of `bands` for each page of a file; return notes on what is lost.

    Args:
        source, target: the files.
        bands: computes a page.
        scale_factor: how much larger its result is.
        progress, options, size, max_pixels, damaged: see
            :meth:`torch_sr.inference.upscaler.Upscaler.upscale_file`.

    Raises:
        ImageError: the source cannot be read, or the target cannot be written.
    """

    def drawn(height: int, width: int) -> tuple[int, int]:
        return (height * scale_factor, width * scale_factor)

    pages = holds_pages(target, options.file_format)
    with ImageReader(
        source, max_pixels, pages=pages, damaged=damaged, drawing_size=size or drawn
    ) as reader:
        headers = _writable_pages(reader, target, options)
        with _open_writer(reader, headers, target, options, size, scale_factor) as writer:
            report = _combine_progress(progress, len(headers))
            for header in headers:
                for band in _bands_of(reader, header, bands, report):
                    writer.write(band[0])
        return list(dict.fromkeys([*reader.notes, *writer.notes]))


def _writable_pages(
    reader: ImageReader, target: str | Path, options: WriteOptions
) -> Sequence[Header]:
    """The pages that the target can hold: all, or the first if they differ."""
    headers = reader.page_headers
    if len(set(headers)) == 1 or can_differ(target, options.file_format):
        return headers
    reader.notes.append(
        f"{Path(target).suffix or options.file_format} holds frames of one size and kind: "
        f"the first of {len(headers)} pages was kept"
    )
    return [replace(headers[0], pages=1)]


def _open_writer(
    reader: ImageReader,
    headers: Sequence[Header],
    target: str | Path,
    options: WriteOptions,
    size: TargetSize | None,
    scale: int,
) -> AbstractContextManager[ImageWriter | DocumentWriter]:
    """A writer for all pages if they are equal in kind, otherwise for page after page."""
    if reader.drawing_size is not None:  # rendered at its final size
        return open_writer(
            target, headers[0], reader.metadata, options=options, size=reader.drawing_size
        )
    enlarged = [replace(h, height=h.height * scale, width=h.width * scale) for h in headers]
    sizes = [size(h.height, h.width) for h in headers] if size else None
    own_values = len(headers) > 1 and headers[0].depth == 32 and can_differ(target)
    if len(set(headers)) > 1 or own_values:
        return open_document(
            target, enlarged, lambda: reader.metadata, options=options, sizes=sizes
        )
    return open_writer(
        target, enlarged[0], reader.metadata, options=options, size=sizes[0] if sizes else None
    )


def _bands_of(
    reader: ImageReader, header: Header, bands: Bands, progress: Progress
) -> Iterator[Array]:
    """The result of a page; a drawing has been rendered at its final size."""
    if reader.drawing_size is None:
        yield from bands(header, lambda n: reader.read(n)[None], progress)
        return
    for _ in range(0, header.height, _DRAWN_ROWS):
        yield reader.read(_DRAWN_ROWS)[None]
    progress(1, 1)


def _combine_progress(progress: Progress | None, passes: int) -> Progress:
    """Combine the progress of several passes of equal length."""
    finished = 0

    def report(done: int, total: int) -> None:
        nonlocal finished
        if progress is not None:
            progress(finished * total + done, passes * total)
        finished += done == total

    return report

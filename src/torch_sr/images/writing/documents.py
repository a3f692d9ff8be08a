"""Write a TIFF of pages that differ in size, colors, depth or profile.

Only TIFF can hold such pages. Each page is written to its own file next to the target, and the
files are joined at the end.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

from torch_sr.aliases import PathLike, Pixels
from torch_sr.errors import ImageError
from torch_sr.files import atomic_write
from torch_sr.images.errors import UNWRITABLE, display_name, naming_file
from torch_sr.images.formats.tiff.join import join_pages
from torch_sr.images.image import Header, Metadata
from torch_sr.images.writing.capabilities import check_format, find_format
from torch_sr.images.writing.encoders import WriteOptions
from torch_sr.images.writing.writer import ImageWriter, open_writer

Size = tuple[int, int]


class DocumentWriter:
    """Writes the rows of one page after the other; see :func:`open_document`."""

    def __init__(
        self, folder: Path, headers: Sequence[Header], start: Callable[[int, Path], ImageWriter]
    ) -> None:
        self.notes: list[str] = []
        self.paths = [folder / f".torch-sr-{secrets.token_hex(6)}.tif" for _ in headers]
        self._headers = headers
        self._start = start
        self._page = -1
        self._left = 0
        self._writer: ImageWriter | None = None

    def write(self, rows: Pixels) -> None:
        """Write rows ``(h, W, layers)`` of the current page."""
        if self._left == 0:
            self._page += 1
            self._left = self._headers[self._page].height
            self._writer = self._start(self._page, self.paths[self._page])
        assert self._writer is not None
        self._writer.write(rows)
        self._left -= len(rows)


@contextmanager
def open_document(
    path: PathLike,
    headers: Sequence[Header],
    metadata: Callable[[], Metadata],
    *,
    options: WriteOptions | None = None,
    sizes: Sequence[Size] | None = None,
) -> Iterator[DocumentWriter]:
    """Yield a writer of pages that may differ; the file is complete when the block ends.

    Args:
        path: of the file, in a format that holds such pages (TIFF).
        headers: of the rows of each page.
        metadata: called at the first rows of a page, for its metadata.
        options: format and quality.
        sizes: ``(height, width)`` to resample each page to.

    Raises:
        ImageError: the format cannot hold them, or they could not be written.
    """
    path = Path(path)
    options = options or WriteOptions()
    sizes = sizes or [(header.height, header.width) for header in headers]
    for height, width in sizes:
        check_format(path, height, width, file_format=options.file_format)
    if find_format(path, options.file_format).name != "TIFF":
        raise ImageError(f"{path}: pages that differ do not fit; write .tif")
    big = sum(_bytes(header, size) for header, size in zip(headers, sizes, strict=True)) > 2**31
    with ExitStack() as file:
        with naming_file(path, UNWRITABLE):
            temporary = file.enter_context(atomic_write(path))
        pages = ExitStack()

        def start(number: int, page: Path) -> ImageWriter:
            pages.close()
            single = replace(headers[number], pages=1)
            page_options = replace(options, file_format="tif", bigtiff=big)
            opened = open_writer(page, single, metadata(), options=page_options, size=sizes[number])
            return pages.enter_context(opened)

        writer = DocumentWriter(temporary.parent, headers, start)
        file.callback(_remove, writer.paths)
        with _named(path, writer.paths), pages:
            yield writer
        with naming_file(path, UNWRITABLE), file.pop_all():
            join_pages(temporary, writer.paths)


@contextmanager
def _named(path: Path, pages: Sequence[Path]) -> Iterator[None]:
    """Replace the internal names of pages in errors by the document's name."""
    try:
        yield
    except ImageError as error:
        text = str(error)
        for page in pages:
            text = text.replace(display_name(page), display_name(path))
        if text == str(error):
            raise
        raise ImageError(text) from error.__cause__


def can_differ(path: PathLike, file_format: str | None = None) -> bool:
    """Whether a file of this name can hold pages that differ in size or colors."""
    return find_format(path, file_format).name == "TIFF"


def _bytes(header: Header, size: Size) -> int:
    return size[0] * size[1] * header.layers * header.depth // 8


def _remove(paths: Sequence[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)

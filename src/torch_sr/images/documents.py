"""Writing pages that differ: in size, colours, depth, profile or values. TIFF alone can hold them.

Each page is written to a file of its own beside the target, and the files are joined at the end.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

from torch_sr.aliases import Pixels
from torch_sr.errors import ImageError
from torch_sr.files import atomic_write
from torch_sr.images.formats import check_format, find_format
from torch_sr.images.naming import UNWRITABLE, PathLike, display_name, letting_through, naming
from torch_sr.images.pixels import Header, Metadata
from torch_sr.images.saving import WriteOptions
from torch_sr.images.tiff.join import join_pages
from torch_sr.images.writing import ImageWriter, open_writer

Size = tuple[int, int]


class DocumentWriter:
    """Takes the rows of one page after the other; see :func:`open_document`."""

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
        """Store rows ``(h, W, layers)`` of the page whose turn it is."""
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
    """Yield a writer of pages that may differ; the file is there when the block is left.

    Args:
        path: where to, in a format that holds such pages (TIFF).
        headers: what the rows of each page will be.
        metadata: called when the first rows of a page come, for what is stored beside them.
        options: format and quality.
        sizes: ``(height, width)`` to resample each page to.

    Raises:
        ImageError: the format cannot hold them, or they could not be written.
    """
    path = Path(path)
    options = options or WriteOptions()
    sizes = sizes or [(header.height, header.width) for header in headers]
    for height, width in sizes:
        check_format(path, height, width, format=options.format)
    if find_format(path, options.format).name != "TIFF":
        raise ImageError(f"{path}: pages that differ do not fit; write .tif")
    big = sum(_bytes(header, size) for header, size in zip(headers, sizes, strict=True)) > 2**31
    with naming(path, UNWRITABLE), atomic_write(path) as temporary, ExitStack() as stack:
        pages = ExitStack()

        def start(number: int, page: Path) -> ImageWriter:
            pages.close()
            single = replace(headers[number], pages=1)
            page_options = replace(options, format="tif", bigtiff=big)
            opened = open_writer(page, single, metadata(), options=page_options, size=sizes[number])
            return pages.enter_context(opened)

        writer = DocumentWriter(temporary.parent, headers, start)
        stack.callback(_remove, writer.paths)
        with letting_through(), _named(path, writer.paths), pages:
            yield writer
        join_pages(temporary, writer.paths)


@contextmanager
def _named(path: Path, pages: Sequence[Path]) -> Iterator[None]:
    """Errors of a page name the document, which is what the caller knows."""
    try:
        yield
    except ImageError as error:
        text = str(error)
        for page in pages:
            text = text.replace(display_name(page), display_name(path))
        if text == str(error):
            raise
        raise ImageError(text) from error.__cause__


def can_differ(path: PathLike, format: str | None = None) -> bool:  # noqa: A002
    """Whether a file of this name can hold pages that differ in size or colours."""
    return find_format(path, format).name == "TIFF"


def _bytes(header: Header, size: Size) -> int:
    return size[0] * size[1] * header.layers * header.depth // 8


def _remove(paths: Sequence[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)

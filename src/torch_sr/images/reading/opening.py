"""Open a file of any kind as a lazy libvips image; note what is left out.

libvips reads most kinds, row by row. Those of Pillow, Netpbm and HEIC are decoded into memory.
"""

from __future__ import annotations

import mmap
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch_sr.aliases import PathLike
from torch_sr.errors import ImageError
from torch_sr.images.formats.gif import is_complete_gif
from torch_sr.images.formats.jpeg import find_left_out, name_coding
from torch_sr.images.formats.netpbm import blank_netpbm, read_netpbm
from torch_sr.images.formats.pillow import check_size, load_heic, load_jxl, load_with_pillow
from torch_sr.images.formats.tiff.pages import CIELAB, ICCLAB, TiffPage, check_raw, read_pages
from torch_sr.images.formats.tiff.samples import load_tiff_page
from torch_sr.images.reading.kinds import Kind, find_kind
from torch_sr.images.vips import libvips

TALL = ("gifload", "webpload")
"""Loaders whose frames libvips returns as one tall image."""
WHOLE = ("pillow", "netpbm", "heif", "jxl")
"""Loaders that decode the whole image into memory."""
_MAX_BOXES = 1 << 18


@dataclass
class Source:
    """A file to open, once or page by page.

    Args:
        path: the file.
        kind: what it is.
        max_pixels: refuse a page of more pixels than this before decoding; ``None``: no limit.
        keep: whether to keep what can be read of a damaged file.
        scale: the factor at which drawings are rendered.
        notes: what the file holds and the loaded images do not, one sentence each.
    """

    path: PathLike
    kind: Kind
    max_pixels: int | None = None
    keep: bool = False
    scale: float = 1.0
    notes: list[str] = field(default_factory=list)
    _tiff_pages: list[TiffPage] = field(default_factory=list)
    _numbers: list[int] = field(default_factory=list)
    _complete: bool = True

    def __post_init__(self) -> None:
        if self.kind.loader == "tiffload":
            self._tiff_pages, self._complete = read_pages(self.path)
            check_raw(self.path, self._tiff_pages)
            self._numbers = [n for n, page in enumerate(self._tiff_pages) if not page.is_copy]
            copies = len(self._tiff_pages) - len(self._numbers)
            if copies and self._numbers:
                self.notes.append("smaller copies and masks of its pages were left out")
        if self.kind.loader == "jpegload":
            self.notes += find_left_out(self.path, self.kind.start)
        if self.kind.loader in ("heifload", "heif"):
            self.notes += _in_boxes(self.path)
        if self.kind.start:
            self.notes.append(f"{self.kind.start} bytes before the image were skipped")

    def load(self, page: int = 0, *, all_pages: bool = False, header_only: bool = False) -> Any:
        """Open the file with libvips, which reads only its header at first.

        Args:
            page: its number, without copies.
            all_pages: the frames of an animation, one below the other.
            header_only: the pixels are not needed.
        """
        loader = self.kind.loader
        if loader in WHOLE:
            image, notes = self._load_whole(page, header_only)
            self.notes += notes
            return image
        return self.load_lazily(page, all_pages=all_pages, header_only=header_only)

    def load_lazily(
        self,
        page: int = 0,
        *,
        all_pages: bool = False,
        header_only: bool = False,
        fail_on: str = "error",
    ) -> Any:
        """Load kinds that libvips reads itself; ``fail_on`` is its option."""
        if self.kind.loader == "tiffload":
            return self._load_tiff(page, header_only, fail_on)
        options: dict[str, Any] = {"n": -1} if all_pages else {"page": page} if page else {}
        if self.kind.loader == "svgload":
            options = {"scale": self.scale}
        return load_with_libvips(self.path, self.kind, fail_on=fail_on, **options)

    def _load_whole(self, page: int, header_only: bool) -> tuple[Any, list[str]]:
        loader, limit = self.kind.loader, None if header_only else self.max_pixels
        if loader == "pillow":
            return load_with_pillow(self.path, self.kind, limit, page=page, header_only=header_only)
        if loader == "netpbm":
            if header_only:
                return blank_netpbm(self.path), []
            return libvips().Image.new_from_array(read_netpbm(self.path, limit)[0]), []
        if loader == "heif":
            return load_heic(self.path, limit)
        if libvips().type_find("VipsOperation", "jxlload"):
            return load_with_libvips(self.path, self.kind, "jxlload", fail_on="error"), []
        return load_jxl(self.path, limit, header_only=header_only)

    def _directory(self, page: int) -> tuple[int, TiffPage | None]:
        """The number of a page of a TIFF including copies, and its directory."""
        number = self._numbers[page] if page < len(self._numbers) else page
        return number, self._tiff_pages[number] if number < len(self._tiff_pages) else None

    def tile_size(self, page: int) -> tuple[int, int] | None:
        """Width and height of the tiles of a page; None if it is not tiled."""
        _, directory = self._directory(page)
        return directory.tile_size if directory is not None else None

    def missing_bytes(self, page: int) -> int:
        """How many bytes of an uncompressed page of a TIFF are missing at the end of the file."""
        _, directory = self._directory(page)
        if self.kind.loader != "tiffload" or directory is None or directory.is_compressed:
            return 0
        return max(0, directory.end - Path(self.path).stat().st_size)

    def _load_tiff(self, page: int, header_only: bool, fail_on: str = "error") -> Any:
        number, directory = self._directory(page)
        if fail_on == "error" and self.tile_size(page):
            fail_on = "warning"  # otherwise libvips ignores damaged tiles
        if directory is not None and (extra := directory.extra_channels):
            self.notes.append(f"{extra} channels besides color and alpha were left out")
        if directory is not None and directory.photometric in (CIELAB, ICCLAB):
            self.notes.append("Lab was converted to sRGB")
        if directory is not None and directory.by_pillow:
            kind = Kind("TIFF", "pillow", "TIFF")
            limit = None if header_only else self.max_pixels
            return load_with_pillow(self.path, kind, limit, page=number, header_only=header_only)[0]
        return load_tiff_page(
            self.path,
            directory,
            number,
            last=self._tiff_pages[-1] if self.keep and directory and not self._complete else None,
            header_only=header_only,
            check=lambda image: check_size(image.width, image.height, self.max_pixels),
            access="sequential",
            fail_on=fail_on,
            revalidate=True,
        )

    def count_pages(self, first: Any) -> int:
        """Frames and pages in the file.

        Raises:
            ValueError: the last one is cut short, and damaged files are not kept.
        """
        if self.kind.loader == "tiffload":
            if not self._complete:
                if not self.keep:
                    raise ValueError(f"only {len(self._numbers)} of its pages are present")
                self.notes.append("the file is damaged: some of its pages are missing")
            return max(1, len(self._numbers))
        if self.kind.loader == "gifload" and not self.keep and not is_complete_gif(self.path):
            raise ValueError("it ends in the middle of a frame")
        return int(first.get("n-pages")) if first.get_typeof("n-pages") else 1


@contextmanager
def explaining(path: PathLike) -> Iterator[None]:
    """Turn decoder errors into messages about unsupported kinds of files."""
    try:
        yield
    except (FileNotFoundError, PermissionError):
        raise
    except (libvips().Error, OSError, ValueError) as error:
        if reason := _unsupported(path, error):
            raise ImageError(reason) from error
        raise


def _unsupported(path: PathLike, error: Exception) -> str | None:
    """The unsupported feature, if that is why a file cannot be decoded."""
    if not Path(path).is_file():
        return None
    kind = find_kind(path)
    if kind.loader == "jpegload" and (coding := name_coding(path, kind.start)):
        return f"convert it to PNG or a baseline JPEG: JPEG with {coding} is not supported"
    for line in str(error).splitlines():
        if re.search(r"unsupported|not supported|not configured", line, re.IGNORECASE):
            return f"convert it to PNG: this kind of {kind.name} is not supported ({line.strip()})"
    return None


def load_with_libvips(path: PathLike, kind: Kind, operation: str = "", **options: Any) -> Any:
    """Open a file, or the part of it that is the image, with libvips."""
    operation = operation or kind.loader
    source: Any = os.fsencode(path)
    if kind.start:
        with Path(path).open("rb") as file:
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
        source, operation = memoryview(mapped)[kind.start :], f"{operation}_buffer"
    return libvips().Operation.call(
        operation,
        source,
        access="sequential",  # rows come once, from top to bottom
        revalidate=True,  # never cached pixels of a file that was overwritten
        **options,
    )


def _in_boxes(path: PathLike) -> list[str]:
    """What an AVIF or HEIC holds besides its image, by the names in its first boxes."""
    with Path(path).open("rb") as file:
        head = file.read(_MAX_BOXES)
    head = head[: head.find(b"mdat")] if b"mdat" in head else head
    notes = []
    if head[8:12] in (b"avis", b"msf1", b"hevc", b"hevx"):
        notes.append("only the first image of its sequence was read")
    if b"tmap" in head or b"hdrgainmap" in head.lower():
        notes.append("its gain map for HDR displays was left out")
    if b"auxid:2" in head or b"auxiliary:depth" in head or b"disparity" in head:
        notes.append("its depth map was left out")
    return notes

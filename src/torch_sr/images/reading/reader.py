"""Read the rows of an image file from top to bottom, page after page.

::

    kinds.py       the first bytes of a file -> how it is opened, or why it cannot be
    opening.py     a file -> a lazy libvips image; uses ../formats for what libvips cannot read
    damaged.py     what can be read of a damaged file
    decoding.py    upright, gray or RGB, in 8 or 16 bits or floats in [0, 1]
    extras.py      metadata that libvips does not read
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from types import TracebackType
from typing import Any

from torch_sr.aliases import PathLike, Pixels
from torch_sr.errors import ImageError
from torch_sr.images.errors import naming_file
from torch_sr.images.formats.pillow import check_size
from torch_sr.images.formats.png.apng import Animation, is_animated
from torch_sr.images.image import Header, Metadata, Pages, profile_fits
from torch_sr.images.reading.damaged import load_damaged
from torch_sr.images.reading.decoding import decode, header_of, is_turned, to_gray_or_rgb
from torch_sr.images.reading.extras import complete
from torch_sr.images.reading.kinds import find_kind
from torch_sr.images.reading.opening import TALL, Source, explaining
from torch_sr.images.vips import clear_errors, field, libvips, read_rows

MAX_PIXELS = 500_000_000  # of a page: 1.5 GB of 8-bit RGB
DAMAGED = (
    "is damaged, cut short or not what its first bytes say: download it again, or let torch-sr "
    "upscale --damaged keep take what can be read of it ({})"
)
_LOST = "is damaged, and nothing of it can be read: download it again ({})"


class ImageReader:
    """An open image file, to read rows from top to bottom, page after page.

    Args:
        path: PNG, JPEG, WebP, TIFF, AVIF, HEIC, GIF, BMP or another kind that
            docs/guides/upscaling.md lists.
        max_pixels: refuse a page of more pixels than this before decoding; ``None``: no limit.
        pages: read all frames or pages, one below the other, or those of animations only
            (``"frames"``); otherwise the first only.
        damaged: ``refuse`` a damaged file, or ``keep`` what can be read of it and make the rest
            gray.
        drawing_size: height and width of a drawing (SVG) -> those to render it at; by default its
            own size.

    Attributes:
        header: of the page that is being read; pages of a TIFF may differ.
        page_headers: of all pages that are read.
        metadata: of the page that is being read.
        drawing_size: height and width that a drawing was rendered for; None for other files.
        notes: what the reader leaves out, one sentence each; complete when the
            last row has been read.

    Raises:
        ImageError: the file is missing, unreadable, not an image, damaged, or too large.
    """

    def __init__(
        self,
        path: PathLike,
        max_pixels: int | None = MAX_PIXELS,
        *,
        pages: Pages = False,
        damaged: str = "refuse",
        drawing_size: Callable[[int, int], tuple[int, int]] | None = None,
    ) -> None:
        if damaged not in ("refuse", "keep"):
            raise ImageError(f"damaged must be 'refuse' or 'keep', not {damaged!r}")
        self.path = path
        self.notes: list[str] = []
        self._keep = damaged == "keep"
        self._animation: Animation | None = None
        self._still: Any = None
        self._left_out: str | None = None
        with self._naming():
            clear_errors()
            kind = find_kind(path)
            self._source = Source(path, kind, max_pixels, self._keep)
            self.drawing_size = self._set_scale(drawing_size) if kind.loader == "svgload" else None
            self._open_first(pages)
        self._row = 0

    def _set_scale(
        self, target: Callable[[int, int], tuple[int, int]] | None
    ) -> tuple[int, int] | None:
        """Render a drawing at least as large as requested."""
        own = self._source.load()
        if target is None:
            return None
        height, width = target(own.height, own.width)
        self._source.scale = max(height / own.height, width / own.width)
        self.notes.append("the drawing was rendered at the target's size, without a network")
        return height, width

    def _open_first(self, pages: Pages) -> None:
        source = self._source
        num_notes = len(source.notes)
        first = self._load(0)
        inks, profile = first.interpretation == "cmyk", field(first, "icc-profile-data")
        loader = source.kind.loader
        animation = self._find_animation(loader)
        several = animation is not None or loader in (
            *TALL,
            "tiffload",
        )  # AVIF sequences are not animations
        count = 1
        if not several or is_wanted(loader, pages):
            count = self._count_frames(animation) if animation else source.count_pages(first)
        if count > 1 and not several:
            self.notes.append(f"the first of its {count} images was read")
            count = 1
        self._left_out = _left_out(source, first, animation, count, is_wanted(loader, pages))
        if animation is not None and count > 1:
            self._animation, self._still, first = animation, first, None
            if animation.has_still:
                self.notes.append("the still image for viewers without animation was left out")
        tall = count > 1 and loader in TALL
        if tall:  # all frames are loaded again, with the same notes
            del source.notes[num_notes:]
        self._open_page(0, first=None if tall else first, count=count, tall=tall)
        if inks:
            self.notes.append("CMYK was converted to sRGB")
        elif profile and self.metadata.icc is None:
            self.notes.append("the ICC profile is for another color space and was left out")
        self._pages = iter(range(1, 1 if tall else count))
        self.page_headers = (self.header,) * count
        if count > 1 and not tall and self._animation is None:
            others = tuple(page_header(source, number, count) for number in range(1, count))
            self.page_headers = (self.header, *others)

    def _find_animation(self, loader: str) -> Animation | None:
        """The frames of an animated PNG; of a damaged one that is kept, those that are there."""
        try:
            animation = open_animation(self.path, loader)
            if animation is None or not self._keep:
                return animation
            animation.drop_damaged()
        except (ValueError, OSError):
            if not self._keep:
                raise
            animation = None
        if not animation:
            self.notes.append("the file is damaged: its animation cannot be read")
        return animation or None

    def _count_frames(self, animation: Animation) -> int:
        if missing := animation.missing:
            are = "is" if missing == 1 else "are"
            reason = f"{missing} of its {len(animation) + missing} frames {are} missing"
            if not self._keep:
                raise ValueError(reason)
            self.notes.append(f"the file is damaged: {reason}")
        return len(animation)

    def _load(self, number: int, tall: bool = False) -> Any:
        load = load_damaged if self._keep else Source.load
        if self._animation is not None:
            image = self._animation.load(number, self._still)
        else:
            image = load(self._source, number, all_pages=tall)
        height = field(image, "page-height") or image.height
        check_size(image.width, height, self._source.max_pixels)
        return image

    def _open_page(self, number: int, *, first: Any = None, count: int, tall: bool = False) -> None:
        loaded = [first] if first is not None else []
        self._image, values = decode(lambda: loaded.pop() if loaded else self._load(number, tall))
        self.header = header_of(self._image, count, tall=tall)
        if number == 0 or self._animation is None:  # all frames of an animation share the metadata
            self.metadata = replace(_metadata(self._image, self.header.channels), values=values)
        if number == 0:
            self._complete_metadata()
        if self._source.kind.loader == "svgload":  # rendered at any resolution
            self.metadata = replace(self.metadata, dpi=None)
        self._region = libvips().Region.new(self._image)
        self._note_all(self._source.notes)
        self._row = 0

    def _complete_metadata(self) -> None:
        """Add the metadata of the first page that libvips does not read."""
        found = replace(self.metadata, left_out=self._left_out)
        if self._animation is not None:
            found = replace(found, delays=self._animation.delays, loop=self._animation.plays)
        self.metadata, notes = complete(self.path, self._source.kind.loader, found)
        self._note_all(notes)

    def _note_all(self, notes: list[str]) -> None:
        self.notes += [note for note in dict.fromkeys(notes) if note not in self.notes]

    def read(self, count: int) -> Pixels:
        """The next ``count`` rows, fewer at the end of a page of a document: ``(h, W, layers)``.

        Raises:
            ImageError: the file is damaged or cut short.
        """
        with self._naming():
            if self._row == self._image.height:
                self._open_page(next(self._pages), count=self.header.pages)
            count = min(count, self._image.height - self._row)
            header = self.header
            shape = (count, header.width, header.layers)
            rows = read_rows(self._region, self._row, shape, header.dtype)
            self._row += count
            return rows

    @contextmanager
    def _naming(self) -> Iterator[None]:
        with naming_file(self.path, _LOST if self._keep else DAMAGED), explaining(self.path):
            yield

    def close(self) -> None:
        """Close the file."""
        del self._region, self._image

    def __enter__(self) -> ImageReader:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def page_header(source: Source, number: int, count: int | None) -> Header:
    """The header of one page of `count`; None: count the pages."""
    image = source.load(number, header_only=True)
    if count is None:
        count = source.count_pages(image) if source.kind.loader in (*TALL, "tiffload") else 1
    return header_of(to_gray_or_rgb(image), count, turned=is_turned(image))


def is_wanted(loader: str, pages: Pages) -> bool:
    """Whether the frames or pages of this loader are requested."""
    return pages is True or (pages == "frames" and loader != "tiffload")


def open_animation(path: PathLike, loader: str) -> Animation | None:
    """The frames of an animated PNG; None for other files."""
    animation = Animation(path) if loader == "pngload" and is_animated(path) else None
    return animation or None  # without frames it is a still image


def _left_out(
    source: Source, first: Any, animation: Animation | None, count: int, wanted: bool
) -> str | None:
    """The number of frames or pages after the first `count`, in words."""
    loader, total = source.kind.loader, count
    if animation is not None:
        total = len(animation) + (animation.has_still if count == 1 else 0)
        total += 0 if wanted else animation.missing
    elif loader in TALL:
        total = field(first, "n-pages") or 1
    elif loader == "tiffload":
        with suppress(ValueError):  # missing pages do not affect the first
            total = source.count_pages(first)
    if (more := total - count) < 1:
        return None
    return f"{more} {'page' if loader == 'tiffload' else 'frame'}{'s' if more > 1 else ''}"


def _metadata(image: Any, channels: int) -> Metadata:
    icc = field(image, "icc-profile-data")
    delays = field(image, "delay")
    return Metadata(
        icc=icc if icc and profile_fits(icc, channels) else None,
        exif=field(image, "exif-data"),
        xmp=field(image, "xmp-data"),
        iptc=field(image, "iptc-data"),
        dpi=image.xres * 25.4 if image.xres != 1.0 else None,  # 1.0: libvips' "unknown"
        dpi_y=image.yres * 25.4 if image.yres != image.xres else None,
        delays=tuple(delays) if delays else None,
        loop=field(image, "loop"),
        bits=field(image, "bits-per-sample") if image.format == "ushort" else None,
    )

"""A file -> an Image, or its rows from top to bottom.

::

    kinds.py         the first bytes of a file -> how it is opened, or why it cannot be
    opening.py       a file -> a lazy libvips image, by libvips itself where it knows the kind
    tiff_pages.py    what the directories of a TIFF say; tiff_samples.py: what libvips does not know
    pillow_files.py  icons, textures, JPEG 2000, HEIC ...; netpbm.py: PBM to PAM
    damaged.py       what can be read of a damaged file
    decoding.py      upright, gray or RGB, of 8 bits, 16 bits or floats in [0, 1]
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from types import TracebackType
from typing import Any

import numpy as np

from torch_sr.aliases import Pixels
from torch_sr.errors import ImageError
from torch_sr.images.compositing import LUMA, to_rgb
from torch_sr.images.damaged import load_damaged
from torch_sr.images.decoding import decode, header_of, is_turned, to_gray_or_rgb
from torch_sr.images.extras import complete
from torch_sr.images.fetching import fetch, field
from torch_sr.images.formats import Pages
from torch_sr.images.kinds import find_kind
from torch_sr.images.naming import PathLike, forget_complaints, libvips, naming
from torch_sr.images.opening import TALL, Source, explaining
from torch_sr.images.pillow_files import check_size
from torch_sr.images.pixels import Header, Image, Metadata, convert, max_value, profile_fits
from torch_sr.images.png.apng import Animation, is_animated

MAX_PIXELS = 500_000_000  # of a page: 1.5 GB of 8-bit RGB
_DAMAGED = (
    "is damaged, cut short or not what its first bytes say: fetch it again, or let torch-sr "
    "upscale --damaged keep take what can be read of it ({})"
)
_LOST = "is damaged, and nothing of it can be read: fetch it again ({})"
_TOLERANCE = 0.25  # by which resampling may make floats exceed [0, 1]


class ImageReader:
    """An open image file, whose rows are fetched from top to bottom, page after page.

    Args:
        path: PNG, JPEG, WebP, TIFF, AVIF, HEIC, GIF, BMP or another kind that docs/upscaling.md
            lists.
        max_pixels: refuse a page of more pixels than this before decoding; ``None``: no limit.
        pages: give all frames or pages, one below the other, or those of animations only
            (``"frames"``); otherwise the first only.
        damaged: ``refuse`` a damaged file, or ``keep`` what can be read of it and make the rest
            gray.
        drawing_size: height and width of a drawing (SVG) -> what it is rendered at; otherwise its
            own size.

    Attributes:
        header: of the page that is being read; pages of a TIFF may differ.
        page_headers: of all pages that are read.
        metadata: of the page that is being read.
        drawing_size: height and width that a drawing was rendered for; None for other files.
        notes: what the file holds and the reader leaves out, one sentence each, complete once the
            last row was read.

    Raises:
        ImageError: the file is missing, unreadable, no image, damaged, or too large.
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
            forget_complaints()
            kind = find_kind(path)
            self._source = Source(path, kind, max_pixels, self._keep)
            self.drawing_size = self._set_scale(drawing_size) if kind.loader == "svgload" else None
            self._open_first(pages)
        self._row = 0

    def _set_scale(
        self, target: Callable[[int, int], tuple[int, int]] | None
    ) -> tuple[int, int] | None:
        """Have a drawing rendered at least as large as it is wanted."""
        own = self._source.load()
        if target is None:
            return None
        height, width = target(own.height, own.width)
        self._source.scale = max(height / own.height, width / own.width)
        self.notes.append("the drawing was rendered at the target's size, without a network")
        return height, width

    def _open_first(self, pages: Pages) -> None:
        source = self._source
        told = len(source.notes)
        first = self._load(0)
        inks, profile = first.interpretation == "cmyk", field(first, "icc-profile-data")
        loader = source.kind.loader
        animation = self._find_animation(loader)
        several = animation is not None or loader in (*TALL, "tiffload")  # AVIF's are no animation
        count = 1
        if not several or _wanted(loader, pages):
            count = self._count_frames(animation) if animation else source.count_pages(first)
        if count > 1 and not several:
            self.notes.append(f"the first of its {count} pictures was read")
            count = 1
        self._left_out = _left_out(source, first, animation, count, _wanted(loader, pages))
        if animation is not None and count > 1:
            self._animation, self._still, first = animation, first, None
            if animation.has_still:
                self.notes.append("the still picture for viewers without animation was left out")
        tall = count > 1 and loader in TALL
        if tall:  # all frames are loaded anew, and so are the notes
            del source.notes[told:]
        self._open_page(0, first=None if tall else first, count=count, tall=tall)
        if inks:
            self.notes.append("CMYK was converted to sRGB")
        elif profile and self.metadata.icc is None:
            self.notes.append("the ICC profile is for other colours than these, left out")
        self._pages = iter(range(1, 1 if tall else count))
        self.page_headers = (self.header,) * count
        if count > 1 and not tall and self._animation is None:
            others = tuple(_page_header(source, number, count) for number in range(1, count))
            self.page_headers = (self.header, *others)

    def _find_animation(self, loader: str) -> Animation | None:
        """That of an animated PNG; of a damaged one that is kept, the frames that are there."""
        try:
            animation = _animation(self.path, loader)
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
        if number == 0 or self._animation is None:  # whose frames are described once
            self.metadata = replace(_metadata(self._image, self.header.channels), values=values)
        if number == 0:
            self._complete_metadata()
        if self._source.kind.loader == "svgload":  # rendered at any resolution
            self.metadata = replace(self.metadata, dpi=None)
        self._region = libvips().Region.new(self._image)
        self._note_all(self._source.notes)
        self._row = 0

    def _complete_metadata(self) -> None:
        """Of the first page, by what libvips does not tell."""
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
            rows = fetch(self._region, self._row, shape, header.dtype)
            self._row += count
            return rows

    @contextmanager
    def _naming(self) -> Iterator[None]:
        with naming(self.path, _LOST if self._keep else _DAMAGED), explaining(self.path):
            yield

    def close(self) -> None:
        """Let go of the file."""
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


def read_image(
    path: PathLike,
    max_pixels: int | None = MAX_PIXELS,
    *,
    strictly: bool = False,
    damaged: str = "refuse",
) -> Image:
    """Read an image file: upright, gray or RGB, at its own depth, with alpha and metadata.

    Of animations the first frame, of documents the first page is read. Floats far beyond [0, 1] and
    integers of other depths are scaled into it, and ``values`` says what they were. Floats that
    exceed it a little, as resampling makes them, stay as they are.

    Args:
        path: any file that :class:`ImageReader` reads.
        max_pixels: refuse more pixels than this before decoding; ``None`` for no limit.
        strictly: scale floats that exceed [0, 1] a little too.
        damaged: ``refuse`` a damaged file, or ``keep`` what can be read of it.

    Raises:
        ImageError: the file is missing, unreadable, no image, damaged, or too large.
    """
    with ImageReader(path, max_pixels, damaged=damaged) as reader:
        image = Image.from_array(reader.read(reader.header.height))
        values = reader.metadata.values
        if values is not None and values.is_near_unit(_TOLERANCE) and not strictly:
            image, values = Image.from_array(values.restore(image.to_array(), image.channels)), None
        told = {**vars(reader.metadata), "delays": None, "loop": None, "values": values}
        return replace(image, **told)


def read_size(path: PathLike) -> tuple[int, int]:
    """Height and width of the upright image, from the file's header alone."""
    header = read_header(path)
    return header.height, header.width


def read_header(path: PathLike, *, pages: Pages = False) -> Header:
    """Tell what :func:`read_image` will give, from the file's header alone.

    Args:
        path: any file that :class:`ImageReader` reads.
        pages: count frames and pages too; the rest is said of the first.

    Raises:
        ImageError: the file is missing, unreadable or no image.
    """
    with naming(path, _DAMAGED), explaining(path):
        source = Source(path, find_kind(path))
        wanted = _wanted(source.kind.loader, pages)
        animation = _animation(path, source.kind.loader) if wanted else None
        if animation is None:
            return _page_header(source, 0, None if wanted else 1)
        header = _page_header(source, 0, len(animation))
        return replace(header, alpha=header.alpha or animation.alpha)


def _page_header(source: Source, number: int, count: int | None) -> Header:
    image = source.load(number, header_only=True)
    if count is None:
        count = source.count_pages(image) if source.kind.loader in (*TALL, "tiffload") else 1
    return header_of(to_gray_or_rgb(image), count, turned=is_turned(image))


def read_samples(path: PathLike, channels: int = 3, depth: int = 8) -> Pixels:
    """Read an image as ``(H, W, channels)`` of 8 or 16 bits, for training and testing data.

    Args:
        path: any file that :func:`read_image` reads.
        channels: 1 for luma (ITU-R BT.601), 3 for RGB without alpha, 4 for RGBA.
        depth: 8 gives uint8, 16 gives uint16, whatever the file has.

    Raises:
        ImageError: what :func:`read_image` refuses, and values that no format defines, since the
            pictures of a pair must be scaled alike.
    """
    if channels not in (1, 3, 4):
        raise ImageError(f"channels must be 1, 3 or 4, not {channels}")
    dtype = {8: np.uint8, 16: np.uint16}[depth]
    image = read_image(path)
    if (values := image.values) is not None:
        with naming(path):
            raise ImageError(
                "convert it to 8 bits, 16 bits or floats from 0 to 1: its values from "
                f"{values.low:g} to {values.high:g} cannot be compared with other pictures'"
            )
    color = convert(image.color, dtype)
    if channels == 1:
        if image.channels == 1:
            return color
        luma: Pixels = color @ np.array(LUMA).reshape(3, 1)
        return np.rint(luma).astype(dtype)
    color = to_rgb(color)
    if channels == 3:
        return color
    opaque = np.full(color.shape[:2], max_value(dtype), dtype=dtype)
    alpha = opaque if image.alpha is None else convert(image.alpha, dtype)
    return np.dstack([color, alpha])


def _wanted(loader: str, pages: Pages) -> bool:
    """Whether frames, or pages of a document, are asked for."""
    return pages is True or (pages == "frames" and loader != "tiffload")


def _animation(path: PathLike, loader: str) -> Animation | None:
    animation = Animation(path) if loader == "pngload" and is_animated(path) else None
    return animation or None  # one without frames is a picture


def _left_out(
    source: Source, first: Any, animation: Animation | None, count: int, wanted: bool
) -> str | None:
    """Frames and pages of the file beyond the first `count`, in words."""
    loader, total = source.kind.loader, count
    if animation is not None:
        total = len(animation) + (animation.has_still if count == 1 else 0)
        total += 0 if wanted else animation.missing
    elif loader in TALL:
        total = field(first, "n-pages") or 1
    elif loader == "tiffload":
        with suppress(ValueError):  # some are missing, which does not matter to the first
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

"""A file -> an Image, or its rows from top to bottom.

The way is file -> ``_load`` (a lazy libvips image) -> ``_decode`` (upright, gray or RGB) -> rows.
Formats are told by their first bytes, never by their names. Files are read by libvips through
``pyvips``, except BMP and PPM, which its wheel lacks and Pillow reads, and HEIC, for which
``pillow-heif`` is an extra. Rows are fetched in the calling thread: libvips' own worker threads do
not survive a fork, and a data loader forks.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from torch_sr.errors import ImageError, MissingExtraError
from torch_sr.images.naming import PathLike, libvips, naming
from torch_sr.images.pixels import (
    DTYPES,
    Header,
    Image,
    Metadata,
    Pixels,
    convert,
    max_value,
    profile_fits,
)
from torch_sr.images.tiff_exif import read_exif

IMAGE_SUFFIXES = frozenset(
    {
        *(".avif", ".bmp", ".gif", ".heic", ".heif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm"),
        *(".tif", ".tiff", ".webp"),
    }
)
MAX_PIXELS = 500_000_000  # of a page: 1.5 GB of 8-bit RGB

_LOADERS = {  # the first bytes of a file -> the libvips operation that reads it
    rb"\x89PNG\r\n\x1a\n": "pngload",
    rb"\xff\xd8\xff": "jpegload",
    rb"RIFF....WEBP": "webpload",
    rb"II[*+]\0|MM\0[*+]": "tiffload",
    rb"....ftyp(hei[cxms]|hev[cx])": "heif",
    rb"....ftyp(avi[fs]|mif1|msf1)": "heifload",
    rb"GIF8[79]a": "gifload",
    rb"BM....\0\0\0\0|P[1-6]\s": "pillow",
}
_TALL = ("gifload", "webpload")  # whose frames libvips gives as one tall image
_BAND_ROWS = 256
_SMALL = 100_000_000  # bytes that may lie in memory for the sake of turning


class ImageReader:
    """An open image file, whose rows are fetched from top to bottom, page after page.

    Args:
        path: PNG, JPEG, WebP, TIFF, AVIF, HEIC, GIF, BMP or PPM.
        max_pixels: refuse a page of more pixels than this before decoding; ``None``: no limit.
        pages: give all frames or pages, one below the other; otherwise the first only.

    Attributes:
        notes: what the file holds and the reader leaves out, one sentence each, complete once the
            last row was read.

    Raises:
        ImageError: the file is missing, unreadable, no image, damaged, or too large.
    """

    def __init__(
        self, path: PathLike, max_pixels: int | None = MAX_PIXELS, *, pages: bool = False
    ) -> None:
        self.path = path
        self.notes: list[str] = []
        with naming(path):
            loader = _find_loader(path)
            first = _load(path, loader)
            count = _count_pages(path, loader, first) if pages else 1
            self._page: Callable[[int], Any] = lambda number: _decode(
                _load(path, loader, page=number), max_pixels
            )
            tall = count > 1 and loader in _TALL
            self._image = _decode(
                _load(path, loader, all_pages=True) if tall else first, max_pixels
            )
            self._pages = iter(range(1, 1 if tall else count))
            self.header = _header(self._image, count, tall)
            self.metadata = _metadata(self._image, self.header.channels)
            if loader == "tiffload":
                self.metadata = replace(self.metadata, exif=read_exif(path))
            self._region = libvips().Region.new(self._image)
        self._row = 0

    def read(self, count: int) -> Pixels:
        """The next ``count`` rows, fewer at the end of a page of a document: ``(h, W, layers)``.

        Raises:
            ImageError: the file is damaged or cut short.
        """
        with naming(self.path):
            if self._row == self._image.height:
                self._turn_over()
            count = min(count, self._image.height - self._row)
            header = self.header
            shape = (count, header.width, header.layers)
            rows = _fetch(self._region, self._row, shape, header.dtype)
            self._row += count
            return rows

    def _turn_over(self) -> None:
        self._image = self._page(next(self._pages))
        found = _header(self._image, self.header.pages, False)
        if found != self.header:
            raise ImageError("its pages differ in size or colours; split it into files of one page")
        self._region = libvips().Region.new(self._image)
        self._row = 0

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


def read_image(path: PathLike, max_pixels: int | None = MAX_PIXELS) -> Image:
    """Read an image file: upright, gray or RGB, at its own depth, with alpha and metadata.

    Of animations the first frame, of documents the first page is read.

    Args:
        path: any file that :class:`ImageReader` reads.
        max_pixels: refuse more pixels than this before decoding; ``None`` for no limit.

    Raises:
        ImageError: the file is missing, unreadable, no image, damaged, or too large.
    """
    with ImageReader(path, max_pixels) as reader:
        image = Image.from_array(reader.read(reader.header.height))
        return replace(image, **{**vars(reader.metadata), "delays": None, "loop": None})


def read_size(path: PathLike) -> tuple[int, int]:
    """Height and width of the upright image, from the file's header alone."""
    header = read_header(path)
    return header.height, header.width


def read_header(path: PathLike, *, pages: bool = False) -> Header:
    """Tell what :func:`read_image` will give, from the file's header alone.

    Args:
        path: any file that :class:`ImageReader` reads.
        pages: count frames and pages too.

    Raises:
        ImageError: the file is missing, unreadable or no image.
    """
    with naming(path):
        loader = _find_loader(path)
        image = _load(path, loader)
        turned = _field(image, "orientation") in (5, 6, 7, 8)
        count = _count_pages(path, loader, image) if pages else 1
        header = _header(image, count, tall=False)
        if image.interpretation == "cmyk":
            header = replace(header, alpha=False)
        return replace(header, height=header.width, width=header.height) if turned else header


def read_samples(path: PathLike, channels: int = 3, depth: int = 8) -> Pixels:
    """Read an image as ``(H, W, channels)`` of 8 or 16 bits, for training and testing data.

    Args:
        path: any file that :func:`read_image` reads.
        channels: 1 for luma (ITU-R BT.601), 3 for RGB without alpha, 4 for RGBA.
        depth: 8 gives uint8, 16 gives uint16, whatever the file has.
    """
    if channels not in (1, 3, 4):
        raise ImageError(f"channels must be 1, 3 or 4, not {channels}")
    dtype = {8: np.uint8, 16: np.uint16}[depth]
    image = read_image(path)
    color = convert(image.color, dtype)
    if channels == 1:
        if image.channels == 1:
            return color
        luma: Pixels = color @ np.array([[0.299], [0.587], [0.114]])
        return np.rint(luma).astype(dtype)
    if image.channels == 1:
        color = np.repeat(color, 3, axis=2)
    if channels == 3:
        return color
    opaque = np.full(color.shape[:2], max_value(dtype), dtype=dtype)
    alpha = opaque if image.alpha is None else convert(image.alpha, dtype)
    return np.dstack([color, alpha])


def is_image_name(path: PathLike) -> bool:
    """Whether a file of a scanned folder counts as an image, by its name alone.

    >>> is_image_name("set5/baby.PNG"), is_image_name("._baby.png"), is_image_name("Thumbs.db")
    (True, False, False)
    """
    name = Path(path).name
    return not name.startswith(".") and Path(name).suffix.lower() in IMAGE_SUFFIXES


# --- What a file says ---------------------------------------------------------------------------


def _header(image: Any, pages: int, tall: bool) -> Header:
    colors = 1 if image.bands < 3 else 3
    return Header(
        height=image.height // pages if tall else image.height,
        width=image.width,
        channels=colors,
        depth={"uchar": 8, "ushort": 16}.get(image.format, 32),
        alpha=image.bands > colors,
        pages=pages,
    )


def _metadata(image: Any, channels: int) -> Metadata:
    icc = _field(image, "icc-profile-data")
    delays = _field(image, "delay")
    return Metadata(
        icc=icc if icc and profile_fits(icc, channels) else None,
        exif=_field(image, "exif-data"),
        xmp=_field(image, "xmp-data"),
        iptc=_field(image, "iptc-data"),
        dpi=image.xres * 25.4 if image.xres != 1.0 else None,  # 1.0: libvips' "unknown"
        delays=tuple(delays) if delays else None,
        loop=_field(image, "loop"),
    )


def _count_pages(path: PathLike, loader: str, first: Any) -> int:
    """Frames or pages that can be enlarged one like the other; 1 for a pyramid of reductions."""
    count = _field(first, "n-pages") or 1
    if loader in _TALL:
        return int(count)
    if loader != "tiffload":  # several images of an AVIF are no animation
        return 1
    sizes = [(first.width, first.height)]
    for number in range(1, count):
        page = _load(path, loader, page=number)
        sizes.append((page.width, page.height))
    if all(b[0] < a[0] and b[1] <= a[1] for a, b in pairwise(sizes)):
        return 1
    if different := [number for number, size in enumerate(sizes, 1) if size != sizes[0]]:
        raise ImageError(
            f"page {different[0]} is {sizes[different[0] - 1]} pixels, page 1 {sizes[0]}; "
            "split it into files of one page"
        )
    return int(count)


def _field(image: Any, name: str) -> Any:
    return image.get(name) if image.get_typeof(name) else None


# --- Decoding -----------------------------------------------------------------------------------


def _decode(image: Any, max_pixels: int | None) -> Any:
    """Make it upright, gray or RGB with or without alpha, of a type in `DTYPES`; still lazily."""
    height = _field(image, "page-height") or image.height
    if max_pixels is not None and image.width * height > max_pixels:
        raise ImageError(
            f"{image.width}x{height} pixels are more than the limit of {max_pixels}; "
            "raise max_pixels if you trust this file"
        )
    if image.interpretation == "cmyk":
        depth = 16 if image.format == "ushort" else 8
        image = image.icc_transform("srgb", embedded=True, input_profile="cmyk", depth=depth)
    elif image.interpretation in ("lab", "labs", "labq", "lch", "xyz", "yxy", "hsv"):
        image = image.colourspace("srgb")
    if image.format not in DTYPES or image.bands > 4:
        raise ImageError(
            f"{image.bands} channels of type {image.format} are no picture; "
            "convert it to gray or RGB of 8 bits, 16 bits or float"
        )
    bits = _field(image, "bits-per-sample")
    if image.format == "ushort" and bits in (10, 12) and _field(image, "heif-compression"):
        top = ((1 << bits) - 1) << (16 - bits)  # libvips shifts, so white falls short of 65535
        image = (image * (65535 / top)).rint().cast("ushort")
    return _upright(image)


def _upright(image: Any) -> Any:
    """Apply the EXIF orientation: on a copy, since turning reads against the rows.

    A large copy lies in a file that libvips removes.
    """
    if _field(image, "orientation") in (None, 1):
        return image
    if image.width * image.height * image.bands * DTYPES[image.format]().itemsize > _SMALL:
        copy = libvips().Image.new_temp_file("%s.v")
        image.write(copy)
    else:
        shape = (image.height, image.width, image.bands)
        pixels = _fetch(libvips().Region.new(image), 0, shape, DTYPES[image.format])
        copy = libvips().Image.new_from_array(pixels).copy(xres=image.xres, yres=image.yres)
        kept = ("icc-profile-data", "exif-data", "xmp-data", "iptc-data", "orientation")
        for field in kept:  # the last after EXIF, which would reset it
            if (value := _field(image, field)) is not None:
                copy.set_type(image.get_typeof(field), field, value)
    return copy.autorot()


def _fetch(region: Any, first: int, shape: tuple[int, int, int], dtype: DTypeLike) -> Pixels:
    """Decode rows from ``first`` on into an array ``(H, W, bands)``, in this thread."""
    pixels = np.empty(shape, dtype=dtype)
    for top in range(0, len(pixels), _BAND_ROWS):
        band = pixels[top : top + _BAND_ROWS]
        data = region.fetch(0, first + top, shape[1], len(band))
        band[...] = np.frombuffer(data, dtype=dtype).reshape(band.shape)
    return pixels


# --- Opening ------------------------------------------------------------------------------------


def _load(path: PathLike, loader: str, *, page: int = 0, all_pages: bool = False) -> Any:
    """Hand the file to libvips, which reads only its header yet."""
    if loader in ("pillow", "heif"):
        return _load_with_pillow(path, loader)
    options: dict[str, Any] = {"n": -1} if all_pages else {"page": page} if page else {}
    return libvips().Operation.call(
        loader,
        os.fsencode(path),
        access="sequential",  # rows come once, from top to bottom
        fail_on="error",
        revalidate=True,  # never the cached pixels of a file since overwritten
        **options,
    )


def _load_with_pillow(path: PathLike, loader: str) -> Any:
    from PIL import Image as PillowImage

    if loader == "heif":
        return _load_heic(path)
    try:
        with PillowImage.open(path, formats=("BMP", "PPM")) as image:
            deep = image.mode.startswith("I")
            mode = image.mode if image.mode in ("L", "RGB", "RGBA") else "RGB"
            mode = "L" if image.mode == "1" else mode
            pixels = np.asarray(image, np.uint16) if deep else np.asarray(image.convert(mode))
    except (SyntaxError, PillowImage.DecompressionBombError) as error:
        raise ValueError(str(error)) from error
    return libvips().Image.new_from_array(pixels)


def _load_heic(path: PathLike) -> Any:
    """Photographs of phones: HEVC, which libvips' wheel leaves out for its patents."""
    try:
        import pillow_heif
    except ImportError:
        missing = MissingExtraError("pillow-heif, which reads HEIC,", "heif")
        raise ImageError(str(missing)) from None
    file = pillow_heif.open_heif(os.fspath(path), convert_hdr_to_8bit=False)  # already upright
    if file.size[0] * file.size[1] > MAX_PIXELS:  # before it is decoded
        raise ImageError(f"{file.size[0]}x{file.size[1]} pixels are more than {MAX_PIXELS}")
    pixels = np.asarray(file)
    if pixels.dtype == np.uint16:  # libheif shifts 10 and 12 bits up, as libvips does
        bits = file.info.get("bit_depth", 10)
        pixels = np.rint(pixels * (65535 / (((1 << bits) - 1) << (16 - bits)))).astype(np.uint16)
    image = libvips().Image.new_from_array(pixels)
    for field, key in (("icc-profile-data", "icc_profile"), ("exif-data", "exif")):
        if blob := file.info.get(key):
            image.set_type(libvips().GValue.blob_type, field, blob)
    return image


def _find_loader(path: PathLike) -> str:
    mode = Path(path).stat().st_mode
    if stat.S_ISDIR(mode):
        raise ImageError("is a folder, not an image; name a file inside it")
    if not stat.S_ISREG(mode):  # opening a pipe or a device could wait for ever
        raise ImageError("is a pipe or device, not a regular file; save the image to a file first")
    with Path(path).open("rb") as file:
        head = file.read(32)
    if not head:
        raise ImageError("is empty (0 bytes); fetch or export it again")
    for magic, loader in _LOADERS.items():
        if re.match(magic, head, re.DOTALL):
            return loader
    raise ImageError(
        "is not an image of a known kind; convert it to PNG, JPEG, WebP, TIFF, AVIF, GIF or BMP"
    )

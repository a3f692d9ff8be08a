"""Any image file <-> pixels: the one module that knows about files, bit depths, alpha and profiles.

Reading goes file -> ``_open`` (a lazy, upright, gray-or-RGB libvips image) -> ``_pixels`` (an
array, fetched band by band) -> :class:`Image`. A reader of row bands can share the first two.
Pixels are never colour-managed: the embedded ICC profile travels along untouched. Only spaces that
no network understands (CMYK, Lab) are converted, to sRGB.

Formats are told by their first bytes, never by their names. Files are read by libvips through
``pyvips``, except BMP and PPM, which its wheel lacks and Pillow reads. Pixels are fetched in the
calling thread: libvips' own worker threads do not survive a fork, and a data loader forks.

Nothing here knows PyTorch. Animations yield their first frame, many-page files their first page.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import DTypeLike, NDArray

from torch_sr.errors import ImageError
from torch_sr.files import atomic_write

__all__ = [
    "IMAGE_SUFFIXES",
    "MAX_PIXELS",
    "WRITABLE_SUFFIXES",
    "Header",
    "Image",
    "check_writable",
    "convert",
    "from_unit",
    "is_image_name",
    "read_header",
    "read_image",
    "read_samples",
    "read_size",
    "to_nchw",
    "to_unit",
    "write_image",
]

PathLike: TypeAlias = str | os.PathLike[str]
Pixels: TypeAlias = NDArray[Any]  # uint8, uint16 or float32

IMAGE_SUFFIXES = frozenset(
    {".avif", ".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
)
MAX_PIXELS = 500_000_000  # 1.5 GB of 8-bit RGB

_LOADERS = {  # the first bytes of a file -> the libvips operation that reads it
    rb"\x89PNG\r\n\x1a\n": "pngload",
    rb"\xff\xd8\xff": "jpegload",
    rb"RIFF....WEBP": "webpload",
    rb"II[*+]\0|MM\0[*+]": "tiffload",
    rb"....ftyp(avi[fs]|mif1|msf1|hei[cx])": "heifload",
    rb"GIF8[79]a": "gifload",
    rb"BM....\0\0\0\0|P[1-6]\s": "pillow",
}
_DTYPES = {"uchar": np.uint8, "ushort": np.uint16, "float": np.float32}
_BAND_ROWS = 256
_UNREADABLE = "cannot be decoded ({}); it is damaged, cut short or of a rare kind: fetch it again"
_UNWRITABLE = "cannot be written ({}); is there room on the disk?"


@dataclass(frozen=True, eq=False)
class Image:
    """Pixels and what travels with them.

    Args:
        color: gray ``(H, W, 1)`` or RGB ``(H, W, 3)``; uint8, uint16, or float32 in [0, 1].
        alpha: opacity ``(H, W)`` of the same type, not multiplied into the colour.
        icc: the ICC profile that the colours are meant in; none means sRGB.
        exif: the EXIF block as found; its orientation is already applied to the pixels.
        dpi: resolution for print.

    Raises:
        ImageError: arrays of another shape or type.
    """

    color: Pixels
    alpha: Pixels | None = None
    icc: bytes | None = None
    exif: bytes | None = None
    dpi: float | None = None

    def __post_init__(self) -> None:
        if self.color.ndim != 3 or self.channels not in (1, 3) or self.color.size == 0:
            raise ImageError(f"colour must be (H, W, 1) or (H, W, 3), not {self.color.shape}")
        if self.color.dtype not in _DTYPES.values():
            raise ImageError(f"pixels must be uint8, uint16 or float32, not {self.color.dtype}")
        if self.alpha is not None and (
            self.alpha.shape != self.color.shape[:2] or self.alpha.dtype != self.color.dtype
        ):
            raise ImageError("alpha must be (H, W) of the colour's size and type")

    @classmethod
    def from_array(cls, array: Pixels) -> Image:
        """Split gray ``(H, W)`` or ``(H, W, 1..4)`` into colour and, where even, a last alpha."""
        layers = array[..., None] if array.ndim == 2 else array
        if layers.ndim != 3 or not 1 <= layers.shape[2] <= 4:
            raise ImageError(f"an image is (H, W) or (H, W, 1 to 4), not {array.shape}")
        colors = 1 if layers.shape[2] < 3 else 3
        alpha = layers[..., colors].copy() if layers.shape[2] > colors else None
        return cls(np.ascontiguousarray(layers[..., :colors]), alpha)

    def to_array(self) -> Pixels:
        """Join colour and alpha, if any: ``(H, W, 1..4)``."""
        return self.color if self.alpha is None else np.dstack([self.color, self.alpha])

    @property
    def height(self) -> int:
        """Rows of pixels."""
        return int(self.color.shape[0])

    @property
    def width(self) -> int:
        """Pixels in a row."""
        return int(self.color.shape[1])

    @property
    def channels(self) -> int:
        """Colour channels, alpha not counted: 1 or 3."""
        return int(self.color.shape[2])

    @property
    def depth(self) -> int:
        """Bits per sample: 8, 16, or 32 for float."""
        return int(self.color.dtype.itemsize) * 8

    @property
    def max_value(self) -> int:
        """What stands for full brightness: 255, 65535 or 1."""
        return _max_value(self.color.dtype)


@dataclass(frozen=True)
class Header:
    """What a file says of its picture before the pixels: upright size, colours, bits.

    Args:
        height, width: of the upright image.
        channels: 1 or 3, alpha not counted.
        depth: bits per sample: 8, 16, or 32 for float.
        alpha: whether there is a channel of opacity.
    """

    height: int
    width: int
    channels: int
    depth: int
    alpha: bool


# --- Reading ------------------------------------------------------------------------------------


def read_image(path: PathLike, max_pixels: int | None = MAX_PIXELS) -> Image:
    """Read an image file: upright, gray or RGB, at its own depth, with alpha and profile.

    Args:
        path: PNG, JPEG, WebP, TIFF, AVIF, GIF, BMP or PPM.
        max_pixels: refuse more pixels than this before decoding; ``None`` for no limit.

    Raises:
        ImageError: the file is missing, unreadable, no image, damaged, or too large.
    """
    with _naming(path):
        opened = _open(path, max_pixels)
        image = Image.from_array(_pixels(opened))
        icc = _field(opened, "icc-profile-data")
        return replace(
            image,
            icc=icc if icc and _profile_fits(icc, image.channels) else None,
            exif=_field(opened, "exif-data"),
            dpi=opened.xres * 25.4 if opened.xres != 1.0 else None,  # 1.0: libvips' "unknown"
        )


def read_size(path: PathLike) -> tuple[int, int]:
    """Height and width of the upright image, from the file's header alone."""
    header = read_header(path)
    return header.height, header.width


def read_header(path: PathLike) -> Header:
    """Tell what :func:`read_image` will give, from the file's header alone.

    Raises:
        ImageError: the file is missing, unreadable or no image.
    """
    with _naming(path):
        image = _load(path)
        turned = _field(image, "orientation") in (5, 6, 7, 8)
        colors = 1 if image.bands < 3 else 3
        return Header(
            height=image.width if turned else image.height,
            width=image.height if turned else image.width,
            channels=colors,
            depth={"uchar": 8, "ushort": 16}.get(image.format, 32),
            alpha=image.bands > colors and image.interpretation != "cmyk",
        )


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
    opaque = np.full(color.shape[:2], _max_value(dtype), dtype=dtype)
    alpha = opaque if image.alpha is None else convert(image.alpha, dtype)
    return np.dstack([color, alpha])


def is_image_name(path: PathLike) -> bool:
    """Whether a file of a scanned folder counts as an image, by its name alone.

    >>> is_image_name("set5/baby.PNG"), is_image_name("._baby.png"), is_image_name("Thumbs.db")
    (True, False, False)
    """
    name = Path(path).name
    return not name.startswith(".") and Path(name).suffix.lower() in IMAGE_SUFFIXES


def _open(path: PathLike, max_pixels: int | None) -> Any:
    """Open lazily: upright, gray or RGB with or without alpha, of a type in `_DTYPES`."""
    image = _load(path)
    if max_pixels is not None and image.width * image.height > max_pixels:
        raise ImageError(
            f"{image.width}x{image.height} pixels are more than the limit of {max_pixels}; "
            "raise max_pixels if you trust this file"
        )
    if image.interpretation == "cmyk":
        depth = 16 if image.format == "ushort" else 8
        image = image.icc_transform("srgb", embedded=True, input_profile="cmyk", depth=depth)
    elif image.interpretation in ("lab", "labs", "labq", "lch", "xyz", "yxy", "hsv"):
        image = image.colourspace("srgb")
    if image.format not in _DTYPES or image.bands > 4:
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
    """Apply the EXIF orientation: on a copy in memory, since turning reads against the rows."""
    if _field(image, "orientation") in (None, 1):
        return image
    pixels = _pixels(image)
    memory = _vips().Image.new_from_array(pixels).copy(xres=image.xres, yres=image.yres)
    for field in ("icc-profile-data", "exif-data", "orientation"):  # EXIF would reset the last
        if (value := _field(image, field)) is not None:
            memory.set_type(image.get_typeof(field), field, value)
    return memory.autorot()


def _pixels(image: Any) -> Pixels:
    """Decode into an array ``(H, W, bands)``, in this thread."""
    pixels = np.empty((image.height, image.width, image.bands), dtype=_DTYPES[image.format])
    region = _vips().Region.new(image)
    for top in range(0, image.height, _BAND_ROWS):
        band = pixels[top : top + _BAND_ROWS]
        data = region.fetch(0, top, image.width, band.shape[0])
        band[...] = np.frombuffer(data, dtype=pixels.dtype).reshape(band.shape)
    return pixels


def _load(path: PathLike) -> Any:
    """Hand the file to libvips, which reads only its header yet."""
    loader = _find_loader(path)
    if loader == "pillow":
        return _load_with_pillow(path)
    return _vips().Operation.call(
        loader,
        os.fsencode(path),
        access="sequential",  # rows come once, from top to bottom
        fail_on="error",
        revalidate=True,  # never the cached pixels of a file since overwritten
    )


def _load_with_pillow(path: PathLike) -> Any:
    from PIL import Image as PillowImage

    try:
        with PillowImage.open(path, formats=("BMP", "PPM")) as image:
            deep = image.mode.startswith("I")
            mode = image.mode if image.mode in ("L", "RGB", "RGBA") else "RGB"
            mode = "L" if image.mode == "1" else mode
            pixels = np.asarray(image, np.uint16) if deep else np.asarray(image.convert(mode))
    except (SyntaxError, PillowImage.DecompressionBombError) as error:
        raise ValueError(str(error)) from error
    return _vips().Image.new_from_array(pixels)


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


# --- Writing ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Format:
    """What a file format can hold."""

    name: str
    max_side: int
    deepest: int = 8  # bits per sample
    quality: int | None = None  # the default; none: always lossless
    gray: bool = True
    alpha: bool = True
    lossless: bool = True


_JPEG = _Format("JPEG", 65_500, quality=95, alpha=False, lossless=False)
_TIFF = _Format("TIFF", 10_000_000, deepest=32)
_WRITERS = {
    ".png": _Format("PNG", 1_000_000, deepest=16),
    ".jpg": _JPEG,
    ".jpeg": _JPEG,
    ".webp": _Format("WebP", 16_383, quality=95, gray=False),
    ".tif": _TIFF,
    ".tiff": _TIFF,
    ".avif": _Format("AVIF", 16_384, deepest=16, quality=85, gray=False),  # of 16 bits, 12 are kept
}
WRITABLE_SUFFIXES = tuple(_WRITERS)


def write_image(
    path: PathLike,
    image: Image,
    *,
    format: str | None = None,  # noqa: A002
    quality: int | None = None,
    lossless: bool = False,
) -> Path:
    """Write an image file whole or not at all.

    What the format cannot hold is converted: depth is rounded down to what fits, JPEG's
    transparency becomes white, WebP and AVIF store gray as RGB.

    Args:
        path: where to; an existing file is replaced.
        image: pixels, with the profile and metadata to keep.
        format: png, jpg, webp, tif or avif; without it, the name's suffix decides.
        quality: 1 to 100 for JPEG (default 95), WebP (95) and AVIF (85).
        lossless: WebP and AVIF without loss; PNG and TIFF always are.

    Raises:
        ImageError: what :func:`check_writable` refuses, a bad option, or a failed write.
    """
    path = Path(path)
    check_writable(path, image.height, image.width, format=format)
    writer = _WRITERS[_suffix(path, format)]
    with _naming(path, _UNWRITABLE):
        if quality is not None and not 1 <= quality <= 100:
            raise ImageError(f"quality must be 1 to 100, not {quality}")
        if lossless and not writer.lossless:
            raise ImageError(f"{writer.name} is never lossless; write .png, .webp, .tif or .avif")
        with atomic_write(path) as temporary:
            _save(temporary, _fit(image, writer), writer, quality or writer.quality, lossless)
    return path


def check_writable(
    path: PathLike,
    height: int,
    width: int,
    *,
    format: str | None = None,  # noqa: A002
) -> None:
    """Raise an :class:`ImageError` now if an image of this size could not be written later."""
    path = Path(path)
    with _naming(path):
        writer = _WRITERS.get(suffix := _suffix(path, format))
        if writer is None:
            known = ", ".join(WRITABLE_SUFFIXES)
            raise ImageError(f"'{suffix}' is no format to write; use one of {known}")
        if max(height, width) > writer.max_side:
            raise ImageError(
                f"{width}x{height} pixels do not fit: {writer.name} ends at {writer.max_side} "
                "per side; write .tif instead"
            )
        if not path.parent.is_dir():
            raise ImageError("its folder does not exist; create it first")
        if path.is_dir():
            raise ImageError("is a folder; give a file name")
        if not os.access(path.parent, os.W_OK | os.X_OK):
            raise ImageError("its folder may not be written to; choose another or mend its rights")


def _suffix(path: Path, format: str | None) -> str:  # noqa: A002
    return (path.suffix if format is None else "." + format.lstrip(".")).lower()


def _fit(image: Image, writer: _Format) -> Image:
    """Find the nearest image that the format can hold."""
    color, alpha, icc = image.color, image.alpha, image.icc
    if alpha is not None and not writer.alpha:
        opacity = to_unit(alpha)[..., None]
        color = from_unit(to_unit(color) * opacity + (1 - opacity), color.dtype)
        alpha = None
    if image.channels == 1 and not writer.gray:
        color = np.repeat(color, 3, axis=2)
    if image.depth > writer.deepest:
        dtype = np.uint8 if writer.deepest == 8 else np.uint16
        color = convert(color, dtype)
        alpha = None if alpha is None else convert(alpha, dtype)
    if icc is not None and not _profile_fits(icc, color.shape[2]):
        icc = None
    return Image(color, alpha, icc, image.exif, image.dpi)


def _save(path: Path, image: Image, writer: _Format, quality: int | None, lossless: bool) -> None:
    """Write straight to `path`; the one place that knows the encoders' settings."""
    name = os.fsencode(path)
    source = _to_vips(image, twelve_bits=writer.name == "AVIF")
    if writer.name == "PNG":
        source.pngsave(name, compression=6)
    elif writer.name == "JPEG":
        source.jpegsave(name, Q=quality, subsample_mode="off", optimize_coding=True)
    elif writer.name == "WebP":
        source.webpsave(name, Q=quality, lossless=lossless, exact=True, smart_subsample=True)
    elif writer.name == "AVIF":
        source.heifsave(
            name,
            compression="av1",
            Q=quality,
            lossless=lossless,
            bitdepth=min(image.depth, 12),
            subsample_mode="off",
        )
    else:
        source.tiffsave(
            name,
            compression="deflate",
            predictor="float" if image.depth == 32 else "horizontal",
            bigtiff=image.color.nbytes > 2**31,  # its compressed size is not known yet
        )


def _to_vips(image: Image, *, twelve_bits: bool) -> Any:
    pixels = np.ascontiguousarray(image.to_array())
    if twelve_bits and image.depth == 16:  # round here: libvips would cut
        pixels = np.rint(pixels * np.float64(4095 / 65535)).astype(np.uint16) << 4
    gray, rgb = {8: ("b-w", "srgb"), 16: ("grey16", "rgb16"), 32: ("b-w", "scrgb")}[image.depth]
    per_mm = (image.dpi or 72) / 25.4
    vips = _vips()
    source = vips.Image.new_from_array(pixels).copy(
        interpretation=gray if image.channels == 1 else rgb, xres=per_mm, yres=per_mm
    )
    for field, blob in (("icc-profile-data", image.icc), ("exif-data", image.exif)):
        if blob is not None:
            source.set_type(vips.GValue.blob_type, field, blob)
    source.set_type(vips.GValue.gint_type, "orientation", 1)  # after EXIF, which sets it too
    return source


# --- Pixels as numbers --------------------------------------------------------------------------


def to_unit(array: Pixels) -> NDArray[np.float32]:
    """Integers or floats as float32 in [0, 1]; what is no number becomes 0.

    >>> to_unit(np.array([0, 51, 255], dtype=np.uint8)).tolist()
    [0.0, 0.20000000298023224, 1.0]
    """
    unit: NDArray[np.float32] = array.astype(np.float32) / np.float32(_max_value(array.dtype))
    if np.issubdtype(array.dtype, np.floating):
        np.clip(np.nan_to_num(unit, copy=False), 0, 1, out=unit)
    return unit


def from_unit(array: Pixels, dtype: DTypeLike) -> Pixels:
    """Floats in [0, 1] clamped and rounded to uint8 or uint16, or only cast to float32."""
    if np.issubdtype(dtype, np.floating):
        return array.astype(dtype)
    levels: Pixels = np.rint(to_unit(array) * np.float32(_max_value(dtype)))
    return levels.astype(dtype)


def to_nchw(array: Pixels) -> NDArray[np.float32]:
    """Turn pixels ``(H, W, C)`` of any depth into a network's ``(1, C, H, W)`` in [0, 1]."""
    return np.ascontiguousarray(to_unit(array).transpose(2, 0, 1)[None])


def convert(array: Pixels, dtype: DTypeLike) -> Pixels:
    """Pixels in another type, the same picture: 65535 <-> 255 <-> 1.0."""
    return array if array.dtype == dtype else from_unit(to_unit(array), dtype)


def _max_value(dtype: DTypeLike) -> int:
    return int(np.iinfo(dtype).max) if np.issubdtype(dtype, np.integer) else 1


# --- libvips and its errors ---------------------------------------------------------------------


def _vips() -> Any:
    try:
        import pyvips
    except Exception as error:  # pyvips lacks, or libvips is missing, or cannot start
        raise ImageError(
            f"libvips is not usable ({_reason(error)}); run: pip install 'pyvips[binary]'"
        ) from error
    return pyvips


def _field(image: Any, name: str) -> Any:
    return image.get(name) if image.get_typeof(name) else None


def _profile_fits(icc: bytes, channels: int) -> bool:
    return icc[16:20] == (b"GRAY" if channels == 1 else b"RGB ")


@contextmanager
def _naming(path: PathLike, failed: str = _UNREADABLE) -> Iterator[None]:
    """Turn whatever goes wrong inside into one line that begins with the file's name."""
    shown = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in os.fspath(path))
    try:
        yield
    except ImageError as error:
        raise ImageError(f"{shown}: {error}") from error.__cause__
    except FileNotFoundError as error:
        raise ImageError(f"{shown}: no such file; check the path") from error
    except PermissionError as error:
        raise ImageError(f"{shown}: permission denied; mend its rights") from error
    except (OSError, ValueError, MemoryError, _vips().Error) as error:
        raise ImageError(f"{shown}: {failed.format(_reason(error))}") from error


def _reason(error: Exception) -> str:
    """Pick an error's telling line; libvips piles up many, each as ``domain: message``."""
    text = getattr(error, "strerror", None) or getattr(error, "detail", None) or str(error)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    system = [line for line in lines if line.startswith("system error: ")]
    plain = [line for line in lines if "bad seek" not in line]
    line = (system or plain or lines or [type(error).__name__])[0]
    return line.partition(": ")[2] or line

"""Formats that only Pillow reads: icons, textures, JPEG 2000, Photoshop.

libvips' wheel does not read them. A file is opened by the plugin of its kind only; no plugin used
here runs another program or reads another file. The size is checked before anything is decoded;
then the whole image is decoded into memory.
"""

from __future__ import annotations

import functools
import io
import os
import struct
from pathlib import Path
from typing import Any

import numpy as np

from torch_sr.aliases import PathLike, Pixels
from torch_sr.errors import ImageError, MissingExtraError
from torch_sr.images.reading.kinds import Kind
from torch_sr.images.vips import blank, libvips

_YCBCR = 6  # PhotometricInterpretation of a TIFF
_PSD_MODES = {0: "bitmap", 1: "gray", 2: "indexed", 3: "RGB", 4: "CMYK", 8: "duotone"}


def check_size(width: int, height: int, max_pixels: int | None) -> None:
    """Raise an :class:`ImageError` for a page of more pixels than are allowed."""
    if max_pixels is not None and width * height > max_pixels:
        raise ImageError(
            f"{width}x{height} pixels are more than the limit of {max_pixels}; "
            "raise max_pixels if you trust this file"
        )


def load_with_pillow(
    path: PathLike,
    kind: Kind,
    max_pixels: int | None,
    *,
    page: int = 0,
    header_only: bool = False,
    padding: bytes | None = None,
) -> tuple[Any, list[str]]:
    """Read a file as a libvips image; also return notes on what was left out.

    Args:
        path: the file.
        kind: what it is.
        max_pixels: refuse more pixels than this before decoding.
        page: its number, from 0.
        header_only: do not decode: the pixels are black.
        padding: bytes to add to a file that is cut short.

    Raises:
        ImageError: too large, or of a kind that is not read.
        ValueError, OSError: damaged.
    """
    try:
        with _open(path, kind, padding) as image:
            if page:
                image.seek(page)
            if kind.plugin == "TIFF":
                _correct_ycbcr(image)
            width, height = image.size
            check_size(width, height, max_pixels)
            notes = _left_out(image, kind, path)
            if header_only:
                result = _blank(image)
            else:
                result = libvips().Image.new_from_array(_pixels(image, kind, path))
            return _with_metadata(image, result, kind, path), notes
    except (ImageError, OSError, MemoryError):
        raise
    except Exception as error:  # plugins raise errors of any kind for unexpected data
        raise ValueError(f"{error}" or type(error).__name__) from error


@functools.cache
def _plugins() -> dict[str, Any]:
    from PIL import Image as PillowImage

    PillowImage.init()
    return PillowImage.OPEN


def _open(path: PathLike, kind: Kind, padding: bytes | None) -> Any:
    """Open by the plugin's class, since ``Image.open`` has a global size limit."""
    if kind.plugin == "PSD":
        _check_psd(path)
    make = _plugins()[kind.plugin][0]
    if padding is None:
        return make(os.fspath(path))
    return make(io.BytesIO(Path(path).read_bytes() + padding), os.fspath(path))


def _correct_ycbcr(image: Any) -> None:
    """Read uncompressed YCbCr of a TIFF: Pillow before 13 takes it for what JPEG decodes to."""
    wrong = all(t.codec_name == "raw" and t.args[0] == "RGBX" for t in image.tile)
    if wrong and image.tag_v2.get(262) == _YCBCR:
        image._mode = "YCbCr"
        image.tile = [t._replace(args=("YCbCr", *t.args[1:])) for t in image.tile]


def _pixels(image: Any, kind: Kind, path: PathLike) -> Pixels:
    mode = image.mode
    if mode in ("I;16", "I;16L", "I;16B", "I;16N"):
        pixels: Pixels = np.asarray(image).astype(np.uint16)
        if white := _white(kind, path):
            pixels = np.rint(pixels * (65535 / white)).astype(np.uint16)
        return pixels
    if mode == "F":
        return np.asarray(image, np.float32)
    if mode == "I":
        return np.asarray(image, np.int32)
    return np.asarray(image if mode == _target_mode(image) else image.convert(_target_mode(image)))


def _target_mode(image: Any) -> str:
    """The mode that the pixels are converted to."""
    mode: str = image.mode
    if mode in ("L", "LA", "RGB", "RGBA", "CMYK"):
        return mode
    if mode == "1":
        return "L"
    if mode == "LAB":
        raise ImageError("convert it to RGB: Lab colors are not supported in this format")
    return "RGBA" if mode in ("PA", "La", "RGBa") or "transparency" in image.info else "RGB"


def _white(kind: Kind, path: PathLike) -> int | None:
    """The value of white, if it is not 65535."""
    if kind.plugin == "TIFF":
        return 4095  # the only depth that is read this way
    bits = _jpeg2000_bits(path) if kind.plugin == "JPEG2000" else 16
    return ((1 << bits) - 1) << (16 - bits) if 8 < bits < 16 else None


def _blank(image: Any) -> Any:
    mode = image.mode
    deep = np.uint16 if mode.startswith("I;16") else {"F": np.float32, "I": np.int32}.get(mode)
    bands = 1 if deep else {"L": 1, "LA": 2, "RGB": 3}.get(_target_mode(image), 4)
    width, height = image.size
    return blank(width, height, bands, deep or np.uint8)


def _with_metadata(image: Any, result: Any, kind: Kind, path: PathLike) -> Any:
    vips = libvips()
    info = image.info
    if image.mode == "CMYK":
        result = result.copy(interpretation="cmyk")
    dpi = info.get("dpi")
    if dpi and np.isfinite(dpi[0]) and dpi[0] > 1:  # 1: Pillow's "unknown" of TIFF
        result = result.copy(xres=float(dpi[0]) / 25.4, yres=float(dpi[1]) / 25.4)
    exif = image.getexif()
    block = info.get("exif") or (exif.tobytes() if len(exif) else None)
    icc = info.get("icc_profile") or (_bmp_profile(path) if kind.plugin == "BMP" else None)
    for name, blob in (("icc-profile", icc), ("exif", block), ("xmp", info.get("xmp"))):
        if isinstance(blob, bytes) and blob:
            result = result.copy()
            result.set_type(vips.GValue.blob_type, f"{name}-data", blob)
    if exif.get(0x0112) in range(2, 9):
        result = result.copy()
        result.set_type(vips.GValue.gint_type, "orientation", exif[0x0112])
    return result


def _left_out(image: Any, kind: Kind, path: PathLike) -> list[str]:
    """Notes on what the file holds besides the image that is read."""
    if kind.plugin in ("ICO", "ICNS", "CUR"):
        others = len(image.info.get("sizes", ())) - 1
        return [f"the largest of its {others + 1} sizes was read"] * (others > 0)
    frames = getattr(image, "n_frames", 1)
    if kind.plugin == "PSD":
        return ["its layers were read as one flat image"] * (frames > 1)
    if kind.plugin == "JPEG2000" and image.mode.startswith("RGB"):
        bits = _jpeg2000_bits(path)
        return [f"its {bits}-bit samples were read as 8 bits"] * (bits > 8)
    if kind.plugin in ("DCX", "JXL") and frames > 1:
        return [f"the first of its {frames} images was read"]
    return []


def _jpeg2000_bits(path: PathLike) -> int:
    """Bits per sample in the SIZ segment of the codestream (ISO 15444-1, A.5.1)."""
    with Path(path).open("rb") as file:
        head = file.read(1 << 16)
    start = head.find(b"\xff\x4f\xff\x51")
    return (head[start + 42] & 0x7F) + 1 if 0 <= start < len(head) - 42 else 8


def _check_psd(path: PathLike) -> None:
    """Raise an :class:`ImageError` for Photoshop documents that are not supported."""
    with Path(path).open("rb") as file:
        head = file.read(26)
    if len(head) < 26:
        raise ValueError("its header is cut short")
    depth, mode = struct.unpack_from(">HH", head, 22)
    if depth not in (1, 8):
        raise ImageError(f"save it as TIFF: Photoshop documents of {depth} bits are not supported")
    if mode not in _PSD_MODES:
        name = {7: "multichannel", 9: "Lab"}.get(mode, f"color mode {mode}")
        raise ImageError(f"save it as TIFF: Photoshop documents in {name} are not supported")


def _bmp_profile(path: PathLike) -> bytes | None:
    """The ICC profile of a BMP, which Pillow ignores (BITMAPV5HEADER)."""
    with Path(path).open("rb") as file:
        head = file.read(138)
        if len(head) < 138 or head[14] != 124 or head[70:74] != b"DEBM":
            return None
        start, size = struct.unpack_from("<II", head, 126)
        file.seek(14 + start)
        profile = file.read(min(size, 1 << 24))
    return profile if len(profile) == size else None


def load_jxl(path: PathLike, max_pixels: int | None, *, header_only: bool) -> tuple[Any, list[str]]:
    """Load JPEG XL with a plugin of Pillow."""
    try:
        import pillow_jxl  # noqa: F401 - it registers itself
    except ImportError:
        missing = MissingExtraError("pillow-jxl-plugin, which reads JPEG XL,", "jxl")
        raise ImageError(str(missing)) from None
    _plugins.cache_clear()
    kind = Kind("JPEG XL", "jxl", "JXL")
    return load_with_pillow(path, kind, max_pixels, header_only=header_only)


def load_heic(path: PathLike, max_pixels: int | None) -> tuple[Any, list[str]]:
    """Load HEIC with pillow-heif, since libvips' wheel has no HEVC because of its patents."""
    try:
        import pillow_heif
    except ImportError:
        missing = MissingExtraError("pillow-heif, which reads HEIC,", "heif")
        raise ImageError(str(missing)) from None
    file = pillow_heif.open_heif(os.fspath(path), convert_hdr_to_8bit=False)  # already upright
    width, height = file.size
    check_size(width, height, max_pixels)
    others = len(file) - 1
    notes = [f"the first of its {others + 1} images was read"] * (others > 0)
    pixels = np.asarray(file)
    if pixels.dtype == np.uint16:  # libheif shifts 10 and 12 bits to 16, like libvips
        bits = file.info.get("bit_depth", 10)
        pixels = np.rint(pixels * (65535 / (((1 << bits) - 1) << (16 - bits)))).astype(np.uint16)
    image = libvips().Image.new_from_array(pixels)
    keys = {"icc-profile": "icc_profile", "exif": "exif", "xmp": "xmp"}
    for name, key in keys.items():
        if blob := file.info.get(key):
            image.set_type(libvips().GValue.blob_type, f"{name}-data", blob)
    return image, notes

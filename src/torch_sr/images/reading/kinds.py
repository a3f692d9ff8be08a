"""Recognize a file by its first bytes, and choose how to open it.

If it cannot be opened, the error says why. The file's name has no influence, with one exception:
old Targa files have no signature, and are recognized by a plausible header and their suffix.
"""

from __future__ import annotations

import re
import stat
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

from torch_sr.aliases import PathLike
from torch_sr.errors import ImageError

IMAGE_SUFFIXES = frozenset(
    {
        *(".apng", ".avif", ".avifs", ".bmp", ".dib", ".gif", ".heic", ".heif", ".hif", ".jfi"),
        *(".jfif", ".jif", ".jpe", ".jpeg", ".jpg", ".mpo", ".pam", ".pbm", ".pfm"),
        *(".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp"),
    }
)
_TARGA_SUFFIXES = (".tga", ".icb", ".vda", ".vst", ".tpic")
_HEAD = 1024  # bytes that are read; other data before an image must fit into them


@dataclass(frozen=True)
class Kind:
    """How a file is opened.

    Args:
        name: of the format, for users.
        loader: an operation of libvips, or ``pillow``, ``netpbm``, ``heif`` or ``jxl``.
        plugin: of Pillow, if it opens the file.
        start: bytes of other data before the image.
    """

    name: str
    loader: str
    plugin: str = ""
    start: int = 0


_JPEG = Kind("JPEG", "jpegload")
_PNG = Kind("PNG", "pngload")
_SVG = Kind("SVG", "svgload")
_HEIF = Kind("HEIC", "heif")
_AVIF = Kind("AVIF", "heifload")
_TARGA = Kind("Targa", "pillow", "TGA")
_DIB = rb"[\x0c\x10\x28\x34\x38\x40\x6c\x7c]\0\0\0"  # sizes of a BMP's second header

_KINDS = {  # the first bytes of a file -> how it is opened
    rb"\x89PNG\r\n\x1a\n": _PNG,
    rb"\xff\xd8\xff": _JPEG,
    rb"RIFF....WEBP": Kind("WebP", "webpload"),
    rb"II[*+]\0|MM\0[*+]": Kind("TIFF", "tiffload"),
    rb"GIF8[79]a": Kind("GIF", "gifload"),
    rb"BM.{12}" + _DIB: Kind("BMP", "pillow", "BMP"),
    _DIB + rb"...\0...[\0\xff]\x01\0[\x01\x04\x08\x10\x18\x20]\0": Kind("BMP", "pillow", "DIB"),
    rb"P[1-7Ff]\s": Kind("PNM", "netpbm"),
    rb"\0\0\0\x0cJXL \r\n\x87\n|\xff\x0a": Kind("JPEG XL", "jxl"),
    rb"\0\0\0\x0cjP[ \x1a]{2}\r\n\x87\n|\xff\x4f\xff\x51": Kind("JPEG 2000", "pillow", "JPEG2000"),
    rb"\0\0\x01\0[\x01-\xff].": Kind("ICO", "pillow", "ICO"),
    rb"\0\0\x02\0[\x01-\xff]\0": Kind("CUR", "pillow", "CUR"),
    rb"icns": Kind("ICNS", "pillow", "ICNS"),
    rb"8BPS\0\x01": Kind("PSD", "pillow", "PSD"),
    rb"DDS \x7c\0\0\0": Kind("DDS", "pillow", "DDS"),
    rb"qoif": Kind("QOI", "pillow", "QOI"),
    rb"\x01\xda[\0\x01][\x01\x02]": Kind("SGI", "pillow", "SGI"),
    rb"\x59\xa6\x6a\x95": Kind("Sun raster", "pillow", "SUN"),
    rb"\x0a[\0\x02\x03\x04\x05][\0\x01][\x01\x02\x04\x08]": Kind("PCX", "pillow", "PCX"),
    rb"\xb1\x68\xde\x3a": Kind("DCX", "pillow", "DCX"),
    rb"BLP[12]": Kind("BLP", "pillow", "BLP"),
    rb"DanM|LinS": Kind("MSP", "pillow", "MSP"),
    rb"/\* XPM \*/": Kind("XPM", "pillow", "XPM"),
    rb"(/\*.*?\*/)?\s*#define\s+\S+_width\s": Kind("XBM", "pillow", "XBM"),
    rb"(\xef\xbb\xbf)?\s*<([?!].*?)?(svg|svg:svg)[\s>]": _SVG,
}

_RAW = "develop it in a raw converter and name the TIFF or JPEG that it exports"
_VIDEO = "give it the suffix of its kind (.mp4, .mkv ...) to have it read as a video"
_NAMED = {  # the first bytes of a file -> what it is, and what to do
    rb"II\*\0.{4}CR\x02|....ftypcrx |FUJIFILMCCD-RAW|IIR[OS]|MMOR|IIU\0|FOVb|\0MRM|HEAPCCDR": (
        "a camera's raw file",
        _RAW,
    ),
    rb"%!PS|\xc5\xd0\xd3\xc6": ("an EPS or PostScript document", "export it as PNG or TIFF"),
    rb".{0,100}%PDF-": ("a PDF document", "export its pages as PNG, for example with pdftoppm"),
    rb"8BPS\0\x02": ("a Photoshop document in the large format PSB", "save it as TIFF or PNG"),
    rb"\x76\x2f\x31\x01": ("an OpenEXR file", "save it as a TIFF of 32-bit floats"),
    rb"#\?(RADIANCE|RGBE)": ("a Radiance HDR file", "save it as a TIFF of 32-bit floats"),
    rb"II\xbc\x01": ("a JPEG XR file", "convert it to PNG or TIFF"),
    rb"SIMPLE  =": ("a FITS file", "save it as a TIFF of 32-bit floats"),
    rb"\xd7\xcd\xc6\x9a|\x01\0\0\0.{36} EMF": ("a Windows metafile", "export it as PNG"),
    rb"gimp xcf": ("a GIMP document", "export it as PNG or TIFF"),
    rb"AT&TFORM": ("a DjVu document", "export its pages as PNG or TIFF"),
    rb".{128}DICM": ("a DICOM file", "export it as PNG or TIFF"),
    rb"\x89HDF|CDF[\x01\x02]": ("a file of scientific data", "save the image as TIFF"),
    rb"PK\x03\x04": ("a ZIP archive", "extract it and name the files inside"),
    rb"version https://git-lfs": ("a Git LFS pointer, not the file", "run: git lfs pull"),
    rb"(\xef\xbb\xbf)?\s*<(!doctype )?html": ("a web page (HTML)", "download the image itself"),
    rb"....ftyp(isom|mp4|avc1|qt  |M4V |iso|3g)|\x1a\x45\xdf\xa3|RIFF....AVI ": ("a video", _VIDEO),
}


def find_kind(path: PathLike) -> Kind:
    """Find out how a file is opened.

    Raises:
        ImageError: it is missing, empty, not a regular file, or of a kind that is not read.
    """
    mode = Path(path).stat().st_mode
    if stat.S_ISDIR(mode):
        raise ImageError("is a folder, not an image; name a file inside it")
    if not stat.S_ISREG(mode):  # opening a pipe or a device could block forever
        raise ImageError("is a pipe or device, not a regular file; save the image to a file first")
    with Path(path).open("rb") as file:
        head = file.read(_HEAD)
    if not head:
        raise ImageError("is empty (0 bytes); download or export it again")
    kind = _by_magic(head) or _by_brands(head) or _targa(path, head) or _behind(head)
    if kind is None:
        raise ImageError(
            "is not an image of a known kind; convert it to PNG, JPEG, WebP, TIFF, AVIF, GIF or BMP"
        )
    return kind


def _by_magic(head: bytes) -> Kind | None:
    for magic, (what, remedy) in _NAMED.items():
        if re.match(magic, head, re.DOTALL | re.IGNORECASE):
            raise ImageError(f"is {what}, which is not read: {remedy}")
    for magic, kind in _KINDS.items():
        if re.match(magic, head, re.DOTALL):
            return kind
    if head.startswith(b"\x1f\x8b"):
        return _zipped(head)
    return None


def _zipped(head: bytes) -> Kind:
    """SVG drawings may be gzipped."""
    try:
        inner = zlib.decompressobj(31).decompress(head, _HEAD)
    except zlib.error:
        inner = b""
    if re.match(next(m for m, kind in _KINDS.items() if kind is _SVG), inner, re.DOTALL):
        return _SVG
    raise ImageError("is a gzip archive, which is not read: extract it and name the file inside")


def _by_brands(head: bytes) -> Kind | None:
    """AVIF, HEIC and related files start with the brands they conform to (ISO 14496-12, 4.3)."""
    if head[4:8] != b"ftyp":
        return None
    size = min(max(16, int.from_bytes(head[:4], "big")), len(head))
    brands = {head[8:12]} | {head[at : at + 4] for at in range(16, size - 3, 4)}
    if brands & {b"avif", b"avis"}:
        return _AVIF
    if brands & {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"}:
        return _HEIF
    for brand, codec in ((b"avci", "H.264"), (b"avcs", "H.264"), (b"j2ki", "JPEG 2000")):
        if brand in brands:
            raise ImageError(f"is HEIF with {codec}, which is not read: convert it to PNG or JPEG")
    return _AVIF if brands & {b"mif1", b"msf1", b"mif2", b"jpeg"} else None


def _targa(path: PathLike, head: bytes) -> Kind | None:
    """Newer files end with a signature; in older ones, all fields of the header must be valid."""
    if len(head) < 18:
        return None
    with Path(path).open("rb") as file:
        file.seek(-min(26, Path(path).stat().st_size), 2)
        signed = file.read().endswith(b"TRUEVISION-XFILE.\0")
    has_map, image_type, length, entry_bits = struct.unpack_from("<xBB2xHB", head)
    width, height, bits, flags = struct.unpack_from("<HHBB", head, 12)
    sensible = (
        image_type in (1, 2, 3, 9, 10, 11)
        and has_map == (image_type in (1, 9)) * 1
        and (entry_bits in (15, 16, 24, 32) and length > 0 if has_map else True)
        and bits in (8, 15, 16, 24, 32)
        and flags < 0x40
        and width * height > 0
    )
    named = Path(path).suffix.lower() in _TARGA_SUFFIXES
    return _TARGA if sensible and (signed or named) else None


def _behind(head: bytes) -> Kind | None:
    """A PNG or JPEG after other data, which some transfers and old file systems add."""
    found = re.search(rb"\x89PNG\r\n\x1a\n\0\0\0\rIHDR|\xff\xd8\xff[\xc0-\xc2\xdb\xe0-\xef]", head)
    if found is None:
        return None
    kind = _PNG if found[0].startswith(b"\x89") else _JPEG
    return Kind(kind.name, kind.loader, start=found.start())


def is_image_name(path: PathLike) -> bool:
    """Whether a file of a scanned folder counts as an image, by its name alone.

    >>> is_image_name("set5/baby.PNG"), is_image_name("._baby.png"), is_image_name("Thumbs.db")
    (True, False, False)
    """
    name = Path(path).name
    return not name.startswith(".") and Path(name).suffix.lower() in IMAGE_SUFFIXES

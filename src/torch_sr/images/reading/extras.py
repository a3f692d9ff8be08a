"""Metadata that libvips does not read, or makes up.

Text and colors of PNG, comments of GIF and JPEG, colors of AVIF; and the resolution, which libvips
reports as 72 dpi if none is stated.
"""

from __future__ import annotations

import struct
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from torch_sr.aliases import PathLike
from torch_sr.images.formats.exif import exif_resolution
from torch_sr.images.formats.png.chunks import raw_profiles, read_chunks, walk
from torch_sr.images.formats.tiff.exif import other_tags, read_exif
from torch_sr.images.formats.tiff.resolution import read_resolution
from torch_sr.images.image import Metadata, is_wide

_HEAD = 1 << 20  # bytes of an AVIF that are searched for its colors
_C2PA = "content credentials (C2PA)"


def complete(path: PathLike, loader: str, metadata: Metadata) -> tuple[Metadata, list[str]]:
    """Add the metadata that libvips does not read; also return notes on what no result can keep.

    Args:
        path: of an open file.
        loader: which reads its pixels, such as ``pngload``.
        metadata: as libvips read it.

    Raises:
        OSError: the file cannot be read.
    """
    try:
        metadata, lost, dpi = _find(path, loader, metadata)
    except (struct.error, IndexError, KeyError):  # damaged; libvips decides whether that matters
        lost, dpi = [], None
    if dpi is None and metadata.exif and loader != "tiffload":
        dpi = exif_resolution(metadata.exif)
    x, y = dpi or (None, None)
    metadata = replace(metadata, dpi=x, dpi_y=y if y != x else None)
    if not lost:
        return metadata, []
    shown = ", ".join(lost[:5]) + (f" and {len(lost) - 5} more" if len(lost) > 5 else "")
    return metadata, [f"left out, as no result can keep it: {shown}"]


def _find(
    path: PathLike, loader: str, metadata: Metadata
) -> tuple[Metadata, list[str], tuple[float, float] | None]:
    """The metadata, names of what cannot be kept, and pixels per inch across and down."""
    if loader == "pngload":
        return (*_of_png(path, metadata), _png_resolution(path))
    if loader == "jpegload":
        return _of_jpeg(path, metadata)
    if loader == "gifload":
        comment, xmp = _of_gif(path)
        return replace(metadata, comment=comment, xmp=metadata.xmp or xmp), [], None
    if loader == "tiffload":
        lost = [_tag_name(tag) for tag in other_tags(path)]
        return replace(metadata, exif=read_exif(path)), lost, read_resolution(path)
    if loader in ("heif", "heifload"):
        return replace(metadata, cicp=_nclx(path)), [], None
    return metadata, [], _stated(metadata) if loader in ("pillow", "jxl") else None


def _of_png(path: PathLike, metadata: Metadata) -> tuple[Metadata, list[str]]:
    chunks, others = read_chunks(path)
    chunks, raw = raw_profiles(chunks)
    cicp = next((data for kind, data in chunks if kind == b"cICP"), None)
    chunks = [chunk for chunk in chunks if chunk[0] != b"cICP"]
    lost = [_C2PA if kind == "caBX" else f"PNG chunk {kind}" for kind in others if kind != "iCCP"]
    if "iCCP" in others and metadata.icc is None:  # which libpng does not accept
        lost.append("an ICC profile that is damaged or for another color space")
    described = replace(
        metadata,
        chunks=tuple(chunks),
        cicp=(cicp[0], cicp[1]) if cicp and len(cicp) == 4 else None,
        exif=metadata.exif or raw.get("exif"),
        xmp=metadata.xmp or raw.get("xmp"),
        iptc=metadata.iptc or raw.get("iptc"),
    )
    return described, lost


def _png_resolution(path: PathLike) -> tuple[float, float] | None:
    with Path(path).open("rb") as file:
        for kind, place, length in walk(file):
            if kind == b"IDAT":
                break
            if kind == b"pHYs" and length == 9:
                file.seek(place)
                x, y, unit = struct.unpack(">IIB", file.read(9))
                return (x * 0.0254, y * 0.0254) if unit == 1 and x and y else None
    return None


def _of_jpeg(
    path: PathLike, metadata: Metadata
) -> tuple[Metadata, list[str], tuple[float, float] | None]:
    """Read the segments before the pixels (ITU-T T.81, annex B; JFIF 1.02)."""
    comment, lost, dpi = None, [], None
    with Path(path).open("rb") as file:
        if file.read(2) != b"\xff\xd8":
            return metadata, [], None
        while len(head := file.read(4)) == 4 and head[0] == 0xFF and head[1] != 0xDA:
            if head[1] == 0xFF:  # a filler
                file.seek(-3, 1)
                continue
            data = file.read(max(0, struct.unpack(">H", head[2:])[0] - 2))
            if head[1] == 0xFE:
                comment = data if comment is None else comment + b"\n" + data
            elif head[1] == 0xE0 and data.startswith(b"JFIF\0") and len(data) >= 12:
                unit, x, y = struct.unpack_from(">BHH", data, 7)
                factor = {1: 1.0, 2: 2.54}.get(unit)
                dpi = (x * factor, y * factor) if factor and x and y else None
            elif head[1] == 0xEB and b"c2pa" in data[:64] and _C2PA not in lost:
                lost.append(_C2PA)
    return replace(metadata, comment=comment), lost, dpi


def _of_gif(path: PathLike) -> tuple[bytes | None, bytes | None]:
    """Comment and XMP, from the extensions between the frames (GIF89a; ISO 16684-3)."""
    comment, xmp = None, None
    with Path(path).open("rb") as file:
        if not file.read(10).startswith(b"GIF8"):
            return None, None
        flags = file.read(3)[:1]
        _skip_colors(file, flags)
        while (kind := file.read(1)) in (b"\x21", b"\x2c"):
            if kind == b"\x2c":  # a frame
                _skip_colors(file, file.read(9)[-1:])
                file.read(1)
                _blocks(file)
                continue
            label = file.read(1)
            blocks = _blocks(file)
            if label == b"\xfe":
                comment = b"".join([*filter(None, [comment]), *blocks])
            elif label == b"\xff" and blocks[:1] == [b"XMP DataXMP"]:
                # XMP is not in blocks: the bytes read as their lengths belong to it.
                text = b"".join(bytes([len(block)]) + block for block in blocks[1:])
                end = text.rfind(b"\x01\xff")
                xmp = text[:end] if end > 0 else None
    return comment, xmp


def _skip_colors(file: BinaryIO, flags: bytes) -> None:
    if flags and flags[0] & 0x80:
        file.seek(3 << ((flags[0] & 7) + 1), 1)


def _blocks(file: BinaryIO) -> list[bytes]:
    found = []
    while (length := file.read(1)) not in (b"", b"\0"):
        found.append(file.read(length[0]))
    return found


def _stated(metadata: Metadata) -> tuple[float, float] | None:
    return (metadata.dpi, metadata.dpi_y or metadata.dpi) if metadata.dpi else None


def _nclx(path: PathLike) -> tuple[int, int] | None:
    """Primaries and transfer (ISO 14496-12, ColourInformationBox) if they are not sRGB's."""
    with Path(path).open("rb") as file:
        head = file.read(_HEAD)
    at = head.find(b"colrnclx")
    if at < 0 or len(head) < at + 12:
        return None
    found = struct.unpack_from(">HH", head, at + 8)
    return found if is_wide(found) else None


def _tag_name(tag: int) -> str:
    from PIL import TiffTags

    if tag == 0x010E:
        return "OME-XML"
    name = TiffTags.lookup(tag).name
    return f"TIFF tag {tag if name == 'unknown' else name}"

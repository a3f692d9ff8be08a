"""Encode a libvips image and its metadata, with all encoder settings."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np

from torch_sr.images.formats.png.chunks import Chunk, physical_chunk, text_chunk, xmp_chunk
from torch_sr.images.formats.png.stream import PngStream
from torch_sr.images.formats.tiff.exif import append_exif
from torch_sr.images.formats.tiff.resolution import set_resolution
from torch_sr.images.image import Header, Metadata
from torch_sr.images.vips import libvips
from torch_sr.images.writing.capabilities import Format
from torch_sr.images.writing.insertion import (
    Passage,
    avif_with_exif,
    gif_insertion,
    jpeg_insertion,
    placeholder,
    to_iim,
    webp_with_exif,
    webp_with_times,
    with_prefix,
)
from torch_sr.images.writing.metadata import attach, fitting, resolution_of
from torch_sr.options import Option

_OUTPUT = "Output files"  # the panel of these options in the help
_BIG = 2**31  # bytes that may not fit into a classic TIFF
_LARGE = 50_000_000  # pixels of a JPEG; of fewer, libjpeg may hold all coefficients


@dataclass(frozen=True)
class WriteOptions:
    """The format and quality of an image file.

    Args:
        file_format: png, jpg, webp, tif, avif or gif; by default that of the file's suffix.
        quality: 1 to 100 for JPEG (default 95), WebP (95) and AVIF (85).
        lossless: WebP and AVIF without loss; PNG and TIFF always are lossless.
        bigtiff: write a TIFF that may exceed 4 GB; large TIFFs do so by default.
    """

    file_format: Annotated[
        str | None,
        Option(
            "Format of the results: png, jpg, webp, tif, avif or gif.",
            ("--format",),
            panel=_OUTPUT,
            default="as the source",
        ),
    ] = None
    quality: Annotated[
        int | None,
        Option(
            "Quality of JPEG, WebP and AVIF.", panel=_OUTPUT, min=1, max=100, default="95; AVIF 85"
        ),
    ] = None
    lossless: Annotated[bool, Option("Write WebP and AVIF without loss.", panel=_OUTPUT)] = False
    bigtiff: bool = False


def save(
    path: Path,
    image: Any,
    header: Header,
    metadata: Metadata,
    writer: Format,
    options: WriteOptions,
) -> None:
    """Write all pages of `image`, which is read once, from top to bottom.

    Args:
        path: the file to write.
        image: of libvips, all pages one below the other.
        header: of the file: size, channels, pages.
        metadata: to store with the pixels, by :func:`corrected`, as far as the format
            holds it.
        writer: the format.
        options: quality; its format is not used.
    """
    metadata = fitting(metadata, header, writer)
    image = attach(image, header, metadata)
    quality = options.quality or writer.quality
    _SAVERS[writer.name](path, image, header, metadata, replace(options, quality=quality))


# --- One function per format ----------------------------------------------------------------------


def _through(path: Path, edit: Callable[[bytes], bytes], write: Callable[[Any], None]) -> None:
    """Write a file with libvips, passing its bytes through `edit`."""
    with path.open("ab") as file:
        passage = Passage(file, edit)
        try:
            write(passage.target)
        except libvips().Error:
            if passage.error is not None:
                raise passage.error from None
            raise


def _save_png(
    path: Path, image: Any, header: Header, metadata: Metadata, options: WriteOptions
) -> None:
    stream = PngStream(_png_chunks(metadata), header.pages, metadata.delays, metadata.loop or 0)
    whole: Iterable[tuple[int, int, Any]] = [(0, 0, image)]
    for left, top, frame in _changes(image, header) if header.pages > 1 else whole:
        stream.place(left, top)
        write = functools.partial(frame.pngsave_target, compression=6, keep="icc")
        _through(path, stream.feed, write)


def _changes(image: Any, header: Header) -> Iterator[tuple[int, int, Any]]:
    """The first frame, then the rectangles in which frames differ, with their positions.

    Two frames are held in memory.
    """
    region, before = libvips().Region.new(image), None
    size = (header.height, header.width, header.layers)
    for number in range(header.pages):
        data = region.fetch(0, number * header.height, header.width, header.height)
        frame = np.frombuffer(data, header.dtype).reshape(size)
        left, top, right, bottom = 0, 0, header.width, header.height
        if before is not None:
            changed = (frame != before).any(axis=2)
            columns, rows = (np.flatnonzero(changed.any(axis=axis)) for axis in (0, 1))
            left, right = (columns[0], columns[-1] + 1) if len(columns) else (0, 1)
            top, bottom = (rows[0], rows[-1] + 1) if len(rows) else (0, 1)
        part = np.ascontiguousarray(frame[top:bottom, left:right])
        found = libvips().Image.new_from_array(part, interpretation=image.interpretation)
        if number == 0 and image.get_typeof("icc-profile-data"):
            icc = image.get("icc-profile-data")
            found.set_type(libvips().GValue.blob_type, "icc-profile-data", icc)
        yield int(left), int(top), found
        before = frame


def _png_chunks(metadata: Metadata) -> list[Chunk]:
    chunks = list(metadata.chunks)
    if metadata.cicp:
        chunks.insert(0, (b"cICP", bytes([*metadata.cicp, 0, 1])))
    if dpi := resolution_of(metadata):
        chunks.append(physical_chunk(*dpi))
    if metadata.exif:
        chunks.append((b"eXIf", metadata.exif.removeprefix(b"Exif\0\0")))
    if metadata.xmp:
        chunks.append(xmp_chunk(metadata.xmp))
    if metadata.comment:
        try:
            text = metadata.comment.decode()
        except UnicodeDecodeError:
            text = metadata.comment.decode("latin-1")
        chunks.append(text_chunk("Comment", text.replace("\0", "")))
    return chunks


def _save_jpeg(
    path: Path, image: Any, header: Header, metadata: Metadata, options: WriteOptions
) -> None:
    insertion = jpeg_insertion(
        metadata.exif, metadata.iptc, metadata.comment, resolution_of(metadata)
    )
    _through(
        path,
        insertion.feed,
        lambda target: image.jpegsave_target(
            target,
            Q=options.quality,
            subsample_mode="off",
            optimize_coding=image.width * image.height < _LARGE,
            keep="icc|xmp",
        ),
    )


def _save_gif(
    path: Path, image: Any, header: Header, metadata: Metadata, options: WriteOptions
) -> None:
    if header.pages == 1:  # store no loop
        image.set_type(libvips().GValue.gint_type, "loop", 1)
    insertion = gif_insertion(metadata.comment, metadata.xmp)
    _through(path, insertion.feed, image.gifsave_target)


def _save_webp(
    path: Path, image: Any, header: Header, metadata: Metadata, options: WriteOptions
) -> None:
    data = _make_room(image, metadata.exif).webpsave_buffer(
        Q=options.quality,
        lossless=options.lossless,
        exact=True,
        smart_subsample=True,
        keep=_kept(metadata),
    )
    data = webp_with_exif(data, metadata.exif) if metadata.exif else data
    if header.pages > 1 and metadata.delays:
        data = webp_with_times(data, [round(delay) for delay in metadata.delays])
    path.write_bytes(data)


def _save_avif(
    path: Path, image: Any, header: Header, metadata: Metadata, options: WriteOptions
) -> None:
    data = _make_room(image, metadata.exif).heifsave_buffer(
        compression="av1",
        Q=options.quality,
        lossless=options.lossless,
        bitdepth=8 if image.format == "uchar" else 12,
        subsample_mode="off",
        keep=_kept(metadata),
    )
    path.write_bytes(avif_with_exif(data, metadata.exif) if metadata.exif else data)


def _make_room(image: Any, exif: bytes | None) -> Any:
    """Reserve room for an EXIF block that is inserted later."""
    if not exif:
        return image
    image = image.copy()
    room = placeholder(len(with_prefix(exif)))
    image.set_type(libvips().GValue.blob_type, "exif-data", room)
    image.set_type(libvips().GValue.gint_type, "orientation", 1)  # set by EXIF
    return image


def _kept(metadata: Metadata) -> str:
    return "icc|xmp|other" + ("|exif" if metadata.exif else "")


def _save_tiff(
    path: Path, image: Any, header: Header, metadata: Metadata, options: WriteOptions
) -> None:
    size = image.width * image.height * image.bands * {"uchar": 1, "ushort": 2}.get(image.format, 4)
    image.tiffsave(
        os.fsencode(path),
        compression="deflate",
        predictor="float" if image.format == "float" else "horizontal",
        bigtiff=options.bigtiff or size > _BIG,  # its compressed size is not known yet
    )
    set_resolution(path, resolution_of(metadata))
    iptc = metadata.iptc and to_iim(metadata.iptc)
    append_exif(path, metadata.exif or b"", header.height, header.width, iptc)


_SAVERS: dict[str, Callable[[Path, Any, Header, Metadata, WriteOptions], None]] = {
    "PNG": _save_png,
    "JPEG": _save_jpeg,
    "WebP": _save_webp,
    "AVIF": _save_avif,
    "GIF": _save_gif,
    "TIFF": _save_tiff,
}

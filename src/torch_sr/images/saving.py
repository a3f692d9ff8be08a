"""A lazy libvips image and what travels with it -> a file; the one place with encoder settings."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from torch_sr.images.containers import (
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
from torch_sr.images.formats import Format
from torch_sr.images.metadata import add_resolution, correct_exif, correct_xmp, exif_resolution
from torch_sr.images.naming import libvips
from torch_sr.images.pixels import Header, Metadata, profile_fits
from torch_sr.images.png.chunks import (
    Chunk,
    PngStream,
    physical_chunk,
    text_chunk,
    xmp_chunk,
)
from torch_sr.images.tiff.exif import append_exif, set_resolution

_PAGE_MS = 100  # that a page is shown as a frame of an animation
_BIG = 2**31  # bytes that may not fit a classic TIFF
_LARGE = 50_000_000  # pixels of a JPEG; of fewer, libjpeg may hold all coefficients


@dataclass(frozen=True)
class WriteOptions:
    """How an image is stored.

    Args:
        format: png, jpg, webp, tif, avif or gif; without it, the name's suffix decides.
        quality: 1 to 100 for JPEG (default 95), WebP (95) and AVIF (85).
        lossless: WebP and AVIF without loss; PNG and TIFF always are.
        bigtiff: a TIFF with room for more than 4 GB; by itself it has it where it may need it.
    """

    format: str | None = None
    quality: int | None = None
    lossless: bool = False
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
        path: where to.
        image: of libvips, all pages one below the other.
        header: of the file: size, channels, pages.
        metadata: what to store beside the pixels, by :func:`corrected`, as far as the format
            holds it.
        writer: the format.
        options: quality; its format was looked at before.
    """
    metadata = _fitting(metadata, header, writer)
    image = _describe(image, header, metadata)
    quality = options.quality or writer.quality
    _SAVERS[writer.name](path, image, header, metadata, replace(options, quality=quality))


def corrected(metadata: Metadata, header: Header) -> Metadata:
    """What travels with pixels, and not these, true for a picture of this size."""
    names = Metadata.__dataclass_fields__
    metadata = Metadata(**{name: getattr(metadata, name) for name in names})
    return replace(
        metadata,
        exif=metadata.exif and correct_exif(metadata.exif, header.height, header.width),
        xmp=metadata.xmp and correct_xmp(metadata.xmp, header.height, header.width),
    )


def _fitting(metadata: Metadata, header: Header, writer: Format) -> Metadata:
    """What this format holds of it."""
    exif = metadata.exif
    if metadata.dpi and writer.name in ("WebP", "AVIF") and not (exif and exif_resolution(exif)):
        exif = add_resolution(exif, metadata.dpi, metadata.dpi_y or metadata.dpi)
    fits = metadata.icc and profile_fits(metadata.icc, header.channels)

    def held(name: str, block: bytes | None) -> bytes | None:
        return block if block and name in writer.holds and len(block) <= writer.most else None

    delays = metadata.delays and tuple(min(delay, writer.longest) for delay in metadata.delays)
    return replace(
        metadata,
        delays=delays,
        icc=held("ICC profile", metadata.icc) if fits else None,
        exif=held("EXIF", exif),
        xmp=held("XMP", metadata.xmp),
        iptc=held("IPTC", metadata.iptc),
        comment=held("comment", metadata.comment),
    )


def _describe(image: Any, header: Header, metadata: Metadata) -> Any:
    """Attach what libvips itself stores."""
    vips = libvips()
    dpi = _resolution(metadata) or (72, 72)  # libvips has no "unknown" for all formats
    image = image.copy(xres=dpi[0] / 25.4, yres=dpi[1] / 25.4)
    for name in image.get_fields():  # what the pipe brought
        if name.startswith(("png-", "vips-loader", "palette", "bits-per-sample")):
            image.remove(name)
    blobs = {"icc-profile": metadata.icc, "xmp": metadata.xmp}
    for name, blob in blobs.items():
        if blob:
            image.set_type(vips.GValue.blob_type, f"{name}-data", blob)
    image.set_type(vips.GValue.gint_type, "orientation", 1)
    if header.pages > 1:
        image.set_type(vips.GValue.gint_type, "page-height", header.height)
        delays = [round(delay) for delay in metadata.delays or [_PAGE_MS] * header.pages]
        image.set_type(vips.GValue.array_int_type, "delay", delays)
        if metadata.loop is not None:
            image.set_type(vips.GValue.gint_type, "loop", metadata.loop)
    return image


def _resolution(metadata: Metadata) -> tuple[float, float] | None:
    return (metadata.dpi, metadata.dpi_y or metadata.dpi) if metadata.dpi else None


# --- One function a format ------------------------------------------------------------------------


def _through(path: Path, edit: Callable[[bytes], bytes], write: Callable[[Any], None]) -> None:
    """Let the bytes of one or more of libvips' writers pass through `edit`."""
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
    """The first frame, then of each the rectangle that differs from the one before; and where.

    Two frames lie in memory.
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
    if dpi := _resolution(metadata):
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
        metadata.exif, metadata.iptc, metadata.comment, _resolution(metadata)
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
    if header.pages == 1:  # no loop is to be stated
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
    """For a block that is put there later."""
    if not exif:
        return image
    image = image.copy()
    room = placeholder(len(with_prefix(exif)))
    image.set_type(libvips().GValue.blob_type, "exif-data", room)
    image.set_type(libvips().GValue.gint_type, "orientation", 1)  # which EXIF has set
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
    set_resolution(path, _resolution(metadata))
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

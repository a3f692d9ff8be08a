"""Fit the metadata of a result to its size and format, and attach it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from torch_sr.images.formats.exif import add_resolution, correct_exif, correct_xmp, exif_resolution
from torch_sr.images.image import Header, Metadata, profile_fits
from torch_sr.images.vips import libvips
from torch_sr.images.writing.capabilities import Format

_PAGE_MS = 100  # a page becomes a frame shown for this long


def corrected(metadata: Metadata, header: Header) -> Metadata:
    """The metadata with size and orientation corrected for an image of this size."""
    return replace(
        metadata,
        exif=metadata.exif and correct_exif(metadata.exif, header.height, header.width),
        xmp=metadata.xmp and correct_xmp(metadata.xmp, header.height, header.width),
    )


def fitting(metadata: Metadata, header: Header, writer: Format) -> Metadata:
    """The metadata that the format can hold."""
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


def attach(image: Any, header: Header, metadata: Metadata) -> Any:
    """Attach the metadata that libvips stores itself."""
    vips = libvips()
    dpi = resolution_of(metadata) or (72, 72)  # libvips has no "unknown" for all formats
    image = image.copy(xres=dpi[0] / 25.4, yres=dpi[1] / 25.4)
    for name in image.get_fields():  # from the pipe's PNG
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


def resolution_of(metadata: Metadata) -> tuple[float, float] | None:
    """Pixels per inch across and down, if known."""
    return (metadata.dpi, metadata.dpi_y or metadata.dpi) if metadata.dpi else None

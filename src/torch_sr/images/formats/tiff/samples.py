"""Read TIFF samples unknown to libvips: 64 bits, Lab, float CMYK.

libvips reads the file with a directory that is changed in memory: 64-bit samples are declared as
pairs of 32-bit words, which works with every compression.
"""

from __future__ import annotations

import mmap
import os
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from torch_sr.aliases import PathLike, Pixels
from torch_sr.images.formats.tiff.pages import (
    CIELAB,
    CMYK,
    FLOAT,
    ICCLAB,
    RGB,
    SIGNED,
    UNSIGNED,
    TiffPage,
    check_samples,
)
from torch_sr.images.vips import blank, copy_fields, field, iterate_bands, libvips, spool

_SHORT = 3
_WORDS = {258: 32, 339: 1}  # read a sample as two unsigned ones of 32 bits


def load_tiff_page(
    path: PathLike,
    page: TiffPage | None,
    number: int,
    *,
    check: Callable[[Any], None],
    last: TiffPage | None = None,
    header_only: bool = False,
    **options: Any,
) -> Any:
    """Load a page with libvips; convert samples that libvips does not support.

    Args:
        path: the file.
        page: its directory; None if it could not be read.
        number: of the page, from 0.
        check: called with an image before its pixels are computed.
        last: the page after which a file that is cut short ends.
        header_only: the pixels are not needed.
        options: of the operation of libvips.

    Raises:
        ImageError: the samples are of a kind that is not read.
    """
    if page is None:
        return _load(os.fsencode(path), number, options)
    check_samples(page)
    if page.bits == 64:
        words = _load(_with_tags(path, page, _WORDS | {277: 2 * page.samples}), number, options)
        check(words)
        return _doubles(words, page, header_only)
    if page.photometric in (CIELAB, ICCLAB) and page.kind != FLOAT:
        return _load_lab(path, page, number, options)
    source = os.fsencode(path) if last is None else _truncated(path, last)
    image = _load(source, number, options)
    if page.photometric == CMYK and page.kind == FLOAT:
        image = (image * 65535).rint().cast("ushort").copy(interpretation="cmyk")
    return _without_extras(image, page)


def _load(source: Any, number: int, options: dict[str, Any]) -> Any:
    operation = "tiffload" if isinstance(source, bytes) else "tiffload_buffer"
    return libvips().Operation.call(operation, source, page=number, **options)


def _without_extras(image: Any, page: TiffPage) -> Any:
    extra = page.extra_channels
    return image.extract_band(0, n=image.bands - extra) if extra else image


def _doubles(words: Any, page: TiffPage, header_only: bool) -> Any:
    """Convert 64-bit numbers, read as pairs of words, to 32-bit floats."""
    kind = {UNSIGNED: "<u8", SIGNED: "<i8", FLOAT: "<f8"}[page.kind]
    swapped = page.form.order == ">"

    def doubles() -> Iterator[Pixels]:
        for band in iterate_bands(words):
            pairs = band.reshape(*band.shape[:2], -1, 2)
            pairs = np.ascontiguousarray(pairs[..., ::-1] if swapped else pairs)
            with np.errstate(over="ignore"):  # infinities are reported
                yield pairs.view(kind)[..., 0].astype(np.float32)

    if header_only:
        image = blank(words.width, words.height, page.samples, np.float32)
        image = copy_fields(words, image)
    else:
        image = spool(doubles(), words, np.float32, page.samples)
    gray = page.photometric in (0, 1)
    return _without_extras(image.copy(interpretation="b-w" if gray else "scrgb"), page)


def _load_lab(path: PathLike, page: TiffPage, number: int, options: dict[str, Any]) -> Any:
    """Lab of 8 and 16 bits: a and b are signed in CIELAB, and have an offset in ICCLAB.

    Its white is D65 (TIFF 6.0, section 23), but D50 in all that ICC defines.
    """
    image = _load(_with_tags(path, page, {262: RGB, 339: 1}), number, options)
    deep = page.bits == 16
    color = image.extract_band(0, n=3)
    if page.photometric == ICCLAB:
        unit = 256 if deep else 1
        lightness = [100 / (65280 if deep else 255), 1 / unit, 1 / unit]
        color = color.linear(lightness, [0, -128, -128])
    else:
        signed = color.copy(format="short" if deep else "char", interpretation="multiband")
        full, unit = (65535, 256) if deep else (255, 1)
        color = (color[0] * (100 / full)).bandjoin(signed.extract_band(1, n=2) * (1 / unit))
    color = color.cast("float").copy(interpretation="lab")
    profile = field(color, "icc-profile-data")
    if profile:
        color.remove("icc-profile-data")
    if page.photometric == ICCLAB or (profile and profile[16:20] == b"Lab "):
        depth = 16 if deep else 8
        return color.icc_export(output_profile="srgb", depth=depth, pcs="lab", intent="relative")
    return color.colourspace("rgb16" if deep else "srgb")


def _truncated(path: PathLike, last: TiffPage) -> mmap.mmap:
    """The file, whose list of directories ends after `last`; in memory only."""
    data, form = _with_tags(path, last, {}), last.form
    (count,) = form.count.unpack_from(data, last.place)
    size = form.entry.size + form.room
    form.offset.pack_into(data, last.place + form.count.size + count * size, 0)
    return data


def _with_tags(path: PathLike, page: TiffPage, changes: dict[int, int]) -> mmap.mmap:
    """The file with new values of some tags, in memory only."""
    with Path(path).open("rb") as file:
        data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    form = page.form
    missing = set(changes) - set(page.tags) - {339}
    if missing:
        raise ValueError(f"tag {min(missing)} is missing")
    (count,) = form.count.unpack_from(data, page.place)
    size = form.entry.size + form.room
    for i in range(count):
        at = page.place + form.count.size + i * size
        (tag,) = struct.unpack_from(form.order + "H", data, at)
        if tag in changes:
            form.entry.pack_into(data, at, tag, _SHORT, 1)
            struct.pack_into(form.order + "H", data, at + form.entry.size, changes[tag])
    return data

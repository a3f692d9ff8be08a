"""Read what is left of a damaged file; missing parts become gray.

A note says how much is missing. Decoders that continue at the end of the file (JPEG, TIFF, GIF)
are used as they are. A PNG is rebuilt from what can be decompressed. Of animated PNG and WebP,
complete frames are kept. Other files are padded with two different filler bytes: pixels that
differ between the two results are missing.
"""

from __future__ import annotations

import re
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from torch_sr.aliases import Pixels
from torch_sr.images.formats.gif import has_transparency, is_complete_gif
from torch_sr.images.formats.netpbm import read_netpbm
from torch_sr.images.formats.pillow import check_size, load_with_pillow
from torch_sr.images.formats.png.repair import repaired_png
from torch_sr.images.reading.opening import TALL, Source
from torch_sr.images.vips import copy_fields, field, iterate_bands, libvips

Block = tuple[int, int, int, int]
"""Left, top, right, bottom."""
_MAX_PADDING = 1 << 28
_MAX_BLOCKS = 500
_FILLERS = (b"\0", b"\x80", b"\x55", b"\x20", b"\x40", b"\xaa")
_LEVELS = {"uchar": (128, 255), "ushort": (32768, 65535)}
"""Gray and opaque, of floats 0.5 and 1."""


def load_damaged(source: Source, page: int = 0, *, all_pages: bool = False) -> Any:
    """An image of the file whose missing rows are gray; an intact file is loaded as usual.

    Adds to the source's notes how much is missing.

    Raises:
        ImageError: nothing of it can be read, or it is of a kind that is not read.
        libvips' error, ValueError, OSError: nothing of it can be read.
    """
    try:
        image = source.load(page, all_pages=all_pages)
        _check(source, image)
        whole = source.kind.loader != "gifload" or is_complete_gif(source.path)
        intact = _count_intact(image) if whole else 0
        if intact == image.height:
            return source.load(page, all_pages=all_pages)
    except (libvips().Error, OSError, ValueError) as error:
        intact, failure = 0, error
    else:
        failure = None
    loader = source.kind.loader
    if loader == "pngload":
        return _png(source)
    if loader == "netpbm":
        pixels, missing = read_netpbm(source.path, source.max_pixels, keep=True)
        if missing == len(pixels):
            raise ValueError("nothing of it can be read")
        _note_rows(source, missing, len(pixels))
        return libvips().Image.new_from_array(np.ascontiguousarray(pixels))
    if loader == "webpload" and (frames := _whole_frames(Path(source.path).read_bytes())):
        image = libvips().Image.webpload_buffer(frames, n=-1 if all_pages else 1, fail_on="none")
        _check(source, image)
        source.notes.append("the file is damaged: the end of its animation is missing")
        return image
    if loader in ("pillow", "webpload") or 0 < source.missing_bytes(page) <= _MAX_PADDING:
        return _decode_padded(source, page, all_pages)
    if loader in ("jpegload", "tiffload", "gifload"):
        return _lenient(source, page, all_pages, intact)
    raise failure or ValueError("nothing of it can be read")


def _check(source: Source, image: Any) -> None:
    """Raise an :class:`ImageError` for more pixels than are allowed, before any is computed."""
    height = field(image, "page-height") or image.height
    check_size(image.width, height, source.max_pixels)


def _count_intact(image: Any) -> int:
    """Rows from the top that can be decoded."""
    rows = 0
    try:
        for band in iterate_bands(image, rows=1):
            rows += len(band)
    except libvips().Error:
        pass
    return rows


def _note_rows(source: Source, missing: int, height: int) -> None:
    source.notes.append(
        f"the file is damaged: {missing} of its {height} rows are missing and gray"
        if missing
        else "the file is damaged: its end is missing"
    )


# --- JPEG, TIFF, GIF ----------------------------------------------------------------------------


def _lenient(source: Source, page: int, all_pages: bool, intact: int) -> Any:
    """Decode as far as libvips does; what it leaves empty becomes gray."""
    if source.kind.loader == "jpegload":
        return _jpeg(source, intact)
    image = source.load_lazily(page, all_pages=all_pages, fail_on="none")
    _check(source, image)
    if source.kind.loader in TALL and all_pages:
        source.notes.append("the file is damaged: the end of its animation is missing")
        return image
    empty = _empty_blocks(image, intact, source.tile_size(page) or (image.width, 1))
    if source.kind.loader == "gifload" and has_transparency(source.path):
        empty = [
            block for block in empty if block[3] == image.height
        ]  # other blocks may be transparent on purpose
    rows = np.zeros(image.height, bool)
    for _, top, _, bottom in empty:
        rows[top:bottom] = True
    if rows.all() and len(empty) == 1:
        raise ValueError("nothing of it can be read")
    _note_rows(source, int(rows.sum()), image.height)
    return _with_gray(source.load_lazily(page, fail_on="none"), empty)


def _jpeg(source: Source, intact: int) -> Any:
    """The decoder fills what is missing with gray, if the file does not end in a header."""
    data = Path(source.path).read_bytes()[source.kind.start :]
    segments = re.finditer(rb"\xff[\xc0-\xcf\xda-\xfe](?=(..)?)", data, re.DOTALL)
    end = len(data)
    for segment in segments:
        size = int.from_bytes(segment[1] or b"\xff\xff", "big")
        if segment.start() + 2 + size > len(data):
            end = segment.start()
            break
    data = data[:end] + b"\xff\xd9"
    options = {"access": "sequential", "fail_on": "none"}
    image = libvips().Image.jpegload_buffer(data, **options)
    _check(source, image)
    if not intact and not any((band != band[0, 0]).any() for band in iterate_bands(image)):
        raise ValueError("nothing of it can be read")
    image = libvips().Image.jpegload_buffer(data, **options, revalidate=True)
    if field(image, "jpeg-multiscan"):
        source.notes.append("the file is damaged: some of its detail is missing")
    else:
        _note_rows(source, image.height - intact, image.height)
    return image


def _empty_blocks(image: Any, intact: int, size: tuple[int, int]) -> list[Block]:
    """Blocks of zeros below the intact rows; adjacent blocks of a column are merged.

    Args:
        image: the whole image.
        intact: the number of intact rows at the top.
        size: width and height of a block.
    """
    width, height = size
    open_blocks: dict[int, int] = {}  # left edge -> top edge
    found: list[Block] = []
    top = 0
    for band in iterate_bands(image, height):
        for left in range(0, image.width, width):
            empty = top >= intact and not band[:, left : left + width].any()
            if empty:
                open_blocks.setdefault(left, top)
            elif left in open_blocks:
                right = min(left + width, image.width)
                found.append((left, open_blocks.pop(left), right, top))
        top += len(band)
    rest = [(x, y, min(x + width, image.width), image.height) for x, y in open_blocks.items()]
    return found + rest


def _with_gray(image: Any, blocks: list[Block]) -> Any:
    """Fill blocks with gray."""
    half, full = _LEVELS.get(image.format, (0.5, 1))
    levels = [half] * image.bands
    if image.interpretation == "cmyk":
        levels[:4] = [0, 0, 0, half]
    elif image.bands in (2, 4):
        levels[-1] = full
    for left, top, right, bottom in blocks[:_MAX_BLOCKS]:
        black = libvips().Image.black(right - left, bottom - top, bands=image.bands)
        patch = (black + levels).cast(image.format).copy(interpretation=image.interpretation)
        image = image.insert(patch, left, top)
    return image


# --- PNG ----------------------------------------------------------------------------------------


def _png(source: Source) -> Any:
    data, intact = repaired_png(source.path, source.kind.start, source.max_pixels)
    image = libvips().Image.pngload_buffer(data, access="sequential", fail_on="none")
    if intact is None:
        source.notes.append("the file is damaged: some of its detail is missing")
        return image
    if intact == image.height and b"IEND" in Path(source.path).read_bytes()[-64:]:
        source.notes.append("the file is damaged: some of its pixels may be wrong")
        return image
    _note_rows(source, image.height - intact, image.height)
    return _with_gray(image, [(0, intact, image.width, image.height)] * (intact < image.height))


def _whole_frames(data: bytes) -> bytes | None:
    """An animated WebP up to its last whole frame (RIFF container); None for still images."""
    place, animated = 12, False
    while place + 8 <= len(data):
        length = int.from_bytes(data[place + 4 : place + 8], "little")
        following = place + 8 + length + length % 2
        if following > len(data):
            break
        animated = animated or data[place : place + 4] == b"ANMF"
        place = following
    return data[:4] + (place - 8).to_bytes(4, "little") + data[8:place] if animated else None


# --- Files padded with filler bytes -------------------------------------------------------------


def _decode_padded(source: Source, page: int, all_pages: bool) -> Any:
    (image, pixels), (_, others) = _decode_twice(source, page, all_pages)
    missing: NDArray[np.bool_] = (pixels != others).reshape(*pixels.shape[:2], -1).any(axis=2)
    if missing.any(axis=1).all():
        raise ValueError("nothing of it can be read")
    patched: Pixels = pixels.copy()
    half, full = _LEVELS.get(image.format, (0.5, 1))
    patched[missing] = half
    if patched.ndim == 3 and patched.shape[2] in (2, 4):
        patched[..., -1][missing] = full
    _note_rows(source, int(missing.any(axis=1).sum()), len(missing))
    return copy_fields(image, libvips().Image.new_from_array(patched))


def _decode_twice(source: Source, page: int, all_pages: bool) -> list[tuple[Any, Pixels]]:
    """Decode with two fillers that the decoder accepts; some bytes are errors in some formats."""
    found: list[tuple[Any, Pixels]] = []
    differing = (b"\0", b"\x40") if source.kind.loader == "tiffload" else _FILLERS
    for filler in differing:
        try:
            image = _load_padded(source, page, all_pages, filler)
            found.append((image, np.asarray(image)))
        except (libvips().Error, OSError, ValueError) as error:
            failure = error
        if len(found) == 2:
            return found
    raise failure


def _load_padded(source: Source, page: int, all_pages: bool, filler: bytes) -> Any:
    path, kind = source.path, source.kind
    if kind.loader == "tiffload":
        return _load_padded_tiff(source, page, filler * source.missing_bytes(page))
    if kind.loader == "pillow":
        header, _ = load_with_pillow(path, kind, source.max_pixels, header_only=True)
        size = min(header.width * header.height * 8 + 4096, _MAX_PADDING)
        return load_with_pillow(path, kind, source.max_pixels, padding=filler * size)[0]
    data = Path(path).read_bytes()
    whole = int.from_bytes(data[4:8], "little") + 8
    if not len(data) < whole <= len(data) + _MAX_PADDING:
        raise ValueError("nothing of it can be read")
    data += filler * (whole - len(data))
    image = libvips().Image.webpload_buffer(data, n=-1 if all_pages else 1, fail_on="none")
    _check(source, image)
    return image


def _load_padded_tiff(source: Source, page: int, padding: bytes) -> Any:
    """Load a page of a TIFF from a temporary copy with bytes appended."""
    with TemporaryDirectory(prefix="torch-sr-") as folder:
        path = Path(folder, "image")
        path.write_bytes(Path(source.path).read_bytes() + padding)
        image = Source(path, source.kind, source.max_pixels, keep=True).load(page)
        _check(source, image)
        return copy_fields(image, libvips().Image.new_from_array(np.asarray(image)))

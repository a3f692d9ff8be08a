"""Draw the sheet of an upscaled image, next to bicubic."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from torch_sr.aliases import Array, Bytes
from torch_sr.data.resize import imresize
from torch_sr.evaluation.method import BASELINE
from torch_sr.evaluation.presentation.drawing import (
    INK,
    MARGIN,
    draw_overview,
    new_sheet,
    to_pillow,
    write_line,
)
from torch_sr.evaluation.presentation.places import Box, busiest_place
from torch_sr.evaluation.presentation.strips import super_resolve_place
from torch_sr.images import Header, ImageReader, read_image
from torch_sr.images.compositing import flatten

_LARGE = 512
_TITLE = 34


def draw_upscaled(source: Path, result: Path, *, damaged: str = "refuse") -> Bytes:
    """Draw a whole image, and its busiest place by bicubic interpolation and super-resolved.

    Only that place of the result, which may be very large, is kept in memory.

    Args:
        source, result: image files; the result has the proportions of the source.
        damaged: whether the readable part of a damaged source is used; see
            :class:`~torch_sr.images.ImageReader`.

    Returns:
        ``(H, W, 3)`` uint8.

    Raises:
        ImageError: one of them cannot be read.
    """
    from PIL import Image as Pillow

    lr = flatten(read_image(source, damaged=damaged).to_array())
    box = busiest_place(lr)
    detail, header = _read_place(result, box, lr.shape[1])
    scale = header.width / lr.shape[1]
    enlarged = super_resolve_place(lr, box, partial(imresize, scale=scale), scale)
    shown = [(BASELINE, enlarged), (f"torch-sr, x{scale:.3g}", flatten(detail))]
    overview = draw_overview(lr, box)
    height = _TITLE + 2 * MARGIN + max(_LARGE + 26, overview.height)
    width = overview.width + 2 * MARGIN + len(shown) * (_LARGE + MARGIN)
    sheet, draw = new_sheet(width, height)
    size = f"{lr.shape[1]} x {lr.shape[0]} to {header.width} x {header.height} pixels"
    title = f"{source.name}   {size}"
    write_line(draw, (MARGIN, MARGIN - 4), title, 20, INK, width - 2 * MARGIN)
    top = _TITLE + MARGIN
    sheet.paste(overview, (MARGIN, top))
    for number, (name, pixels) in enumerate(shown):
        x = overview.width + 2 * MARGIN + number * (_LARGE + MARGIN)
        image = to_pillow(pixels).resize((_LARGE, _LARGE), Pillow.Resampling.BICUBIC)
        sheet.paste(image, (x, top))
        write_line(draw, (x, top + _LARGE + 4), name, 15, INK, _LARGE)
    drawn: Bytes = np.asarray(sheet)
    return drawn


def _read_place(result: Path, box: Box, width: int) -> tuple[Array, Header]:
    """Read a place from a result; ``box`` and ``width`` are those of the source image."""
    top, left, side = box
    with ImageReader(result) as reader:
        header = reader.header
        scale = header.width / width
        above = round(top * scale)
        for start in range(0, above, 1024):  # rows are read from the top
            reader.read(min(1024, above - start))
        rows = reader.read(min(max(1, round(side * scale)), header.height - above))
    first = round(left * scale)
    return rows[:, first : first + rows.shape[0]], header

"""Draw a strip: one place of an image under many methods, side by side."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from torch_sr.aliases import Array, Bytes
from torch_sr.evaluation.method import Method, SuperResolve, bicubic
from torch_sr.evaluation.presentation.drawing import (
    CELL,
    INK,
    MARGIN,
    new_sheet,
    to_pillow,
    write_line,
)
from torch_sr.evaluation.presentation.places import Box, busiest_place
from torch_sr.images.compositing import flatten

_AROUND = 32  # pixels of context, beyond the reach of bicubic interpolation
_CAPTION = 26


def draw_strip(image: Array, rows: Sequence[Sequence[Method]], scale_factor: int) -> Bytes:
    """Draw the busiest place of an image under several methods, side by side.

    Only this place is super-resolved, with some pixels around it.

    Args:
        image: ``(H, W, 1 to 4)``, uint8, uint16 or float32 in [0, 1].
        rows: the methods of each row; bicubic interpolation is drawn before each row.
        scale_factor: the scale factor of the methods.

    Returns:
        ``(H, W, 3)`` uint8.
    """
    from PIL import Image as Pillow

    lr = flatten(image)
    box = busiest_place(lr)
    columns = 1 + max(map(len, rows))
    height = CELL + _CAPTION + MARGIN
    sheet, draw = new_sheet(MARGIN + columns * (CELL + MARGIN), MARGIN + len(rows) * height)
    for row, methods in enumerate(rows):
        for column, method in enumerate([bicubic(scale_factor), *methods]):
            x, y = MARGIN + column * (CELL + MARGIN), MARGIN + row * height
            detail = to_pillow(super_resolve_place(lr, box, method.super_resolve, scale_factor))
            sheet.paste(detail.resize((CELL, CELL), Pillow.Resampling.BICUBIC), (x, y))
            write_line(draw, (x, y + CELL + 4), method.label, 15, INK, CELL)
    drawn: Bytes = np.asarray(sheet)
    return drawn


def super_resolve_place(
    lr: Array, box: Box, super_resolve: SuperResolve, scale_factor: float
) -> Array:
    """Super-resolve one place of an image, with some pixels of context around it.

    Args:
        lr: ``(H, W, C)``.
        box: the place.
        super_resolve: computes the result of the place and its context.
        scale_factor: the scale factor of the result.

    Returns:
        The place alone, ``(side * scale_factor, side * scale_factor, C)``, rounded.
    """
    top, left, side = box
    above, before = min(top, _AROUND), min(left, _AROUND)
    around = np.ascontiguousarray(
        lr[top - above : top + side + _AROUND, left - before : left + side + _AROUND]
    )
    sr = super_resolve(around)
    first_row, first_column = round(above * scale_factor), round(before * scale_factor)
    length = max(1, round(side * scale_factor))
    return sr[first_row : first_row + length, first_column : first_column + length]

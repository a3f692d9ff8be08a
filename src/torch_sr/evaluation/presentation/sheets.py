"""Draw the sheet of a test image: a detail under all methods.

A sheet shows the whole image, and the place where the methods differ most: low resolution, every
method and the original side by side, enlarged without smoothing. Below each method is a map of its
errors.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from torch_sr.aliases import Array, Bytes
from torch_sr.evaluation.compare import Comparison
from torch_sr.evaluation.labels import wrap
from torch_sr.evaluation.metric_table import METRICS
from torch_sr.evaluation.presentation.drawing import (
    ACCENT,
    CELL,
    GRAY,
    INK,
    MARGIN,
    draw_overview,
    enlarge,
    find_font,
    new_sheet,
    to_pillow,
    write_line,
)
from torch_sr.evaluation.presentation.error_maps import color_map, error_map, error_peak
from torch_sr.evaluation.presentation.places import Box, differing_place

if TYPE_CHECKING:
    from PIL.Image import Image as PillowImage
    from PIL.ImageDraw import ImageDraw

_CAPTION = 46
_MOST_COLUMNS = 5
_MOST_LINES = 3
_TITLE_SIZE, _TITLE_LINE = 15, 19


def draw_sheet(comparison: Comparison) -> Bytes:
    """Draw the sheet of an image, ``(H, W, 3)`` uint8."""
    comparison = comparison.to_8_bit()
    box = differing_place(comparison)
    cells = _cells(comparison, box)
    columns = _columns(len(cells))
    rows = [cells[start : start + columns] for start in range(0, len(cells), columns)]
    overview = draw_overview(comparison.hr, box)
    lines = max(len(_title_lines(cell.title)) for cell in cells)
    cell_height = CELL + _CAPTION + _TITLE_LINE * (lines - 1) + CELL + MARGIN
    left = MARGIN * 2 + overview.width
    width = left + columns * (CELL + MARGIN)
    height = MARGIN + 34 + max(len(rows) * cell_height, overview.height + MARGIN)
    sheet, draw = new_sheet(width, height)
    top = MARGIN + 34
    write_line(draw, (MARGIN, MARGIN - 4), comparison.image, 20, INK, width - 2 * MARGIN)
    sheet.paste(overview, (MARGIN, top))
    _draw_scale(sheet, draw, (MARGIN, top + overview.height + MARGIN), overview.width, comparison)
    for number, row in enumerate(rows):
        for column, cell in enumerate(row):
            place = (left + column * (CELL + MARGIN), top + number * cell_height)
            _draw_cell(sheet, draw, place, cell, lines)
    drawn: Bytes = np.asarray(sheet)
    return drawn


@dataclass(frozen=True)
class _Cell:
    """One column: an enlarged detail, its title and caption, and its errors."""

    title: str
    detail: Array
    text: str = ""
    error: Array | None = None
    best: bool = False


def _cells(comparison: Comparison, box: Box) -> list[_Cell]:
    top, left, side = box
    scale = comparison.hr.shape[0] // comparison.lr.shape[0]
    place = (slice(top, top + side), slice(left, left + side))
    lr_place = tuple(slice(part.start // scale, part.stop // scale) for part in place)
    psnrs = {method: values.get("psnr", 0) for method, values in comparison.metrics.items()}
    peak = error_peak(comparison)
    height, width = comparison.lr.shape[:2]
    cells = [_Cell("low resolution", comparison.lr[lr_place], f"{width} x {height} pixels")]
    for method, sr in comparison.results.items():
        error = color_map(error_map(sr, comparison.hr)[place] / peak)
        best = len(psnrs) > 1 and psnrs[method] == max(psnrs.values())
        text = describe(comparison.metrics[method])
        cells.append(_Cell(method, sr[place], text, error, best))
    height, width = comparison.hr.shape[:2]
    return [*cells, _Cell("original", comparison.hr[place], f"{width} x {height} pixels")]


def describe(metrics: dict[str, float], count: int = 3) -> str:
    """Write the first metrics as a caption: ``28.43 dB / 0.8110``."""
    shown = []
    for name, value in list(metrics.items())[:count]:
        row = METRICS.get(name)
        unit = " dB" if name == "psnr" else ""
        label = f"{row.title} " if row is not None and name not in ("psnr", "ssim") else ""
        shown.append(f"{label}{value:.{row.digits if row else 3}f}{unit}")
    return " / ".join(shown)


def _columns(cells: int) -> int:
    """The number of columns for which the last row is about as long as the others."""
    rows = math.ceil(cells / _MOST_COLUMNS)
    return math.ceil(cells / rows)


def _title_lines(title: str) -> list[str]:
    """A title in up to three lines; the middle of longer ones is left out."""
    font = find_font(_TITLE_SIZE)
    lines = wrap(title, lambda line: bool(font.getlength(line) <= CELL))
    if len(lines) <= _MOST_LINES:
        return lines
    cut = f"…{lines[-2]}"
    while font.getlength(cut) > CELL:
        cut = f"…{cut[2:]}"
    return [lines[0], cut, lines[-1]]


def _draw_cell(
    sheet: PillowImage, draw: ImageDraw, place: tuple[int, int], cell: _Cell, lines: int
) -> None:
    """Draw a cell with room for a number of lines of its title."""
    x, y = place
    sheet.paste(enlarge(cell.detail), place)
    y += CELL + 4
    for number, line in enumerate(_title_lines(cell.title)):
        at = (x, y + _TITLE_LINE * number)
        write_line(draw, at, line, _TITLE_SIZE, ACCENT if cell.best else INK, CELL)
    y += _TITLE_LINE * (lines - 1)
    write_line(draw, (x, y + 20), cell.text, 13, GRAY, CELL)
    if cell.error is not None:
        sheet.paste(enlarge(cell.error), (x, y + _CAPTION - 4))


def _draw_scale(
    sheet: PillowImage,
    draw: ImageDraw,
    place: tuple[int, int],
    width: int,
    comparison: Comparison,
) -> None:
    """Draw the color scale of the error maps."""
    x, y = place
    ramp = color_map(np.broadcast_to(np.linspace(0, 1, width), (10, width)))
    sheet.paste(to_pillow(ramp), (x, y))
    peak = f"{error_peak(comparison):.0f} of 255"
    write_line(draw, (x, y + 14), "error 0", 13, GRAY, width)
    length = draw.textlength(peak, font=find_font(13))
    if length + draw.textlength("error 0  ", font=find_font(13)) < width:
        write_line(draw, (round(x + width - length), y + 14), peak, 13, GRAY, width)

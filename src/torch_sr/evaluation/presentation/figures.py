"""Pictures of a test: the sheet of an image, and strips of one place under many methods.

A sheet shows one image whole, and the place of it that says most about the methods: low
resolution, every method and the original side by side, enlarged without smoothing, and under every
method where it errs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from torch_sr.aliases import Array, Bytes, Floats
from torch_sr.evaluation.compare import Comparison
from torch_sr.evaluation.labels import wrap
from torch_sr.evaluation.method import SuperResolve
from torch_sr.evaluation.metric_table import METRICS
from torch_sr.images import Image, ImageReader, convert, from_unit, read_image, to_unit

if TYPE_CHECKING:
    from PIL.Image import Image as PillowImage
    from PIL.ImageDraw import ImageDraw

Box = tuple[int, int, int]
"""Top and left of a square, and its side."""

DETAIL = 64
"""Side of the place that a sheet enlarges, in high-resolution pixels."""
_CELL = 256
_LARGE = 512
_AROUND = 32  # pixels of context
_MARGIN = 20
_CAPTION = 46
_MOST_COLUMNS = 5
_MOST_LINES = 3
_TITLE_SIZE, _TITLE_LINE = 15, 19
_PAPER = (250, 250, 248)
_INK = (28, 30, 33)
_GREY = (110, 114, 120)
_ACCENT = (214, 64, 38)


# --- Where to look ------------------------------------------------------------------------------


def telling_place(comparison: Comparison, side: int = DETAIL) -> Box:
    """The square in which the methods differ most in how far they are from the original.

    Args:
        comparison: an image of 8 bits under its methods.
        side: in high-resolution pixels; where the image is smaller, its shorter side.

    Returns:
        A square whose corner and side are multiples of the scale factor, so that it is whole low-
        resolution pixels.
    """
    scale = comparison.hr.shape[0] // comparison.lr.shape[0]
    height, width = comparison.lr.shape[:2]
    small = max(1, min(side // scale, height, width))  # in low-resolution pixels from here
    errors = np.stack(
        [_pool(error_map(sr, comparison.hr), scale) for sr in comparison.results.values()]
    )
    # With one method alone, or equal ones, where it errs says most.
    interest = errors.max(axis=0) - errors.min(axis=0) + 0.1 * errors.mean(axis=0)
    total = np.pad(interest, ((1, 0), (1, 0))).cumsum(axis=0).cumsum(axis=1)
    windows = (
        total[small:, small:] - total[:-small, small:] - total[small:, :-small]
        + total[:-small, :-small]
    )  # fmt: skip
    top, left = np.unravel_index(int(windows.argmax()), windows.shape)
    return int(top) * scale, int(left) * scale, small * scale


def error_map(sr: Array, hr: Array) -> Floats:
    """Mean absolute difference over the channels, ``(H, W)`` in [0, 255]."""
    difference = np.abs(sr.astype(np.float32) - hr.astype(np.float32))
    error: Floats = difference.mean(axis=2)
    return error


def _pool(image: Array, factor: int) -> Array:
    height, width = (size // factor for size in image.shape)
    cropped = image[: height * factor, : width * factor]
    pooled: Array = cropped.reshape(height, factor, width, factor).mean(axis=(1, 3))
    return pooled


# --- The sheet of an image ----------------------------------------------------------------------


def draw_sheet(comparison: Comparison) -> Bytes:
    """One picture of an image under all methods, ``(H, W, 3)`` uint8."""
    from PIL import Image as Pillow
    from PIL import ImageDraw

    comparison = comparison.to_8_bit()
    box = telling_place(comparison)
    cells = _cells(comparison, box)
    columns = _columns(len(cells))
    rows = [cells[start : start + columns] for start in range(0, len(cells), columns)]
    overview = _overview(comparison.hr, box)
    lines = max(len(_title_lines(cell.title)) for cell in cells)
    cell_height = _CELL + _CAPTION + _TITLE_LINE * (lines - 1) + _CELL + _MARGIN
    left = _MARGIN * 2 + overview.width
    width = left + columns * (_CELL + _MARGIN)
    height = _MARGIN + 34 + max(len(rows) * cell_height, overview.height + _MARGIN)
    sheet = Pillow.new("RGB", (width, height), _PAPER)
    draw = ImageDraw.Draw(sheet)
    top = _MARGIN + 34
    _write(draw, (_MARGIN, _MARGIN - 4), comparison.image, 20, _INK, width - 2 * _MARGIN)
    sheet.paste(overview, (_MARGIN, top))
    _draw_scale(sheet, draw, (_MARGIN, top + overview.height + _MARGIN), overview.width, comparison)
    for number, row in enumerate(rows):
        for column, cell in enumerate(row):
            place = (left + column * (_CELL + _MARGIN), top + number * cell_height)
            _draw_cell(sheet, draw, place, cell, lines)
    drawn: Bytes = np.asarray(sheet)
    return drawn


@dataclass(frozen=True)
class _Cell:
    """What stands in one column: an enlarged detail, what it is, and where it errs."""

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
        error = _coloured(error_map(sr, comparison.hr)[place] / peak)
        best = len(psnrs) > 1 and psnrs[method] == max(psnrs.values())
        text = describe(comparison.metrics[method])
        cells.append(_Cell(method, sr[place], text, error, best))
    height, width = comparison.hr.shape[:2]
    return [*cells, _Cell("original", comparison.hr[place], f"{width} x {height} pixels")]


def describe(metrics: dict[str, float], count: int = 3) -> str:
    """The first metrics as a caption: ``28.43 dB / 0.8110``."""
    shown = []
    for name, value in list(metrics.items())[:count]:
        row = METRICS.get(name)
        unit = " dB" if name == "psnr" else ""
        label = f"{row.title} " if row is not None and name not in ("psnr", "ssim") else ""
        shown.append(f"{label}{value:.{row.digits if row else 3}f}{unit}")
    return " / ".join(shown)


def error_peak(comparison: Comparison) -> float:
    """The error that is drawn brightest, in levels of 255: one for all methods of an image."""
    errors = [
        np.percentile(error_map(sr, comparison.hr), 99.5) for sr in comparison.results.values()
    ]
    return max(float(max(errors, default=0.0)), 1.0)


def _coloured(values: Array) -> Array:
    """Values in [0, 1] by the colour map inferno, dark to bright, ``(H, W, 3)`` uint8."""
    import matplotlib

    coloured: Array = matplotlib.colormaps["inferno"](np.clip(values, 0, 1), bytes=True)
    return coloured[..., :3]


def _overview(hr: Array, box: Box) -> PillowImage:
    from PIL import Image as Pillow
    from PIL import ImageDraw

    whole = _pillow(hr)
    factor = min(360 / whole.width, (2 * _CELL + _CAPTION - 60) / whole.height)
    size = (max(1, round(whole.width * factor)), max(1, round(whole.height * factor)))
    shrinks = factor < 1
    shown = whole.resize(size, Pillow.Resampling.LANCZOS if shrinks else Pillow.Resampling.NEAREST)
    top, left, side = (round(value * factor) for value in box)
    frame = ImageDraw.Draw(shown)
    corners = (left, top, left + max(side, 2) - 1, top + max(side, 2) - 1)
    frame.rectangle(corners, outline=_ACCENT, width=3)
    return shown


def _columns(cells: int) -> int:
    """As many as make the last row about as long as the others."""
    rows = math.ceil(cells / _MOST_COLUMNS)
    return math.ceil(cells / rows)


def _title_lines(title: str) -> list[str]:
    """A title in up to three lines; where it is longer, its middle is left out."""
    font = _font(_TITLE_SIZE)
    lines = wrap(title, lambda line: bool(font.getlength(line) <= _CELL))
    if len(lines) <= _MOST_LINES:
        return lines
    cut = f"…{lines[-2]}"
    while font.getlength(cut) > _CELL:
        cut = f"…{cut[2:]}"
    return [lines[0], cut, lines[-1]]


def _draw_cell(
    sheet: PillowImage, draw: ImageDraw, place: tuple[int, int], cell: _Cell, lines: int
) -> None:
    """Draw a cell whose title has room for a number of lines."""
    x, y = place
    sheet.paste(_enlarged(cell.detail), place)
    y += _CELL + 4
    for number, line in enumerate(_title_lines(cell.title)):
        at = (x, y + _TITLE_LINE * number)
        _write(draw, at, line, _TITLE_SIZE, _ACCENT if cell.best else _INK, _CELL)
    y += _TITLE_LINE * (lines - 1)
    _write(draw, (x, y + 20), cell.text, 13, _GREY, _CELL)
    if cell.error is not None:
        sheet.paste(_enlarged(cell.error), (x, y + _CAPTION - 4))


def _draw_scale(
    sheet: PillowImage,
    draw: ImageDraw,
    place: tuple[int, int],
    width: int,
    comparison: Comparison,
) -> None:
    """What the colours of the error maps mean."""
    x, y = place
    ramp = _coloured(np.broadcast_to(np.linspace(0, 1, width), (10, width)))
    sheet.paste(_pillow(ramp), (x, y))
    peak = f"{error_peak(comparison):.0f} of 255"
    _write(draw, (x, y + 14), "error 0", 13, _GREY, width)
    length = draw.textlength(peak, font=_font(13))
    if length + draw.textlength("error 0  ", font=_font(13)) < width:
        _write(draw, (round(x + width - length), y + 14), peak, 13, _GREY, width)


def _enlarged(image: Array) -> PillowImage:
    """A detail in a square cell, its pixels to be seen."""
    from PIL import Image as Pillow

    return _pillow(image).resize((_CELL, _CELL), Pillow.Resampling.NEAREST)


def _pillow(image: Array) -> PillowImage:
    from PIL import Image as Pillow

    rgb = np.repeat(image, 3, axis=2) if image.shape[2] == 1 else image
    return Pillow.fromarray(np.ascontiguousarray(rgb))


def _write(
    draw: ImageDraw,
    place: tuple[int, int],
    text: str,
    size: int,
    colour: tuple[int, int, int],
    width: int,
) -> None:
    """One line, its middle left out where it is too long."""
    font = _font(size)
    shown = " ".join(text.split())
    kept = len(shown)
    while kept > 2 and draw.textlength(shown, font=font) > width:
        kept -= 1
        shown = f"{text[: (kept + 1) // 2]}…{text[len(text) - kept // 2 :]}"
    draw.text(place, shown, fill=colour, font=font)


def _font(size: int) -> Any:
    """Matplotlib's, which is always there and knows most of the world's letters."""
    import matplotlib
    from PIL import ImageFont

    file = Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")
    return ImageFont.truetype(str(file), size)


# --- A picture that has no original ---------------------------------------------------------------


def draw_upscaled(source: Path, result: Path, *, damaged: str = "refuse") -> Bytes:
    """A picture whole, and its busiest place by bicubic interpolation and super-resolved.

    Of the result, which may be very large, only that place is kept.

    Args:
        source, result: image files; the result has the proportions of the source.
        damaged: whether what can be read of a damaged source is kept; see
            :class:`~torch_sr.images.ImageReader`.

    Returns:
        ``(H, W, 3)`` uint8.

    Raises:
        ImageError: one of them cannot be read.
    """
    from PIL import Image as Pillow
    from PIL import ImageDraw

    lr = _on_white(read_image(source, damaged=damaged).to_array())
    with ImageReader(result) as reader:
        header = reader.header
        scale = header.width / lr.shape[1]
        side = max(1, min(DETAIL, *lr.shape[:2]))
        top, left = _busiest(lr, side)
        above = round(top * scale)
        for start in range(0, above, 1024):  # rows come from the top
            reader.read(min(1024, above - start))
        rows = reader.read(min(max(1, round(side * scale)), header.height - above))
    columns = slice(round(left * scale), round(left * scale) + rows.shape[0])
    detail = _pillow(lr[top : top + side, left : left + side])
    shown = [
        ("bicubic", detail.resize((_LARGE, _LARGE), Pillow.Resampling.BICUBIC)),
        (f"torch-sr, x{scale:.3g}", _pillow(_on_white(rows[:, columns]))),
    ]
    overview = _overview(lr, (top, left, side))
    height = 34 + 2 * _MARGIN + max(_LARGE + 26, overview.height)
    width = overview.width + 2 * _MARGIN + len(shown) * (_LARGE + _MARGIN)
    sheet = Pillow.new("RGB", (width, height), _PAPER)
    draw = ImageDraw.Draw(sheet)
    size = f"{lr.shape[1]} x {lr.shape[0]} to {header.width} x {header.height} pixels"
    title = f"{source.name}   {size}"
    _write(draw, (_MARGIN, _MARGIN - 4), title, 20, _INK, width - 2 * _MARGIN)
    sheet.paste(overview, (_MARGIN, 34 + _MARGIN))
    for number, (name, picture) in enumerate(shown):
        x = overview.width + 2 * _MARGIN + number * (_LARGE + _MARGIN)
        sheet.paste(picture.resize((_LARGE, _LARGE), Pillow.Resampling.BICUBIC), (x, 34 + _MARGIN))
        _write(draw, (x, 34 + _MARGIN + _LARGE + 4), name, 15, _INK, _LARGE)
    drawn: Bytes = np.asarray(sheet)
    return drawn


def draw_strip(image: Array, rows: Sequence[Mapping[str, SuperResolve]]) -> Bytes:
    """The busiest place of a picture under several methods, one beside the other.

    Only this place is super-resolved, with some of what lies around it.

    Args:
        image: ``(H, W, 1 to 4)``, uint8, uint16 or float32 in [0, 1].
        rows: methods by the names to be written under them; bicubic stands before each row.

    Returns:
        ``(H, W, 3)`` uint8.
    """
    from PIL import Image as Pillow
    from PIL import ImageDraw

    lr = _on_white(image)
    columns = 1 + max(map(len, rows))
    height = _CELL + 26 + _MARGIN
    size = (_MARGIN + columns * (_CELL + _MARGIN), _MARGIN + len(rows) * height)
    sheet = Pillow.new("RGB", size, _PAPER)
    draw = ImageDraw.Draw(sheet)
    for row, methods in enumerate(rows):
        for column, (name, picture) in enumerate(_places(lr, methods).items()):
            x, y = _MARGIN + column * (_CELL + _MARGIN), _MARGIN + row * height
            sheet.paste(picture.resize((_CELL, _CELL), Pillow.Resampling.BICUBIC), (x, y))
            _write(draw, (x, y + _CELL + 4), name, 15, _INK, _CELL)
    drawn: Bytes = np.asarray(sheet)
    return drawn


def _places(lr: Array, methods: Mapping[str, SuperResolve]) -> dict[str, PillowImage]:
    """The busiest place, as it is and under each method, which sees what lies around it too."""
    side = max(1, min(DETAIL, *lr.shape[:2]))
    top, left = _busiest(lr, side)
    above, before = min(top, _AROUND), min(left, _AROUND)
    around = np.ascontiguousarray(
        lr[top - above : top + side + _AROUND, left - before : left + side + _AROUND]
    )
    places = {"bicubic": _pillow(lr[top : top + side, left : left + side])}
    for name, super_resolve in methods.items():
        sr = super_resolve(around)
        scale = len(sr) // len(around)
        first_row, first_column, length = above * scale, before * scale, side * scale
        inner = sr[first_row : first_row + length, first_column : first_column + length]
        places[name] = _pillow(inner)
    return places


def _busiest(image: Array, side: int) -> tuple[int, int]:
    """Top and left of the square with the most edges, a little inwards rather than at the rim."""
    gray = image.astype(np.float32).mean(axis=2)
    edges = np.zeros_like(gray)
    edges[1:] += np.abs(np.diff(gray, axis=0))
    edges[:, 1:] += np.abs(np.diff(gray, axis=1))
    total = np.pad(edges, ((1, 0), (1, 0))).cumsum(axis=0, dtype=np.float64).cumsum(axis=1)
    windows = (
        total[side:, side:] - total[:-side, side:] - total[side:, :-side] + total[:-side, :-side]
    )
    top, left = np.unravel_index(int(windows.argmax()), windows.shape)
    return int(top), int(left)


def _on_white(layers: Array) -> Array:
    """Any layers as 8-bit gray or RGB, transparency as white."""
    image = Image.from_array(layers)
    color = convert(image.color, np.uint8)
    if image.alpha is None:
        return color
    opacity = to_unit(image.alpha)[..., None]
    return from_unit(to_unit(color) * opacity + 1 - opacity, np.uint8)

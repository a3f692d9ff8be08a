"""Draw text, frames and enlarged details on sheets."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from torch_sr.aliases import Array
from torch_sr.evaluation.presentation.places import Box
from torch_sr.images.compositing import to_rgb

if TYPE_CHECKING:
    from PIL.Image import Image as PillowImage
    from PIL.ImageDraw import ImageDraw

MARGIN = 20
CELL = 256
"""Side of an enlarged detail."""
PAPER = (250, 250, 248)
INK = (28, 30, 33)
GRAY = (110, 114, 120)
ACCENT = (214, 64, 38)
_OVERVIEW_WIDTH, _OVERVIEW_HEIGHT = 360, 498


def new_sheet(width: int, height: int) -> tuple[PillowImage, ImageDraw]:
    """An empty image, and the object that draws on it."""
    from PIL import Image as Pillow
    from PIL import ImageDraw

    sheet = Pillow.new("RGB", (width, height), PAPER)
    return sheet, ImageDraw.Draw(sheet)


def to_pillow(image: Array) -> PillowImage:
    """Gray or RGB ``(H, W, 1 or 3)`` of 8 bits as an RGB image of Pillow."""
    from PIL import Image as Pillow

    return Pillow.fromarray(np.ascontiguousarray(to_rgb(image)))


def enlarge(image: Array) -> PillowImage:
    """Enlarge a detail to a square cell without smoothing, so that its pixels are visible."""
    from PIL import Image as Pillow

    return to_pillow(image).resize((CELL, CELL), Pillow.Resampling.NEAREST)


def draw_overview(image: Array, box: Box) -> PillowImage:
    """A small version of a whole image, with a frame around a place."""
    from PIL import Image as Pillow
    from PIL import ImageDraw

    whole = to_pillow(image)
    factor = min(_OVERVIEW_WIDTH / whole.width, _OVERVIEW_HEIGHT / whole.height)
    size = (max(1, round(whole.width * factor)), max(1, round(whole.height * factor)))
    shrinks = factor < 1
    shown = whole.resize(size, Pillow.Resampling.LANCZOS if shrinks else Pillow.Resampling.NEAREST)
    top, left, side = (round(value * factor) for value in box)
    corners = (left, top, left + max(side, 2) - 1, top + max(side, 2) - 1)
    ImageDraw.Draw(shown).rectangle(corners, outline=ACCENT, width=3)
    return shown


def write_line(
    draw: ImageDraw,
    place: tuple[int, int],
    text: str,
    size: int,
    color: tuple[int, int, int],
    width: int,
) -> None:
    """Write one line; the middle of a text that is too long is left out."""
    font = find_font(size)
    shown = " ".join(text.split())
    kept = len(shown)
    while kept > 2 and draw.textlength(shown, font=font) > width:
        kept -= 1
        shown = f"{text[: (kept + 1) // 2]}…{text[len(text) - kept // 2 :]}"
    draw.text(place, shown, fill=color, font=font)


def find_font(size: int) -> Any:
    """Matplotlib's font, which is always installed and has the letters of most languages."""
    import matplotlib
    from PIL import ImageFont

    file = Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")
    return ImageFont.truetype(str(file), size)

"""Draw the figures of docs/how_it_works as SVG: the networks of ESRGAN, and how tiles are joined.

python scripts/figures.py    writes architecture.svg and tiling.svg in docs/images
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

IMAGES = Path(__file__).resolve().parents[1] / "docs" / "images"
BLUE, ORANGE, GREEN, GRAY, WHITE = "#c5cae9", "#ffccbc", "#c8e6c9", "#e0e0e0", "#ffffff"
INK = "#263238"
HEIGHT = 40  # of a box
STYLE = f"""<style>
text {{ font: 13px sans-serif; fill: {INK}; text-anchor: middle; dominant-baseline: central }}
text.title {{ font-weight: bold; font-size: 15px; text-anchor: start }}
text.note {{ text-anchor: start; fill: #546e7a; font-size: 12px }}
rect, path, circle {{ stroke: {INK}; stroke-width: 1.2 }}
path {{ fill: none }}
</style>
<defs><marker id="end" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7"
orient="auto"><path d="M0 0 8 4 0 8z" style="fill:{INK};stroke:none"/></marker></defs>"""


class Drawing:
    """An SVG that is drawn from shapes; coordinates in pixels, from the top left."""

    def __init__(self, width: int, height: int) -> None:
        size = f'viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
        self._parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" {size}>',
            STYLE,
            f'<rect width="{width}" height="{height}" rx="8" style="fill:{WHITE};stroke:none"/>',
        ]

    def box(self, x: float, y: float, width: float, text: str, color: str = BLUE) -> None:
        """A box with a line or two of text; y is its middle."""
        top = y - HEIGHT / 2
        self._parts.append(
            f'<rect x="{x:g}" y="{top:g}" width="{width:g}" height="{HEIGHT}" rx="4" '
            f'style="fill:{color}"/>'
        )
        lines = text.split("\n")
        for number, line in enumerate(lines):
            self.text(x + width / 2, y + 15 * (number - (len(lines) - 1) / 2), line)

    def text(self, x: float, y: float, text: str, kind: str = "") -> None:
        """A line of text; kind is '' (centered), 'title' or 'note' (which start at x)."""
        self._parts.append(f'<text x="{x:g}" y="{y:g}" class="{kind}">{escape(text)}</text>')

    def path(self, points: Sequence[tuple[float, float]], *, arrow: bool = True) -> None:
        """Straight lines through points, with an arrow at the end."""
        places = " L".join(f"{x:g} {y:g}" for x, y in points)
        end = ' marker-end="url(#end)"' if arrow else ""
        self._parts.append(f'<path d="M{places}"{end}/>')

    def add(self, x: float, y: float) -> None:
        """The sign of an addition."""
        self._parts.append(f'<circle cx="{x:g}" cy="{y:g}" r="9" style="fill:{WHITE}"/>')
        self.text(x, y, "+")

    def area(
        self, x: float, y: float, width: float, height: float, color: str, look: str = ""
    ) -> None:
        """A rectangle without text; x and y are its corner."""
        self._parts.append(
            f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" '
            f'style="fill:{color};{look}"/>'
        )

    def save(self, path: Path) -> None:
        """Write the file."""
        path.write_text("\n".join([*self._parts, "</svg>"]) + "\n", encoding="utf-8")


def chain(drawing: Drawing, y: float, boxes: Sequence[tuple[float, float, str, str]]) -> None:
    """Boxes (x, width, text, color) in a row, joined by arrows."""
    for (x, width, text, color), following in zip(boxes, [*boxes[1:], None], strict=True):
        drawing.box(x, y, width, text, color)
        if following is not None:
            drawing.path([(x + width, y), (following[0], y)])


def draw_architecture() -> Drawing:
    """The generator, its two kinds of blocks, and the discriminator."""
    drawing = Drawing(900, 560)
    drawing.text(20, 24, "Generator: RRDBNet", "title")
    _draw_generator(drawing, 90)
    drawing.text(20, 180, "RRDB: three dense blocks", "title")
    _draw_rrdb(drawing, 245)
    drawing.text(20, 320, "Dense block: every convolution reads all results before it", "title")
    _draw_dense_block(drawing, 385)
    drawing.text(20, 468, "Discriminator, in training only", "title")
    chain(
        drawing,
        515,
        [
            (20, 90, "HR or SR\nimage", GRAY),
            (140, 300, "8 convolutions, 64 to 512 channels,\nbatch normalization", GREEN),
            (470, 170, "2 dense layers", GREEN),
            (670, 210, "is it more realistic\nthan the other kind?", ORANGE),
        ],
    )
    return drawing


def _draw_generator(drawing: Drawing, y: float) -> None:
    chain(
        drawing,
        y,
        [
            (20, 60, "LR", GRAY),
            (100, 70, "conv", BLUE),
            (190, 90, "RRDB 1", ORANGE),
            (300, 30, "…", WHITE),
            (350, 90, "RRDB 23", ORANGE),
            (460, 70, "conv", BLUE),
        ],
    )
    drawing.path([(530, y), (551, y)])
    drawing.add(560, y)
    drawing.path([(180, y), (180, y + 42), (560, y + 42), (560, y + 9)])
    drawing.path([(569, y), (590, y)])
    chain(
        drawing,
        y,
        [(590, 90, "2x larger,\nconv", BLUE), (700, 90, "2x larger,\nconv", BLUE)],
    )
    drawing.path([(790, y), (805, y)])
    drawing.box(805, y, 75, "2 convs,\nSR", GRAY)


def _draw_rrdb(drawing: Drawing, y: float) -> None:
    left = 60.0
    drawing.path([(20, y), (left, y)], arrow=False)
    for _ in range(3):
        drawing.path([(left, y), (left + 30, y)])
        drawing.box(left + 30, y, 110, "dense block", GREEN)
        drawing.path([(left + 140, y), (left + 181, y)])
        drawing.text(left + 160, y - 12, "0.2")
        drawing.add(left + 190, y)
        drawing.path(
            [(left + 12, y), (left + 12, y + 36), (left + 190, y + 36), (left + 190, y + 9)]
        )
        left += 199
    drawing.path([(left, y), (left + 51, y)])
    drawing.text(left + 26, y - 12, "0.2")
    drawing.add(left + 60, y)
    drawing.path([(40, y), (40, y - 42), (left + 60, y - 42), (left + 60, y - 9)])
    drawing.path([(left + 69, y), (left + 110, y)])


def _draw_dense_block(drawing: Drawing, y: float) -> None:
    drawing.path([(20, y), (90, y)])
    for number, channels in enumerate((64, 96, 128, 160, 192)):
        x = 90 + 155 * number
        drawing.box(x, y, 105, f"conv {number + 1}\n{channels} → {32 if number < 4 else 64}", BLUE)
        drawing.path([(x + 105, y), (x + 155 if number < 4 else x + 150, y)])
        for later in range(number + 1, 5):
            rise = 24 + 6 * (4 - number)
            end = 90 + 155 * later + 20 + 8 * number
            start = x - 25
            drawing.path([(start, y), (start, y - rise), (end, y - rise), (end, y - HEIGHT / 2)])


def draw_tiling() -> Drawing:
    """Two tiles that share pixels, and the weights with which they are joined."""
    drawing = Drawing(900, 330)
    drawing.text(20, 24, "Two neighboring tiles share twice the overlap", "title")
    look = "fill-opacity:.75"
    drawing.area(60, 50, 470, 90, BLUE, look)
    drawing.area(370, 50, 470, 90, ORANGE, look)
    drawing.text(200, 95, "tile 1")
    drawing.text(700, 95, "tile 2")
    drawing.text(450, 95, "shared")
    drawing.path([(370, 158), (530, 158)], arrow=False)
    drawing.text(450, 172, "twice the overlap")
    drawing.text(20, 204, "Weights: the pixels nearest to an edge are not used", "title")
    drawing.path([(60, 230), (410, 230), (490, 300), (530, 300)], arrow=False)
    drawing.path([(370, 300), (410, 300), (490, 230), (840, 230)], arrow=False)
    drawing.text(120, 244, "tile 1: 1")
    drawing.text(780, 244, "tile 2: 1")
    drawing.text(345, 300, "0")
    drawing.text(555, 300, "0")
    drawing.text(450, 316, "cross-fade over the overlap")
    return drawing


def main() -> None:
    """Write the figures."""
    draw_architecture().save(IMAGES / "architecture.svg")
    draw_tiling().save(IMAGES / "tiling.svg")


if __name__ == "__main__":
    main()

r"""Draw strips: one detail of every photograph in a folder under several models, at 1:1.

Each panel is a square of the result, pixel for pixel: the input enlarged without smoothing, bicubic
interpolation, then every model. Only that detail and some context around it are super-resolved. It
is the most detailed part away from the border, or the one given by ``--at``. Results of models,
but not of mixtures, are kept in ``--cache``, since large networks are slow. Run with::

    python benchmarks/strips.py ../shared/data/photos strips faithful.safetensors \
        --partner restoring.safetensors --strengths 0 0.5 1 --default 0.5 \
        realesrgan-x4plus --cache strips/cache --at 0014.jpg=40,60
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from methods import add_model_options, load_methods
from PIL import Image as Pillow
from PIL import ImageDraw, ImageFont

from torch_sr.aliases import Array
from torch_sr.errors import TorchSRError
from torch_sr.evaluation.method import BASELINE, Method, bicubic
from torch_sr.images import is_image_name, read_image
from torch_sr.images.compositing import flatten, to_rgb
from torch_sr.images.window_sums import window_sums

_AROUND = 32  # low-resolution pixels of context
_MARGIN, _CAPTION = 8, 24
_PAPER, _INK = (250, 250, 248), (28, 30, 33)
_FORMATS: dict[str, dict[str, Any]] = {
    "webp": {"quality": 92, "method": 6},
    "png": {"optimize": True},
}


def main() -> None:
    """Draw a strip for each photograph, and print its file and place."""
    options = _parse()
    scale, methods = load_methods(options)
    photos = [path for path in sorted(options.photos.iterdir()) if is_image_name(path.name)]
    for name in options.at.keys() - {path.name for path in photos}:
        raise SystemExit(f"--at: {name} is not in {options.photos}")
    options.out.mkdir(parents=True, exist_ok=True)
    for path in photos:
        image = read_image(path).to_array()
        side = min(options.side, *image.shape[:2])
        left, top = options.at.get(path.name) or most_detailed(_on_white(image), side)
        if left + side > image.shape[1] or top + side > image.shape[0]:
            raise SystemExit(f"--at {path.name}={left},{top}: the detail is not inside the image")
        panels = _panels(image, (left, top, side), scale, methods, options)
        target = options.out / f"{path.name}.{options.format}"
        _draw(panels, options.columns).save(target, **_FORMATS[options.format])
        print(f"{target} {path.name}={left},{top}")


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("photos", type=Path, help="folder of photographs")
    parser.add_argument("out", type=Path, help="folder of the strips")
    add_model_options(parser)
    parser.add_argument(
        "--default", type=float, metavar="S", help="label this strength as the default"
    )
    parser.add_argument("--cache", type=Path, metavar="FOLDER", help="keep results of models here")
    parser.add_argument(
        "--at",
        nargs="+",
        default=[],
        type=_place,
        metavar="FILE=LEFT,TOP",
        help="the detail to show",
    )
    parser.add_argument(
        "--side", type=int, default=72, help="side of the detail, in pixels of the photograph"
    )
    parser.add_argument("--columns", type=int, default=3)
    parser.add_argument("--format", choices=_FORMATS, default="webp")
    options = parser.parse_intermixed_args()
    options.at = dict(options.at)
    return options


def _place(text: str) -> tuple[str, tuple[int, int]]:
    name, _, place = text.rpartition("=")
    left, _, top = place.partition(",")
    if not name or not left.isdecimal() or not top.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r}: write FILE=LEFT,TOP, such as 0014.jpg=40,60")
    return name, (int(left), int(top))


# --- Results ------------------------------------------------------------------------------------


def _panels(
    image: Array,
    place: tuple[int, int, int],
    scale: int,
    methods: Sequence[Method],
    options: argparse.Namespace,
) -> dict[str, Array]:
    """RGB of a place by its labels: the input, bicubic, and every method."""
    left, top, side = place
    # Mirrored beyond its borders, as `torch-sr upscale` does it.
    mirrored = np.pad(image, ((_AROUND, _AROUND), (_AROUND, _AROUND), (0, 0)), mode="symmetric")
    length = side + 2 * _AROUND
    around = np.ascontiguousarray(mirrored[top : top + length, left : left + length])
    inner = slice(_AROUND * scale, (_AROUND + side) * scale)
    pixels = _on_white(image[top : top + side, left : left + side])
    panels = {
        f"input, {image.shape[1]}x{image.shape[0]} pixels": pixels.repeat(scale, 0).repeat(
            scale, 1
        ),
        BASELINE: bicubic(scale).super_resolve(_on_white(around))[inner, inner],
    }
    for method in methods:
        result = _super_resolved(method, around, options.cache)
        panels[_label(method, options.default)] = _on_white(result)[inner, inner]
    return panels


def _label(method: Method, default: float | None) -> str:
    if method.alpha is None:
        return method.label
    kinds = {0.0: "faithful", default: "default"}
    return ", ".join([method.label, *([kinds[method.alpha]] if method.alpha in kinds else [])])


def _super_resolved(method: Method, lr: Array, cache: Path | None) -> Array:
    """The result of a method; one of a model is read from the cache where it is there."""
    if cache is None or method.model is None or not method.is_model:
        return method.super_resolve(lr)
    key = f"{method.model.weights_sha256} {lr.shape} {lr.dtype}"
    digest = hashlib.sha256(key.encode() + lr.tobytes()).hexdigest()
    file = cache / f"{digest[:32]}.npy"
    if not file.is_file():
        cache.mkdir(parents=True, exist_ok=True)
        partial = file.with_suffix(".partial.npy")
        np.save(partial, method.super_resolve(lr))
        partial.replace(file)
    result: Array = np.load(file, allow_pickle=False)
    return result


# --- Pictures -----------------------------------------------------------------------------------


def most_detailed(rgb: Array, side: int) -> tuple[int, int]:
    """Left and top of the square with the strongest edges, a tenth of the image from its border.

    Edges count by their square root, so that texture weighs more than one hard edge.
    """
    gray = rgb.astype(np.float64).mean(axis=2)
    down, across = np.gradient(gray)
    sums = window_sums(np.hypot(down, across) ** 0.5, side)
    rows, columns = (min(size // 10, (size - side) // 2) for size in gray.shape)
    inner = sums[rows : len(sums) - rows, columns : sums.shape[1] - columns]
    top, left = np.unravel_index(int(inner.argmax()), inner.shape)
    return int(left) + columns, int(top) + rows


def _on_white(layers: Array) -> Array:
    """Any layers and depth as 8-bit RGB, transparency on white."""
    return to_rgb(flatten(layers))


def _draw(panels: Mapping[str, Array], columns: int) -> Pillow.Image:
    """Panels in rows, each with its label below."""
    side = len(next(iter(panels.values())))
    rows = -(-len(panels) // columns)
    step = side + _MARGIN, side + _MARGIN + _CAPTION
    sheet = Pillow.new("RGB", (_MARGIN + columns * step[0], _MARGIN + rows * step[1]), _PAPER)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=15)
    for number, (label, picture) in enumerate(panels.items()):
        x, y = (_MARGIN + place * by for place, by in zip(_at(number, columns), step, strict=True))
        sheet.paste(Pillow.fromarray(picture), (x, y))
        draw.text((x, y + side + 3), label, fill=_INK, font=font)
    return sheet


def _at(number: int, columns: int) -> tuple[int, int]:
    row, column = divmod(number, columns)
    return column, row


if __name__ == "__main__":
    try:
        main()
    except TorchSRError as error:
        sys.exit(str(error))

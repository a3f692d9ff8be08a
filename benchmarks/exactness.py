"""How far the native engine and PyTorch are from the same network in double precision.

Prints the largest differences over a detail of a photograph and over noise, results in [0, 1]::

    python benchmarks/exactness.py
    python benchmarks/exactness.py --models compact-x4 --photo photo.jpg --side 120
"""

from __future__ import annotations

import argparse
import copy
import sys
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image as Pillow

import torch_sr
from torch_sr.errors import TorchSRError
from torch_sr.inference.engines.native import NativeEngine

MODELS = (
    "compact-x4",
    "compact-x4-real",
    "realesr-animevideov3",
    "realesrgan-x4plus-anime-6b",
    "realesrgan-x4plus",
)
PHOTO = Path(__file__).resolve().parents[1] / "examples" / "dahlia.jpg"


def main() -> None:
    """Measure, and print a Markdown table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", nargs="+", default=MODELS, metavar="MODEL")
    parser.add_argument("--photo", type=Path, default=PHOTO, help="the photograph")
    parser.add_argument("--side", type=int, default=80, help="of the detail, in pixels")
    options = parser.parse_args()
    images = {"photograph": detail(options.photo, options.side), "noise": noise(options.side)}
    print("| model | image | native engine | PyTorch, fp32 | between the two |")
    print("|---|---|---|---|---|")
    for name in options.models:
        try:
            model = torch_sr.load(name)
        except TorchSRError as error:
            print(f"{name} is left out: {error}", file=sys.stderr)
            continue
        for image, lr in images.items():
            native, fp32, between = differences(model, lr)
            print(f"| `{name}` | {image} | {native:.1e} | {fp32:.1e} | {between:.1e} |")


def detail(photo: Path, side: int) -> NDArray[np.float32]:
    """The middle of a photograph, ``(1, 3, side, side)`` in [0, 1]."""
    with Pillow.open(photo) as opened:
        rgb = np.asarray(opened.convert("RGB"), dtype=np.float32) / 255
    top, left = ((size - side) // 2 for size in rgb.shape[:2])
    return np.ascontiguousarray(rgb[top : top + side, left : left + side].transpose(2, 0, 1)[None])


def noise(side: int) -> NDArray[np.float32]:
    """Uniform noise, ``(1, 3, side, side)``."""
    return np.random.default_rng(0).random((1, 3, side, side), dtype=np.float32)


def differences(model: torch_sr.Model, lr: NDArray[np.float32]) -> tuple[float, float, float]:
    """The largest differences: native to double, fp32 to double, native to fp32."""
    weights = model.weights
    assert weights is not None
    native = NativeEngine(weights.parameters, weights.config)(lr)
    double = copy.deepcopy(model.network).double()
    with torch.inference_mode():
        exact = double(torch.from_numpy(lr).double()).numpy()
        fp32 = model.network(torch.from_numpy(lr)).numpy()
    exact, native, fp32 = (values.clip(0, 1) for values in (exact, native, fp32))
    pairs = ((native, exact), (fp32, exact), (native, fp32))
    first, second, third = (float(np.abs(a - b).max()) for a, b in pairs)
    return first, second, third


if __name__ == "__main__":
    main()

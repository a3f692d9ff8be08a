"""Measure what mirroring images beyond their borders changes: errors, PSNR and time.

With and without it, prints the errors of flat images of saturated colors, and for a data set known
by name the PSNR (RGB) in the outermost 8 pixels of the high resolution, and from 56 pixels
inside. Run with::

    python benchmarks/borders.py compact-x4 --dataset set14 --data-root ../shared/data
"""

from __future__ import annotations

import argparse
import time
from itertools import product
from pathlib import Path

import numpy as np

from torch_sr import Upscaler
from torch_sr.data.image_pairs import open_pairs

_OUTER, _INNER = 8, 56


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model")
    parser.add_argument("--dataset", default="set14")
    parser.add_argument("--data-root", type=Path, default=Path("data"))
    options = parser.parse_args()
    mirrored = Upscaler(options.model, device="cpu", precision="fp32")
    bare = Upscaler(
        options.model, device="cpu", precision="fp32", overlap=mirrored.overlap, border=0
    )
    print(f"mirrored by {mirrored.border} pixels")
    for name, upscaler in (("bare", bare), ("mirrored", mirrored)):
        print(f"flat 24x24 images, {name}: at most {_flat_error(upscaler)} levels off")
    pairs = open_pairs(
        [options.dataset],
        data_root=options.data_root,
        scale_factor=mirrored.scale_factor,
        purpose="test",
    )
    for name, upscaler in (("bare", bare), ("mirrored", mirrored)):
        outer, inner, seconds = [], [], 0.0
        for lr, hr in (pairs[index] for index in range(len(pairs))):
            started = time.perf_counter()
            sr = upscaler.upscale(lr)
            seconds += time.perf_counter() - started
            inside = np.zeros(hr.shape[:2], dtype=bool)
            inside[_OUTER:-_OUTER, _OUTER:-_OUTER] = True
            squares = (sr.astype(float) - hr) ** 2
            outer.append(_psnr(squares[~inside]))
            inner.append(_psnr(squares[_INNER:-_INNER, _INNER:-_INNER]))
        print(
            f"{options.dataset}, {name}: {np.mean(outer):.2f} dB at the borders, "
            f"{np.mean(inner):.2f} dB inside, {seconds:.1f} s"
        )


def _flat_error(upscaler: Upscaler) -> int:
    flat = [np.full((24, 24, 3), color, np.uint8) for color in product((0, 255), repeat=3)]
    return max(int(np.abs(upscaler.upscale(x).astype(int) - x[0, 0]).max()) for x in flat)


def _psnr(squares: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / squares.mean()))


if __name__ == "__main__":
    main()

"""Measure the gain of a model on images that were compressed with loss.

Stores the low resolution of a data set as JPEG, WebP or AVIF with Pillow, and prints the gain in
PSNR over bicubic interpolation of the same files, under the papers' protocol. Run with::

    python benchmarks/compression.py compact-x4 --data-root ../shared/data
"""

from __future__ import annotations

import argparse
import io
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from torch_sr import Upscaler
from torch_sr.data.image_pairs import open_pairs
from torch_sr.data.resize import imresize
from torch_sr.images import to_nchw
from torch_sr.metrics import measure

_QUALITIES = (95, 90, 85, 80, 70, 60, 50, 30)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model")
    parser.add_argument("--dataset", default="set5")
    parser.add_argument("--data-root", type=Path, default=Path("data"))
    parser.add_argument("--formats", nargs="+", default=["JPEG", "WEBP", "AVIF"])
    options = parser.parse_args()
    upscaler = Upscaler(options.model, device="cpu", precision="fp32", border=0)
    scale = upscaler.scale_factor
    pairs = open_pairs(
        [options.dataset],
        data_root=options.data_root,
        scale_factor=scale,
        purpose="test",
        channels=3,
    )
    images = [pairs[index] for index in range(len(pairs))]

    def gain(lr: np.ndarray, hr: np.ndarray) -> float:
        results = upscaler.upscale(lr), imresize(lr, float(scale))
        psnrs = [measure(_tensor(sr), _tensor(hr), scale)["psnr"] for sr in results]
        return psnrs[0] - psnrs[1]

    print(f"without loss: {np.mean([gain(lr, hr) for lr, hr in images]):+.2f} dB")
    for name in options.formats:
        for quality in _QUALITIES:
            gains = [gain(_stored(lr, name, quality), hr) for lr, hr in images]
            print(f"{name} {quality}: {np.mean(gains):+.2f} dB")


def _stored(pixels: np.ndarray, name: str, quality: int) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, name, quality=quality)
    return np.asarray(Image.open(file).convert("RGB"))


def _tensor(pixels: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(to_nchw(pixels))


if __name__ == "__main__":
    main()

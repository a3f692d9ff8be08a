"""Measure how much context a network needs, and the seams that are left in real images.

For a model, prints the error at each distance from a cut edge, the overlap that torch-sr derives
from it, and how much results in small tiles differ from untiled ones. Run with::

    python benchmarks/seams.py compact-x4 ../shared/data/photos/*.png
"""

from __future__ import annotations

import argparse

import numpy as np

from torch_sr import Upscaler
from torch_sr.images import read_image
from torch_sr.inference.engines.pytorch import PyTorchEngine
from torch_sr.inference.receptive_field import edge_errors
from torch_sr.models.reading import read_model
from torch_sr.models.zoo import find_model


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model")
    parser.add_argument("images", nargs="*")
    parser.add_argument("--tile-sizes", type=int, nargs="+", default=[96, 128])
    parser.add_argument("--crop", type=int, default=300, help="of each image, in pixels")
    options = parser.parse_args()
    loaded = read_model(find_model(options.model))
    info = loaded.info
    engine = PyTorchEngine(loaded.network, info.scale_factor, info.img_channels, "cpu", "fp32")
    errors = 255 * edge_errors(engine)
    scale = info.scale_factor
    print("distance from the cut in pixels: largest error in levels of 255")
    for distance in (0, 2, 4, 6, 8, 10, 12, 14, 16, 24, 32):
        print(f"  {distance:2}  {errors[distance * scale : (distance + 1) * scale].max():8.3f}")
    overlap = Upscaler(engine).overlap
    print(f"overlap: {overlap} pixels")
    for name in options.images:
        image = read_image(name).color[: options.crop, : options.crop]
        whole = Upscaler(engine, tile_size=options.crop).upscale(image).astype(float)
        for size in options.tile_sizes:
            tiled = Upscaler(engine, tile_size=size, overlap=overlap).upscale(image)
            difference = np.abs(whole - tiled) / (257 if image.dtype == np.uint16 else 1)
            print(
                f"{name} in tiles of {size}: largest difference {difference.max():.2f} levels, "
                f"{(difference > 0).mean():.4%} of the values"
            )


if __name__ == "__main__":
    main()

"""Measure the cache and the check of data sets on real images, and print JSON.

    python benchmarks/data.py bsds500:train+test+val SunHays80 --data-root data

Crops are of 128x128 high-resolution pixels at x4, cut by one core from a warm page cache: ``plain``
is a copied slice of the cache, ``pairs`` what a training draws: LR and HR, turned at random, as
tensors. Rounds of the two take turns. Needs a Linux kernel for holding to one core.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from torch_sr.data.crops.random_crops import RandomCrops
from torch_sr.data.image_pairs import PairSource, open_pairs
from torch_sr.data.inspection.check import check_datasets, datasets_of

CROP = 128
SCALE = 4
COUNT = 10_000


def main() -> None:
    """Build caches, draw crops, check the data sets."""
    options = parse_options()
    with tempfile.TemporaryDirectory() as folder:
        where: dict[str, Any] = {
            "data_root": options.data_root,
            "scale_factor": SCALE,
            "purpose": "train",
            "cache_dir": Path(folder),
        }
        seconds, pairs = timed(lambda: open_pairs(options.specs, **where))
        size = sum(file.stat().st_size for file in Path(folder).glob("*.bin"))
        megapixels = sum(np.prod(pairs[i][1].shape[:2]) for i in range(len(pairs))) / 1e6
        caches = [recipe.open() for recipe in PairSource(specs=options.specs, **where).caches()]
        verify, _ = timed(lambda: [cache.find_damaged() for cache in caches])
        crops = measure_crops(caches[0], pairs, options.rounds)
    datasets, _ = datasets_of({"train": options.specs}, options.data_root, SCALE)
    checked, _ = timed(lambda: check_datasets(datasets, SCALE))
    result = {
        "images": len(pairs),
        "cores": os.cpu_count(),
        "build": {
            "seconds": seconds,
            "megapixels_per_second": megapixels / seconds,
            "bytes": size,
        },
        "verify_seconds": verify,
        "crops_per_second_and_core": crops,
        "check_seconds": checked,
    }
    print(json.dumps(result, indent=2))


def parse_options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("specs", nargs="+", help="data sets, as in a configuration")
    parser.add_argument("--data-root", type=Path, default=Path("data"))
    parser.add_argument("--rounds", type=int, default=5)
    return parser.parse_args()


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds, and what came out."""
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def measure_crops(cache: Any, pairs: Any, rounds: int) -> dict[str, float]:
    """Medians over the rounds."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    keys, places = rng.integers(len(cache), size=COUNT), rng.random((COUNT, 2))
    crops = RandomCrops(pairs, (CROP, CROP))

    def plain() -> None:
        for key, (y, x) in zip(keys, places, strict=True):
            image = cache[key]
            top, left = int(y * (image.shape[0] - CROP + 1)), int(x * (image.shape[1] - CROP + 1))
            image[top : top + CROP, left : left + CROP].copy()

    def drawn() -> None:
        for number, key in enumerate(keys):
            crops[number, int(key)]

    rates: dict[str, list[float]] = {"plain": [], "pairs": []}
    plain()  # every page is warm from here on
    for _ in range(rounds):
        rates["plain"].append(COUNT / timed(plain)[0])
        rates["pairs"].append(COUNT / timed(drawn)[0])
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, range(os.cpu_count() or 1))
    return {name: statistics.median(values) for name, values in rates.items()}


if __name__ == "__main__":
    main()

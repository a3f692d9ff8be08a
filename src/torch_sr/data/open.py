"""From data set specifications to cached image pairs."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from torch_sr.data.cache import Progress, open_cache
from torch_sr.data.datasets import Purpose, resolve
from torch_sr.data.loaders import CachedPairs


def default_cache_dir() -> Path:
    """``$TORCH_SR_HOME/datasets``, or the user's cache folder."""
    home = os.environ.get("TORCH_SR_HOME")
    if home:
        return Path(home) / "datasets"
    from platformdirs import user_cache_path

    return user_cache_path("torch-sr") / "datasets"


def open_pairs(
    specs: Sequence[str],
    *,
    data_root: Path,
    scale_factor: int,
    purpose: Purpose,
    channels: int = 3,
    cache_dir: Path | None = None,
    progress: Progress | None = None,
) -> CachedPairs:
    """Open data sets as image pairs, decoding them into the cache where that is not done yet.

    Where a data set has no low resolution of its own, it is made by MATLAB's bicubic.

    Args:
        specs: for example ``["bsds500:train+test", "SunHays80"]``.
        data_root: where the data sets lie.
        scale_factor: between the two resolutions.
        purpose: chooses the splits where a specification names none.
        channels: 1 or 3.
        cache_dir: :func:`default_cache_dir` by default.
        progress: called while images are decoded.

    Raises:
        DataError: for data sets that are missing or unfit.
        ImageError: for an image that cannot be read.
    """
    cache_dir = cache_dir or default_cache_dir()
    lr_caches, hr_caches, names = [], [], []
    for spec in specs:
        label = re.sub(r"[^A-Za-z0-9]+", "-", spec).strip("-").lower()
        for made in (False, True):
            pairs = [
                pair
                for pair in resolve(spec, data_root, scale_factor, purpose)
                if (pair.lr is None) == made
            ]
            if not pairs:
                continue
            hr_paths = [pair.hr for pair in pairs]
            lr_paths = [pair.lr or pair.hr for pair in pairs]
            hr_caches.append(
                open_cache(label, hr_paths, cache_dir, channels=channels, progress=progress)
            )
            lr_caches.append(
                open_cache(
                    label if made else f"{label}-lr",
                    lr_paths,
                    cache_dir,
                    channels=channels,
                    shrink=scale_factor if made else 1,
                    progress=progress,
                )
            )
            names += [f"{label}/{pair.name}" for pair in pairs]
    return CachedPairs(lr_caches, hr_caches, scale_factor, names)

"""From data set specifications to cached image pairs."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from torch_sr.data.cache import Progress, find_cache, open_cache
from torch_sr.data.datasets import Purpose, resolve
from torch_sr.data.loaders import ImagePairs
from torch_sr.data.sources import Images, SourceImages


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
    channels: int | None = None,
    cache_dir: Path | None = None,
    progress: Progress | None = None,
    decode: bool = True,
) -> ImagePairs:
    """Open data sets as image pairs, decoding them into the cache where that is not done yet.

    Where a data set has no low resolution of its own, it is made by MATLAB's bicubic.

    Args:
        specs: for example ``["bsds500:train+test", "SunHays80"]``.
        data_root: where the data sets lie.
        scale_factor: between the two resolutions.
        purpose: chooses the splits where a specification names none.
        channels: 1 or 3; by default 3, except that for testing gray files stay gray, since the
            papers measure these without a conversion to luma.
        cache_dir: :func:`default_cache_dir` by default.
        progress: called while images are decoded.
        decode: False reads images that are not in the cache from their files, when asked for.

    Raises:
        DataError: for data sets that are missing or unfit.
        ImageError: for an image that cannot be read.
    """
    cache_dir = cache_dir or default_cache_dir()
    if channels is None and purpose != "test":
        channels = 3

    def opened(name: str, paths: Sequence[Path], shrink: int = 1) -> Images:
        if decode:
            return open_cache(
                name, paths, cache_dir, channels=channels, shrink=shrink, progress=progress
            )
        cached = find_cache(name, paths, cache_dir, channels=channels, shrink=shrink)
        return cached or SourceImages(paths, channels, shrink)

    lr_caches: list[Images] = []
    hr_caches: list[Images] = []
    names: list[str] = []
    for spec in specs:
        label = _label(spec)
        # Most data sets bring low resolution for all their images or for none; some for a split.
        pairs = resolve(spec, data_root, scale_factor, purpose)
        given = [(pair.hr, pair.lr) for pair in pairs if pair.lr is not None]
        made = [pair.hr for pair in pairs if pair.lr is None]
        if given:
            hr_caches.append(opened(label, [hr for hr, _ in given]))
            lr_caches.append(opened(f"{label}-lr", [lr for _, lr in given]))
        if made:
            hr_caches.append(opened(label, made))
            lr_caches.append(opened(label, made, shrink=scale_factor))
        names += [f"{label}/{pair.name}" for pair in sorted(pairs, key=lambda p: p.lr is None)]
    return ImagePairs(lr_caches, hr_caches, scale_factor, names)


def _label(spec: str) -> str:
    """A specification as part of a file name, for people to recognize."""
    return re.sub(r"[^a-z0-9]+", "-", spec.lower()).strip("-")[-60:] or "images"

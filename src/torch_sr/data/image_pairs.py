"""From data set specifications to cached image pairs."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch_sr.aliases import Progress
from torch_sr.data.cache import ImageCache, find_cache, open_cache
from torch_sr.data.crops.random_crops import ImagePairs
from torch_sr.data.sets.archives import DownloadProgress, fetch
from torch_sr.data.sets.file_pairs import FilePair, describe_unpaired, unpaired_lr
from torch_sr.data.sets.folders import is_bicubic
from torch_sr.data.sets.table import Purpose, name_and_splits, resolve, resolve_with_warnings
from torch_sr.data.sources import Images, PickedImages, SourceImages
from torch_sr.errors import MissingDatasetError
from torch_sr.files import home

_log = logging.getLogger(__name__)


def default_cache_dir() -> Path:
    """``$TORCH_SR_HOME/datasets``, or the user's cache folder."""
    return home() / "datasets"


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
    download: bool = False,
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
        download: fetch data sets that are missing, where they are known by name.

    Raises:
        DataError: for data sets that are missing or unfit.
        DownloadError: when one cannot be fetched.
        ImageError: for an image that cannot be read.
    """
    if channels is None and purpose != "test":
        channels = 3
    lr_sets: list[Images] = []
    hr_sets: list[Images] = []
    names: list[str] = []
    made: list[bool] = []
    for spec in specs:
        label = label_of(spec)
        pairs = _resolve(spec, data_root, scale_factor, purpose, download)
        shown = _names(pairs)
        for part in _parts(pairs):
            hr, lr = _caches(label, part, channels, scale_factor, cache_dir or default_cache_dir())
            hr_images, lr_images = (
                recipe.open(progress) if decode else recipe.find_or_read() for recipe in (hr, lr)
            )
            for remark in hr_images.remarks:
                _log.warning("%s: %s", spec, remark)
            hr_sets.append(_pick(hr_images, hr.paths, part))
            lr_sets.append(lr_images)
            made += [pair.lr is None or is_bicubic(pair.lr) for pair in part]
            names += [f"{label}/{shown[pair]}" for pair in part]
    return ImagePairs(lr_sets, hr_sets, scale_factor, names, made)


def download_missing(
    specs: Sequence[str],
    *,
    data_root: Path,
    scale_factor: int,
    purpose: Purpose,
    progress: DownloadProgress | None = None,
) -> None:
    """Fetch those data sets known by name that do not lie below the data root.

    Args:
        specs, data_root, scale_factor, purpose: as for :func:`open_pairs`.
        progress: called as bytes arrive, or are unpacked.

    Raises:
        DataError: when a data set is unknown or unfit, or not to be fetched by a program.
        DownloadError: when it cannot be fetched.
    """
    for spec in specs:
        try:
            resolve(spec, data_root, scale_factor, purpose)
        except MissingDatasetError:
            name, splits = name_and_splits(spec, purpose)
            for split in splits or (None,):
                fetch(name, data_root, scale_factor, split=split, progress=progress)


@dataclass(frozen=True)
class CacheRecipe:
    """Images and how they are kept; see :func:`~torch_sr.data.cache.open_cache`."""

    name: str
    paths: tuple[Path, ...]
    cache_dir: Path
    channels: int | None
    shrink: int = 1

    def open(self, progress: Progress | None = None) -> ImageCache:
        """Open the cache, building it at need."""
        return open_cache(
            self.name,
            self.paths,
            self.cache_dir,
            channels=self.channels,
            shrink=self.shrink,
            progress=progress,
        )

    def find(self) -> ImageCache | None:
        """The cache, if it is there and up to date."""
        return find_cache(
            self.name, self.paths, self.cache_dir, channels=self.channels, shrink=self.shrink
        )

    def find_or_read(self) -> Images:
        """The cache if it is there, otherwise the files themselves."""
        return self.find() or self.read()

    def read(self) -> SourceImages:
        """The files themselves; reads their headers."""
        return SourceImages(self.paths, self.channels, self.shrink)


def list_caches(
    specs: Sequence[str],
    *,
    data_root: Path,
    scale_factor: int,
    purpose: Purpose,
    channels: int | None = None,
    cache_dir: Path | None = None,
    download: bool = False,
) -> list[CacheRecipe]:
    """The caches that :func:`open_pairs` would open for the same arguments."""
    if channels is None and purpose != "test":
        channels = 3
    return [
        recipe
        for spec in specs
        for part in _parts(_resolve(spec, data_root, scale_factor, purpose, download))
        for recipe in _caches(
            label_of(spec), part, channels, scale_factor, cache_dir or default_cache_dir()
        )
    ]


def _resolve(
    spec: str, data_root: Path, scale_factor: int, purpose: Purpose, download: bool
) -> list[FilePair]:
    if download:
        download_missing([spec], data_root=data_root, scale_factor=scale_factor, purpose=purpose)
    found = resolve_with_warnings(spec, data_root, scale_factor, purpose)
    left = unpaired_lr(found.pairs)
    for remark in (*found.remarks, *([describe_unpaired(left)] if left else [])):
        _log.warning("%s: %s", spec, remark)
    return found.pairs


def _names(pairs: Sequence[FilePair]) -> dict[FilePair, str]:
    """Names to report; ``same.png`` beside ``same.jpg`` keep their suffixes."""
    counts = Counter(pair.name.casefold() for pair in pairs)
    return {
        pair: pair.name + (pair.hr.suffix if counts[pair.name.casefold()] > 1 else "")
        for pair in pairs
    }


def _parts(pairs: Sequence[FilePair]) -> list[list[FilePair]]:
    """The pairs with low resolution of their own, then those without, where there are any.

    Most data sets bring low resolution for all their images or for none; some for a split.
    """
    given = [pair for pair in pairs if pair.lr is not None]
    made = [pair for pair in pairs if pair.lr is None]
    return [part for part in (given, made) if part]


def _caches(
    label: str,
    part: Sequence[FilePair],
    channels: int | None,
    scale_factor: int,
    cache_dir: Path,
) -> tuple[CacheRecipe, CacheRecipe]:
    """The caches of a part's high and low resolution."""
    hr_paths = tuple(dict.fromkeys(pair.hr for pair in part))  # each once, see _pick
    lr_paths = tuple(pair.lr for pair in part if pair.lr is not None)
    hr = CacheRecipe(label, hr_paths, cache_dir, channels)
    if lr_paths:
        return hr, CacheRecipe(f"{label}-lr", lr_paths, cache_dir, channels)
    return hr, CacheRecipe(label, hr_paths, cache_dir, channels, shrink=scale_factor)


def _pick(images: Images, paths: Sequence[Path], part: Sequence[FilePair]) -> Images:
    """The high resolution of each pair: DIV2K's wild track has four of low resolution to one."""
    if len(paths) == len(part):
        return images
    places = {path: place for place, path in enumerate(paths)}
    return PickedImages(images, [places[pair.hr] for pair in part])


def label_of(spec: str) -> str:
    """A specification as part of a file name, for people to recognize."""
    return re.sub(r"[^a-z0-9]+", "-", spec.lower()).strip("-")[-60:] or "images"

"""Open the data sets of specifications as image pairs with pixels."""

from __future__ import annotations

import hashlib
import logging
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from torch_sr.aliases import Array, Progress
from torch_sr.data.cache import CacheRecipe, default_cache_dir
from torch_sr.data.resize import crop_to_multiple
from torch_sr.data.sets.downloads import download_missing
from torch_sr.data.sets.file_pairs import FilePair, describe_unpaired, unpaired_lr
from torch_sr.data.sets.folders import is_bicubic
from torch_sr.data.sets.resolve import resolve_with_warnings
from torch_sr.data.sets.table import Purpose
from torch_sr.data.sources import Images, PickedImages
from torch_sr.errors import DataError

_log = logging.getLogger(__name__)


class ImagePairs:
    """Low- and high-resolution images in pairs; HR is cropped to a multiple of the scale factor.

    Args:
        lr: sets of low-resolution images, one for each set in ``hr``.
        hr: sets of high-resolution images.
        scale_factor: whole factor between the two resolutions.
        names: one for each pair, for messages and reports.
        made: for each pair, whether its LR is known to be HR downscaled by the bicubic filter, by
            torch-sr or by the publisher; by default False for all.

    Raises:
        DataError: an LR image does not have ``1 / scale_factor`` of the size of its HR image.
    """

    def __init__(
        self,
        lr: Sequence[Images],
        hr: Sequence[Images],
        scale_factor: int,
        names: Sequence[str],
        made: Sequence[bool] | None = None,
    ) -> None:
        self.scale_factor = scale_factor
        self.names = list(names)
        self._lr, self._hr = list(lr), list(hr)
        self._made = [False] * len(self.names) if made is None else list(made)
        self._places = [(part, i) for part, images in enumerate(hr) for i in range(len(images))]
        self._check_sizes()

    def _check_sizes(self) -> None:
        scale = self.scale_factor
        for index, name in enumerate(self.names):
            lr, hr = self.lr_size(index), self.hr_size(index)
            if lr != (hr[0] // scale, hr[1] // scale):
                raise DataError(
                    f"{name}: {_remedy(lr, hr)}; LR is {lr[1]}x{lr[0]} and HR {hr[1]}x{hr[0]} "
                    f"pixels, which is not a factor of {scale}"
                )

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, index: int) -> tuple[Array, Array]:
        """LR ``(H, W, C)`` and HR ``(H * s, W * s, C)``, views of uint8 or uint16 as stored."""
        part, i = self._places[index]
        lr, hr = self._lr[part][i], self.hr(index)
        if lr.shape[2] != hr.shape[2]:  # gray, whose partner is stored as RGB
            channels = max(lr.shape[2], hr.shape[2])
            lr, hr = (np.broadcast_to(image, (*image.shape[:2], channels)) for image in (lr, hr))
        return lr, hr

    def hr(self, index: int) -> Array:
        """HR alone, ``(H * s, W * s, C)``, as stored."""
        part, i = self._places[index]
        return crop_to_multiple(self._hr[part][i], self.scale_factor)

    @property
    def depth(self) -> int:
        """Bits per sample of the deepest image: 8 or 16."""
        return max(images.pixel_format(i).depth for images, i in self._all())

    def digest(self) -> str:
        """SHA-256 of all image files together, independent of their names and order."""
        digests = {images.digest(i) for images, i in self._all()}
        return hashlib.sha256("\n".join(sorted(digests)).encode()).hexdigest()

    def _all(self) -> Iterator[tuple[Images, int]]:
        return ((images, i) for images in (*self._lr, *self._hr) for i in range(len(images)))

    @property
    def uncached_bytes(self) -> int:
        """Size in a cache of the images that are read from their files."""
        return sum(images.uncached_bytes for images in (*self._lr, *self._hr))

    def lr_is_made(self, index: int) -> bool:
        """Whether LR is bicubic, so that a degraded image may replace it."""
        return self._made[index]

    @property
    def num_made(self) -> int:
        """Number of pairs whose LR is bicubic."""
        return sum(self._made)

    def hr_size(self, index: int) -> tuple[int, int]:
        """Height and width of an HR image as stored, without reading its pixels."""
        part, i = self._places[index]
        return self._hr[part].pixel_format(i).shape[:2]

    def lr_size(self, index: int) -> tuple[int, int]:
        """Height and width of an LR image, without reading its pixels."""
        part, i = self._places[index]
        return self._lr[part].pixel_format(i).shape[:2]


def _remedy(lr_size: Sequence[int], hr_size: Sequence[int]) -> str:
    """What to do about an LR image of the wrong size."""
    factor = round(hr_size[0] / lr_size[0])
    if lr_size[0] > hr_size[0]:
        return "swap the folders of high and low resolution"
    if factor and all(hr // factor == lr for hr, lr in zip(hr_size, lr_size, strict=True)):
        return f"use scale factor {factor}, or other low resolution"
    return "replace or remove the low-resolution image"


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
    """Open data sets as image pairs, and decode them into the cache if needed.

    If a data set has no low resolution, it is made by MATLAB's bicubic.

    Args:
        specs: for example ``["bsds500:train+test", "SunHays80"]``.
        data_root: folder of the data sets.
        scale_factor: between the two resolutions.
        purpose: selects the splits if a specification names none.
        channels: 1 or 3; by default 3, except that gray files stay gray for tests, because papers
            measure them without converting to luma.
        cache_dir: :func:`~torch_sr.data.cache.default_cache_dir` by default.
        progress: called while images are decoded.
        decode: False reads the images that are not in the cache from their files when needed.
        download: download known data sets that are missing.

    Raises:
        DataError: a data set is missing or unusable.
        DownloadError: a data set cannot be downloaded.
        ImageError: an image cannot be read.
    """
    source = PairSource(
        specs=specs,
        data_root=data_root,
        scale_factor=scale_factor,
        purpose=purpose,
        channels=channels,
        cache_dir=cache_dir,
    )
    lr_sets: list[Images] = []
    hr_sets: list[Images] = []
    names: list[str] = []
    made: list[bool] = []
    for part in source.parts(download=download):
        hr, lr = (
            recipe.open(progress) if decode else recipe.find_or_read() for recipe in part.recipes
        )
        for warning in hr.warnings:
            _log.warning("%s: %s", part.spec, warning)
        hr_sets.append(part.pick_hr(hr))
        lr_sets.append(lr)
        names += part.names
        made += [pair.lr is None or is_bicubic(pair.lr) for pair in part.pairs]
    return ImagePairs(lr_sets, hr_sets, scale_factor, names, made)


def label_of(spec: str) -> str:
    """A specification as a readable part of a file name."""
    return re.sub(r"[^a-z0-9]+", "-", spec.lower()).strip("-")[-60:] or "images"


@dataclass(frozen=True)
class _Part:
    """The pairs of a data set that have low resolution, or the pairs for which it is made."""

    spec: str
    pairs: Sequence[FilePair]
    names: Sequence[str]
    hr: CacheRecipe
    lr: CacheRecipe

    @property
    def recipes(self) -> tuple[CacheRecipe, CacheRecipe]:
        return self.hr, self.lr

    def pick_hr(self, images: Images) -> Images:
        """The HR image of each pair; in DIV2K's wild track, four pairs share one."""
        if len(self.hr.paths) == len(self.pairs):
            return images
        places = {path: place for place, path in enumerate(self.hr.paths)}
        return PickedImages(images, [places[pair.hr] for pair in self.pairs])


@dataclass(frozen=True, kw_only=True)
class PairSource:
    """Image pairs that are not opened yet; the arguments are those of :func:`open_pairs`."""

    specs: Sequence[str]
    data_root: Path
    scale_factor: int
    purpose: Purpose
    channels: int | None = None
    cache_dir: Path | None = None

    def caches(self) -> list[CacheRecipe]:
        """The caches that :func:`open_pairs` opens."""
        return [recipe for part in self.parts() for recipe in part.recipes]

    def parts(self, *, download: bool = False) -> Iterator[_Part]:
        """The parts of the data sets: for each, first the pairs with LR, then those without.

        Most data sets have low resolution for all images or for none; a few for one split only.
        """
        for spec in self.specs:
            pairs = self._resolve(spec, download=download)
            names = _name_pairs(pairs, label_of(spec))
            with_lr = [pair for pair in pairs if pair.lr is not None]
            without_lr = [pair for pair in pairs if pair.lr is None]
            for part in filter(None, (with_lr, without_lr)):
                yield _Part(
                    spec, part, [names[pair] for pair in part], *self._recipes(label_of(spec), part)
                )

    def _resolve(self, spec: str, *, download: bool) -> list[FilePair]:
        """The pairs of a specification; logs warnings about files that are not used."""
        if download:
            download_missing(
                [spec],
                data_root=self.data_root,
                scale_factor=self.scale_factor,
                purpose=self.purpose,
            )
        found = resolve_with_warnings(spec, self.data_root, self.scale_factor, self.purpose)
        unpaired = unpaired_lr(found.pairs, found.other_side)
        for warning in (*found.warnings, *([describe_unpaired(unpaired)] if unpaired else [])):
            _log.warning("%s: %s", spec, warning)
        return found.pairs

    def _recipes(self, label: str, pairs: Sequence[FilePair]) -> tuple[CacheRecipe, CacheRecipe]:
        """The caches of the high and the low resolution of a part."""
        hr_paths = tuple(dict.fromkeys(pair.hr for pair in pairs))  # each once, see _Part.pick_hr
        lr_paths = tuple(pair.lr for pair in pairs if pair.lr is not None)
        channels = 3 if self.channels is None and self.purpose != "test" else self.channels
        cache_dir = self.cache_dir or default_cache_dir()
        hr = CacheRecipe(label, hr_paths, cache_dir, channels)
        if lr_paths:
            return hr, CacheRecipe(f"{label}-lr", lr_paths, cache_dir, channels)
        return hr, CacheRecipe(label, hr_paths, cache_dir, channels, shrink=self.scale_factor)


def _name_pairs(pairs: Sequence[FilePair], label: str) -> dict[FilePair, str]:
    """Names for reports; ``same.png`` next to ``same.jpg`` keep their suffixes."""
    counts = Counter(pair.name.casefold() for pair in pairs)
    return {
        pair: f"{label}/{pair.name}{pair.hr.suffix if counts[pair.name.casefold()] > 1 else ''}"
        for pair in pairs
    }

"""Plan, build and repair the caches of data sets: ``torch-sr data prepare``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch_sr.aliases import Progress
from torch_sr.data.cache import CacheRecipe
from torch_sr.data.image_pairs import PairSource
from torch_sr.data.sets.table import Purpose
from torch_sr.errors import DataError
from torch_sr.files import require_room


@dataclass(frozen=True)
class PlannedCache:
    """A cache, its size, and whether it was up to date when it was planned."""

    recipe: CacheRecipe
    num_bytes: int
    ready: bool


def plan_caches(
    specs: Mapping[Purpose, Sequence[str]],
    *,
    data_root: Path,
    scale_factor: int,
    channels: int | None = None,
    cache_dir: Path | None = None,
) -> list[PlannedCache]:
    """List the caches of data sets, each once. Sizes come from the headers of the images.

    Args:
        specs: data sets by purpose.
        data_root, scale_factor, channels, cache_dir: see
            :func:`~torch_sr.data.image_pairs.open_pairs`.

    Raises:
        DataError: a data set is missing or unusable.
        ImageError: a header cannot be read.
    """
    recipes = [
        recipe
        for purpose, named in specs.items()
        for recipe in PairSource(
            specs=named,
            data_root=data_root,
            scale_factor=scale_factor,
            purpose=purpose,
            channels=channels,
            cache_dir=cache_dir,
        ).caches()
    ]
    return [_plan(recipe) for recipe in dict.fromkeys(recipes)]


def _plan(recipe: CacheRecipe) -> PlannedCache:
    cache = recipe.find()
    size = recipe.read().uncached_bytes if cache is None else cache.num_bytes
    return PlannedCache(recipe, size, ready=cache is not None)


def build_caches(plans: Sequence[PlannedCache], progress: Progress | None = None) -> None:
    """Build the caches that are not ready.

    Args:
        plans: see :func:`plan_caches`.
        progress: called with the number of images done and their total number, for each cache.

    Raises:
        DataError: the disk does not have room for all of them, or a cache cannot be written.
        ImageError: an image cannot be read.
    """
    missing = [plan for plan in plans if not plan.ready]
    if not missing:
        return
    folder = missing[0].recipe.cache_dir
    try:
        require_room(folder, sum(plan.num_bytes for plan in missing))
    except OSError as error:
        raise DataError(
            f"{folder}: make room or choose another folder with TORCH_SR_HOME; {error.strerror}"
        ) from error
    for plan in missing:
        plan.recipe.open(progress)


def repair_caches(plans: Sequence[PlannedCache], progress: Progress | None = None) -> list[Path]:
    """Compare all caches with their checksums and source files; rebuild those that differ.

    Args:
        plans: see :func:`plan_caches`.
        progress: called with the number of images done and their total number, for each cache.

    Returns:
        the source files that have changed, or whose pixels in the cache were damaged.

    Raises:
        DataError: a cache cannot be rebuilt.
        ImageError: an image cannot be read.
    """
    damaged: list[Path] = []
    for plan in plans:
        cache = plan.recipe.open(progress)
        found = cache.find_damaged(progress)
        damaged += found
        if found:
            cache.forget()
            plan.recipe.open(progress)
    return damaged

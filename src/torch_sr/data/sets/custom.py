"""Resolve a custom folder or image list, or a part of it, to image pairs.

=============================  =================================================================
specification                  image pairs
=============================  =================================================================
``photos``                     all, see :func:`~torch_sr.data.sets.file_pairs.find_pairs`
``photos:2023+2024``           those of two sub-folders
``set:train``                  those of ``set/train``, or of ``set/HR/train`` and ``set/LR/train``
``set:GT``                     only the images of ``set/GT``; low resolution is made
``set:GT<LQ``                  those of ``set/GT`` and ``set/LQ``
``set:GT<LQ_jpeg<LQ_blur``     two for each image of ``set/GT``
``photos:train, photos:val``   one side of a split, if no sub-folder has this name
``set:GT<LQ:val``              one side of that part
=============================  =================================================================
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from torch_sr.data.sets.file_pairs import FilePair, find_pairs, pair_folders
from torch_sr.data.sets.folders import find_hr_folder
from torch_sr.data.sets.list_files import (
    LIST_SUFFIXES,
    find_partly_paired,
    find_repeated,
    read_list,
    with_unique_names,
)
from torch_sr.data.sets.similar_names import refuse_low
from torch_sr.data.sets.splits import SIDES, split_pairs
from torch_sr.data.sets.unused import find_unused
from torch_sr.errors import DataError


@dataclass(frozen=True)
class Resolved:
    """The image pairs of a specification, and warnings about files that are not used.

    Args:
        pairs: the image pairs.
        warnings: about files that are not used.
        other_side: the pairs on the other side of a split, which are used elsewhere.
    """

    pairs: list[FilePair]
    warnings: list[str] = field(default_factory=list)
    other_side: list[FilePair] = field(default_factory=list)


def resolve_custom(path: Path, parts: str, scale_factor: int) -> Resolved:
    """List the image pairs of a folder or of an image list.

    Args:
        path: the folder or list.
        parts: the text after the colon; empty for all pairs.
        scale_factor: between the two resolutions.

    Raises:
        DataError: a folder or image is missing or unpaired, or low resolution would be ignored.
    """
    if not parts:
        return _whole(path, scale_factor)
    inner, _, side = parts.rpartition(":")
    if inner and side in SIDES:  # one side of a part, such as GT<LQ:val
        part = resolve_custom(path, inner, scale_factor)
        return _side(part, side, scale_factor, f"{path}:{inner}")
    named = [parts] if _is_part(path, parts) else parts.split("+")
    found = [_part(path, part, scale_factor) for part in named]
    pairs = [pair for part in found for pair in part.pairs]
    return Resolved(
        with_unique_names(pairs),
        [warning for part in found for warning in part.warnings],
        [pair for part in found for pair in part.other_side],
    )


def _side(whole: Resolved, side: str, scale_factor: int, name: str) -> Resolved:
    """One side of a split; see :func:`~torch_sr.data.sets.splits.split_pairs`."""
    pairs = split_pairs(whole.pairs, side, scale_factor, name)
    taken = set(pairs)
    return Resolved(pairs, whole.warnings, [pair for pair in whole.pairs if pair not in taken])


def _whole(path: Path, scale_factor: int) -> Resolved:
    if path.is_file():
        pairs = read_list(path)
        refuse_low([pair.hr for pair in pairs if pair.lr is None], path, scale_factor)
        warnings = [*find_repeated(pairs, path), *find_partly_paired(pairs, path)]
        return Resolved(pairs, warnings)
    pairs = find_pairs(path, scale_factor)
    return Resolved(pairs, list(find_unused(path, pairs, scale_factor)))


def _part(path: Path, part: str, scale_factor: int) -> Resolved:
    if path.is_dir() and "<" in part and not (path / part).is_dir():
        return Resolved(list(_several(path, part, scale_factor)))
    if path.is_dir() and part and (path / part).is_dir():
        return Resolved(find_pairs(path / part, scale_factor, alone=True))
    if (below := _below_high(path, part, scale_factor)) is not None:
        return Resolved(find_pairs(below, scale_factor))
    if part in SIDES:
        whole = _whole(path, scale_factor)
        return _side(whole, part, scale_factor, str(path))
    more = "" if path.is_file() else ", a sub-folder, or two sub-folders as HR<LR"
    raise DataError(f"{path}:{part}: write {' or '.join(SIDES)}{more} after the colon")


def _below_high(path: Path, part: str, scale_factor: int) -> Path | None:
    """``set/HR/train`` for ``set:train``, if the parts are below the two resolutions."""
    if not part or not path.is_dir():
        return None
    hr_folder = find_hr_folder(path, scale_factor)
    return hr_folder / part if hr_folder != path and (hr_folder / part).is_dir() else None


def _several(path: Path, part: str, scale_factor: int) -> Iterator[FilePair]:
    """Pairs of ``GT<LQ_jpeg<LQ_blur``; with several LR folders, names start with the folder."""
    high, *lows = (place.strip() for place in part.split("<"))
    for name in (high, *lows):
        if not name or not (path / name).is_dir():
            raise DataError(f"{path}:{part}: correct the folder {name!r}, which is not in {path}")
    for low in lows:
        factor = path / low / f"X{scale_factor}"
        folder = factor if factor.is_dir() else path / low
        for pair in pair_folders(path / high, folder, scale_factor):
            yield pair if len(lows) == 1 else replace(pair, name=f"{low}/{pair.name}")


def _is_part(path: Path, part: str) -> bool:
    return path.is_dir() and (path / part).is_dir()


def is_list(path: Path) -> bool:
    """Whether a path is an image list, by its suffix."""
    return path.is_file() and path.suffix.lower() in LIST_SUFFIXES

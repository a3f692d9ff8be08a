"""Warn about unused files of a custom data set; refuse ambiguous ones.

A folder with the same file names and another image size is most likely low resolution under an
unknown name. Without a warning, a training would make its own low resolution, or use both folders
as originals. Only names and headers are read.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from torch_sr.data.sets.file_pairs import FilePair
from torch_sr.data.sets.folders import find_hr_folder, find_lr_folder, sub_folders
from torch_sr.data.sets.image_files import by_plain_name, list_images, share_names
from torch_sr.data.sets.name_words import role_of
from torch_sr.errors import DataError, ImageError
from torch_sr.images import is_image_name, read_header, read_size

_SAMPLES = 3
_MOST_FOLDERS = 30  # more than these are not variants of one set
_OTHER_FILES = frozenset(
    {
        *(".csv", ".db", ".html", ".ini", ".json", ".lmdb", ".lst", ".mat", ".md", ".npy", ".npz"),
        *(".pdf", ".py", ".sh", ".sha256", ".tar", ".tsv", ".txt", ".url", ".xml", ".yaml"),
        *(".yml", ".zip"),
    }
)
_MOST_SNIFFED = 200


def find_unused(folder: Path, pairs: Sequence[FilePair], scale_factor: int) -> Iterator[str]:
    """Find files of a data set that are not used; yield one sentence each, the remedy first.

    Args:
        folder: of the data set.
        pairs: the pairs that are used.
        scale_factor: between the two resolutions.

    Raises:
        DataError: low resolution would be ignored, or used as originals.
    """
    if any(folder.glob("image_SRF_*")):
        return
    hr_folder = find_hr_folder(folder, scale_factor)
    low = {_top(pair.lr, hr_folder.parent) for pair in pairs if pair.lr is not None}
    lr_folders = sorted(low - {hr_folder})  # empty if baby_HR and baby_LR are in one folder
    _refuse_sets_below(folder, pairs, scale_factor)
    if lr_folders or not low:  # one folder with both is the whole set
        yield from _find_same_names(folder, hr_folder, lr_folders, scale_factor)
    yield from _find_below(hr_folder, pairs, scale_factor)
    yield from _find_unusual_names(hr_folder)
    yield from _find_unreadable(hr_folder, pairs)


def _top(file: Path, folder: Path) -> Path:
    """The sub-folder of ``folder`` that contains a file."""
    with suppress(ValueError, IndexError):
        return folder / file.relative_to(folder).parts[0]
    return file.parent


def _refuse_sets_below(folder: Path, pairs: Sequence[FilePair], scale_factor: int) -> None:
    """Refuse ``train/input`` and ``train/target`` if the folder above ``train`` is named."""
    above = {parent for used in {pair.hr.parent for pair in pairs} for parent in used.parents}
    sets = {}
    for place in sorted(path for path in above if folder in path.parents):
        hr_folder = find_hr_folder(place, scale_factor)
        if hr_folder != place and (lr := find_lr_folder(hr_folder, scale_factor)) is not None:
            sets[place] = f"{hr_folder.name} and {lr.relative_to(place).as_posix()}"
    if sets:
        first = next(iter(sets))
        parts = "+".join(place.relative_to(folder).as_posix() for place in sets)
        each = f", or {folder.absolute()}:{parts} for all of them" if len(sets) > 1 else ""
        raise DataError(
            f"{folder}: name {first.absolute()} instead, which contains the pairs "
            f"{sets[first]}{each}"
        )


def _find_same_names(
    folder: Path, hr_folder: Path, lr_folders: Sequence[Path], scale_factor: int
) -> Iterator[str]:
    """Find folders with the same file names as the one in use."""
    if hr_folder == folder and not any(map(is_image_name, folder.iterdir())):
        yield from _find_mixed(folder, scale_factor)  # all sub-folders are in use
        return
    place = hr_folder.parent.absolute()  # works with any data root
    used = (hr_folder, *lr_folders)
    others = [path for path in sub_folders(hr_folder.parent) if path not in used]
    if len(others) > _MOST_FOLDERS:
        return
    role = role_of(hr_folder.name)
    is_set = hr_folder != folder or (role is not None and role[0] == "high")
    for other in others:
        if is_set and not lr_folders:
            yield from _find_unmatched_low(hr_folder, other, scale_factor)
        factor = _factor_between(hr_folder, other)
        if factor is None or factor == 1 != scale_factor:
            continue
        names = "<".join([hr_folder.name, *(path.name for path in lr_folders), other.name])
        text = (
            f"{other} is not used, but has the same file names as {hr_folder} and {_times(factor)}"
        )
        if factor == scale_factor and is_set and not lr_folders:
            raise DataError(
                f"{folder}: write {place}:{names} to train on these pairs, or "
                f"{place}:{hr_folder.name} to train without them: {text}"
            )
        if factor == scale_factor:
            yield f"write {place}:{names} for pairs: {text}"
        elif factor < 1:
            yield f"write {place}:{other.name} if those are the originals: {text}"
        elif not lr_folders:
            yield f"train with scale_factor {factor:g} to use it: {text}"


def _find_unmatched_low(hr_folder: Path, other: Path, scale_factor: int) -> Iterator[str]:
    """Find a folder named like low resolution whose images cannot be partners."""
    role = role_of(other.name)
    if role is None or role[0] != "low":
        return
    if any(_is_named_by_factor(path) for path in sub_folders(other)):
        factors = ", ".join(path.name for path in sub_folders(other) if _is_named_by_factor(path))
        if not any(_images(other / f"{x}{scale_factor}") for x in "xX"):
            yield (
                f"use a scale factor that {other} has ({factors}); x{scale_factor} is missing "
                "there, and is made from the originals"
            )
    elif not _images(other):
        yield (
            f"put low resolution into {other}, which contains no images; otherwise it is made from "
            "the originals"
        )
    elif not share_names(_images(hr_folder), hr_folder, _images(other), other):
        yield (
            f"give the images in {other} the file names of those in {hr_folder} to use them as low "
            "resolution: their names differ, and low resolution is made from the originals"
        )


def _is_named_by_factor(folder: Path) -> bool:
    return re.fullmatch(r"[xX]\d+", folder.name) is not None


def _find_mixed(folder: Path, scale_factor: int) -> Iterator[str]:
    """Find pairs among sub-folders that are all used as originals."""
    parts = sub_folders(folder)
    if len(parts) > _MOST_FOLDERS:
        return
    for number, some in enumerate(parts):
        for other in parts[number + 1 :]:
            high, low = some, other
            factor = _factor_between(some, other)
            if factor is not None and factor < 1:
                high, low, factor = other, some, 1 / factor
            if factor is None:
                continue
            text = f"{some.name} and {other.name} have the same file names"
            if factor == scale_factor:
                raise DataError(
                    f"{folder}: write {folder.absolute()}:{high.name}<{low.name} to train on "
                    f"pairs, or name one of the folders: {text}, and {low.name} {_times(factor)}"
                )
            if factor == 1:
                yield f"name one of the folders if they show the same: {text} and sizes"
            else:
                yield (
                    f"name {folder.absolute()}:{high.name} alone, or use scale factor {factor:g}: "
                    f"{text}, and {low.name} {_times(factor)}"
                )


def _factor_between(high: Path, low: Path) -> float | None:
    """How many times larger the images of ``high`` are; None if the names or factors differ."""
    files, others = _images(high), _images(low)
    if not share_names(files, high, others, low):
        return None
    by_name = by_plain_name(others, low)
    same = [
        (file, by_name[name])
        for name, file in by_plain_name(files, high).items()
        if name in by_name
    ]
    factors: set[float | None] = set()
    with suppress(ImageError):
        for file, other in same[:_SAMPLES]:
            factors.add(_ratio(read_size(file), read_size(other)))
    return factors.pop() if len(factors) == 1 else None


def _images(folder: Path) -> list[Path]:
    """The images of a folder; empty if it cannot be read."""
    with suppress(DataError):
        return list_images(folder)
    return []


def _ratio(size: tuple[int, int], other: tuple[int, int]) -> float | None:
    """The whole factor between two sizes, or its inverse; None if there is none."""
    for large, small, turned in ((size, other, False), (other, size, True)):
        factor = round(large[0] / small[0])
        if factor and all(a // factor == b for a, b in zip(large, small, strict=True)):
            return 1 / factor if turned else float(factor)
    return None


def _times(factor: float) -> str:
    return f"1/{factor:g} of the size" if factor >= 1 else f"{1 / factor:g} times the size"


def _find_below(hr_folder: Path, pairs: Sequence[FilePair], scale_factor: int) -> Iterator[str]:
    """Find images in sub-folders of a folder that has images itself."""
    used = {pair.hr.parent for pair in pairs}
    low = {pair.lr.parent for pair in pairs if pair.lr is not None}
    low |= {parent for folder in low for parent in folder.parents}
    if used != {hr_folder}:
        return
    below = [p for p in sub_folders(hr_folder) if p not in low and not p.is_symlink()]
    if not low:
        _refuse_low_below(hr_folder, below[:_MOST_FOLDERS], scale_factor)
    counts = {path.name: len(_images(path)) for path in below[:_MOST_FOLDERS]}
    names = [f"{name} ({count})" for name, count in counts.items() if count]
    if names:
        yield (
            f"name the sub-folders of {hr_folder} too if they belong to it: {', '.join(names)}; "
            "if a folder has images itself, only these are used"
        )


def _refuse_low_below(hr_folder: Path, below: Sequence[Path], scale_factor: int) -> None:
    """Refuse ``photos/0001.png`` with ``photos/LR/0001.png`` or ``photos/LR/X4/0001.png``."""
    for folder in below:
        for place in (folder, *sub_folders(folder)):
            if _factor_between(hr_folder, place) == scale_factor != 1:
                name = place.relative_to(hr_folder).as_posix()
                raise DataError(
                    f"{hr_folder}: write {hr_folder.absolute()}:.<{name} to train on these pairs, "
                    f"or move {name} elsewhere: it has the same file names and "
                    f"{_times(scale_factor)}"
                )


def _find_unusual_names(hr_folder: Path) -> Iterator[str]:
    """Find images that are ignored because of the suffix of their names."""
    found: Counter[str] = Counter()
    with os.scandir(hr_folder) as entries:
        others = [entry for entry in entries if _may_be_image(entry)]
    for entry in sorted(others, key=lambda entry: entry.name)[:_MOST_SNIFFED]:
        with suppress(ImageError):
            read_header(entry.path)
            found[Path(entry.name).suffix or "without a suffix"] += 1
    if found:
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(found.items()))
        yield f"rename the images in {hr_folder} that do not have an image suffix: {kinds}"


def _may_be_image(entry: os.DirEntry[str]) -> bool:
    if entry.name.startswith(".") or is_image_name(entry.name):
        return False
    return Path(entry.name).suffix.lower() not in _OTHER_FILES and entry.is_file()


def _find_unreadable(hr_folder: Path, pairs: Sequence[FilePair]) -> Iterator[str]:
    """Find sub-folders that cannot be read, if sub-folders are used."""
    if {pair.hr.parent for pair in pairs} == {hr_folder}:
        return
    errors: list[OSError] = []
    for _ in os.walk(hr_folder, onerror=errors.append):
        pass
    for error in errors:
        yield f"check the permissions of {error.filename}, which is left out: {error.strerror}"

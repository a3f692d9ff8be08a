"""Find the HR and LR folders of a data set by their names.

Known names are those of the benchmarks (``HR`` with ``LR_bicubic/X4``, ``DIV2K_train_HR`` with
``DIV2K_train_LR_bicubic/X4``, ``GTmod12`` with ``LRbicx4``) and the words of
:mod:`torch_sr.data.sets.name_words`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from torch_sr.data.sets.image_files import list_images, share_names
from torch_sr.data.sets.name_words import role_of
from torch_sr.errors import DataError

HR_FOLDERS = ("HR", "GTmod12", "GT", "hr", "gt")
_LR_FOLDERS: tuple[str, ...] = (
    "LR_bicubic/X{s}",
    "LR_bicubic/x{s}",
    "LRbicx{s}",
    "LRx{s}",
    "LR_x{s}",
    "LR_X{s}",
    "LR/X{s}",
    "LR/x{s}",
    "X{s}",
    "LR",
    "lr",
)
# DIV2K's x8 track was published a year later, under another folder name.
_LR_OF_NAMED: tuple[str, ...] = (
    "{x}_LR_bicubic/X{s}",
    "{x}_LR_bicubic/x{s}",
    "{x}_LR_x{s}",
    "{x}_LR",
)
_BICUBIC = re.compile(r"(.*_)?LR_?bic(ubic)?(_?[xX]\d+)?")
_LR_OF_TRACK: tuple[str, ...] = (
    "{x}_LR_{track}/X{s}",
    "{x}_LR_{track}/x{s}",
    "{x}_LR_{track}",
)


def find_hr_folder(folder: Path, scale_factor: int) -> Path:
    """Find a folder such as ``HR``, or the only ``X_HR``; by default the folder itself.

    Raises:
        DataError: there are several.
    """
    usual = next((folder / name for name in HR_FOLDERS if (folder / name).is_dir()), None)
    if usual is not None:
        return usual
    inside = sorted(path for path in folder.glob("*_HR") if path.is_dir())
    inside = inside or [
        path for path in _high_folders(folder) if list(_partners(path, scale_factor))
    ]
    if len(inside) > 1:
        names = ", ".join(path.name for path in inside)
        raise DataError(f"{folder}: name one of its folders {names}; it contains several data sets")
    return inside[0] if inside else folder


def find_lr_folder(hr_folder: Path, scale_factor: int, track: str | None = None) -> Path | None:
    """Find the folder of low resolution that belongs to one of high resolution; None if missing.

    Args:
        hr_folder: see :func:`find_hr_folder`.
        scale_factor: between the two resolutions.
        track: how low resolution was made; only folders with this word in their name are found.

    Raises:
        DataError: there are several.
    """
    for path in _usual_places(hr_folder, scale_factor, track):
        if path.is_dir() and list_images(path):
            return path
    if track is not None:
        return None
    found = list(_partners(hr_folder, scale_factor))
    if len(found) > 1:
        spec = f"{hr_folder.parent.absolute()}:{hr_folder.name}"
        names = "<".join(_inside(path, hr_folder.parent) for path in found)
        raise DataError(
            f"{hr_folder}: write {spec}<{_inside(found[0], hr_folder.parent)} for one folder of "
            f"low resolution, or {spec}<{names} for all that match"
        )
    return found[0] if found else None


def find_hr_of(folder: Path, scale_factor: int) -> Path | None:
    """Find the folder of high resolution that belongs to one of low resolution."""
    role = role_of(folder.name)
    if role is None or role[0] != "low":
        return None
    for path in _high_folders(folder.parent):
        if folder in _partners(path, scale_factor):
            return path
    return None


def expected_places(hr_folder: Path, scale_factor: int, track: str | None) -> list[Path]:
    """The folders in which low resolution is searched for, by the names of the benchmarks."""
    return list(_usual_places(hr_folder, scale_factor, track))


def is_bicubic(lr: Path) -> bool:
    """Whether the folder of an LR image says that only the bicubic filter was applied.

    Such folders are ``LR_bicubic/X4``, ``DIV2K_train_LR_bicubic/X4`` and ``LRbicx4``.
    """
    return any(_BICUBIC.fullmatch(folder.name) for folder in list(lr.absolute().parents)[:2])


def _usual_places(hr_folder: Path, scale_factor: int, track: str | None) -> Iterator[Path]:
    name = hr_folder.name
    if track is not None:
        templates = _LR_OF_TRACK
    elif name in HR_FOLDERS:
        templates = _LR_FOLDERS
    elif name.endswith("_HR"):
        templates = _LR_OF_NAMED
    elif hr_folder.parent.name == "HR":
        templates = ("../X{s}/{x}",)
    else:
        return
    x = name.removesuffix("_HR")
    for lr in templates:
        place = hr_folder.parent / lr.format(x=x, s=scale_factor, track=track)
        yield Path(os.path.normpath(place))


def _high_folders(folder: Path) -> list[Path]:
    return [path for path in sub_folders(folder) if (role_of(path.name) or ("",))[0] == "high"]


def _partners(hr_folder: Path, scale_factor: int) -> Iterator[Path]:
    """Sibling folders named like low resolution that contain images of the same names.

    ``LQ/train`` belongs to ``GT/train``. A folder whose name differs only in the word for the
    resolution has priority over one with more differences.
    """
    files = list_images(hr_folder)
    for high, below in ((hr_folder, "."), (hr_folder.parent, hr_folder.name)):
        role = role_of(high.name)
        if role is None or role[0] != "high":
            continue
        ranked: dict[int, list[Path]] = {}
        for path in sub_folders(high.parent):
            found = role_of(path.name)
            if found is None or found[0] != "low":
                continue
            place, rank = _at_scale(path, found[1], scale_factor), _rank(role[1], found[1])
            if place is None or rank is None or not (place / below).is_dir():
                continue
            place = place / below
            if share_names(files, hr_folder, list_images(place), place):
                ranked.setdefault(rank, []).append(place)
        yield from ranked[min(ranked)] if ranked else ()
        return


def _rank(high: str, low: str) -> int | None:
    """How well two names match, 0 best; None if they do not."""
    high, low = (re.sub(r"[ _.-]*x?\d+x?$", "", name) for name in (high, low))
    if high == low:
        return 0
    return 1 if low.startswith(high) or high == "*" else None


def _at_scale(folder: Path, rest: str, scale_factor: int) -> Path | None:
    """``LQ``, or ``LQ/X4`` if there are such folders; None if its factor is another one."""
    factor = re.search(r"x(\d+)$", rest)
    if factor and int(factor[1]) != scale_factor:
        return None
    factors = [path for path in sub_folders(folder) if re.fullmatch(r"[xX]\d+", path.name)]
    if not factors:
        return folder
    return next((path for path in factors if int(path.name[1:]) == scale_factor), None)


def sub_folders(folder: Path) -> list[Path]:
    """The visible folders in a folder, sorted; empty if it cannot be read."""
    try:
        return sorted(
            path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")
        )
    except OSError:
        return []


def _inside(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix()

"""Find the images of a folder and pair high with low resolution, by the layouts in use.

========================================================  ==================================
layout                                                    used by
========================================================  ==================================
``image_SRF_4/img_001_SRF_4_{HR,LR}.png``                 SelfExSR benchmarks
``HR/baby.png`` + ``LR_bicubic/X4/babyx4.png``            EDSR benchmarks
``GTmod12/baby.png`` + ``LRbicx4/baby.png``               BasicSR benchmarks
``X_HR/0001.png`` + ``X_LR_bicubic/X4/0001x4.png``        DIV2K, Flickr2K
``HR/train/0001000/1.png`` + ``X4/train/0001000/1x4.png`` LSDIR
images lying in the folder, or in ``HR/`` alone           anybody; low resolution is made
a text file that lists images, or pairs of them           anybody, see :mod:`torch_sr.data.lists`
========================================================  ==================================

A folder whose images lie in sub-folders only, as LSDIR's do, is taken with all of them. Files that
are no images (``Thumbs.db``, ``.DS_Store``, text) are passed over.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from torch_sr.errors import DataError, MissingDatasetError
from torch_sr.images import is_image_name

_LOW = re.compile(r"^\.|(^|_)LR|^lr|^[Xx]\d+$|^image_SRF_")  # hidden, or no original images
_HR_FOLDERS = ("HR", "GTmod12", "GT", "hr", "gt")
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
_LR_OF_TRACK: tuple[str, ...] = (
    "{x}_LR_{track}/X{s}",
    "{x}_LR_{track}/x{s}",
    "{x}_LR_{track}",
)


@dataclass(frozen=True)
class ImagePair:
    """One image of a data set; ``lr`` is None where it has to be made from ``hr``."""

    name: str
    hr: Path
    lr: Path | None


def find_pairs(folder: Path, scale_factor: int, track: str | None = None) -> list[ImagePair]:
    """List the image pairs of a folder, sorted by name.

    Args:
        folder: in one of the layouts above.
        scale_factor: between the two resolutions.
        track: how the low resolution was made, where that is more than a bicubic filter and so
            cannot be made up for: DIV2K's ``unknown``, ``mild``, ``difficult`` or ``wild``.

    Raises:
        DataError: when the folder is missing, holds no images or several sets of them, or a
            low-resolution folder, or one of its images, lacks.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; check the data root")
    factors = {path.name.rpartition("_")[2]: path for path in sorted(folder.glob("image_SRF_*"))}
    if str(scale_factor) in factors:
        return _pairs_by_suffix(factors[str(scale_factor)])
    if factors:
        there = ", ".join(f"x{factor}" for factor in factors)
        raise DataError(f"{folder}: holds {there}, not x{scale_factor}; choose one of them")
    hr_folder = _find_hr_folder(folder)
    return pair_folders(hr_folder, _find_lr_folder(hr_folder, scale_factor, track), scale_factor)


def find_paired_folders(folder: Path, scale_factor: int) -> tuple[Path, Path] | None:
    """The sub-folders of high and low resolution, where a folder has both and they fit by name."""
    hr_folder = _find_hr_folder(folder)
    lr_folder = _find_lr_folder(hr_folder, scale_factor, None) if hr_folder != folder else None
    return None if lr_folder is None else (hr_folder, lr_folder)


def pair_folders(hr_folder: Path, lr_folder: Path | None, scale_factor: int) -> list[ImagePair]:
    """Pair two folders by file name: ``baby`` with ``baby``, ``babyx4`` or ``baby_x4``.

    Where there are several low-resolution images of one (``0001x4w1`` to ``0001x4w4``), each makes
    a pair, named after itself.

    Raises:
        DataError: when there are no images, or one has no partner.
    """
    hr_files = list_images(hr_folder)
    if not hr_files:
        raise DataError(
            f"{hr_folder}: holds no images; put them there directly or in a sub-folder HR"
        )
    if lr_folder is None:
        return [ImagePair(_stem(file, hr_folder), file, None) for file in hr_files]
    partners = _group_by_name(lr_folder, scale_factor)
    pairs, alone = [], []
    for file in hr_files:
        name = _stem(file, hr_folder)
        found = partners.get(name, [])
        pairs += [
            ImagePair(name if len(found) == 1 else _stem(lr, lr_folder), file, lr) for lr in found
        ]
        if not found:
            alone.append(file)
    _refuse_unpaired(alone, lr_folder)
    return pairs


def _group_by_name(lr_folder: Path, scale_factor: int) -> dict[str, list[Path]]:
    """Low-resolution images by the name of their partner; an exact name goes before a suffix."""
    suffix = re.compile(rf"_?x{scale_factor}(m|d|w\d?)?$", re.IGNORECASE)  # mild, difficult, wild
    exact = {_stem(file, lr_folder): [file] for file in list_images(lr_folder)}
    grouped: dict[str, list[Path]] = {}
    for name, files in exact.items():
        grouped.setdefault(suffix.sub("", name), []).extend(files)
    return {**grouped, **exact}


def _stem(file: Path, folder: Path) -> str:
    """``baby``, or ``0001000/baby`` for an image in a sub-folder."""
    return file.relative_to(folder).with_suffix("").as_posix()


def is_one_set(folder: Path) -> bool:
    """Whether a folder is a data set, rather than one that holds several."""
    if any(folder.glob("image_SRF_*")) or _find_hr_folder(folder) != folder:
        return True
    return any(is_image_name(file) and file.is_file() for file in folder.iterdir())


def list_images(folder: Path) -> list[Path]:
    """The image files of a folder, or else of its sub-folders, sorted by name.

    Raises:
        DataError: when the folder cannot be read.
    """
    try:
        here = sorted(file for file in folder.iterdir() if is_image_name(file) and file.is_file())
    except OSError as error:
        raise DataError(f"{folder}: {error.strerror}; check the data root") from error
    return here or sorted(_walk(folder))


def _walk(folder: Path) -> list[Path]:
    found = []
    for parent, folders, names in os.walk(folder):  # which follows no links, so no loops
        folders[:] = [name for name in folders if not _LOW.search(name)]
        found += [Path(parent, name) for name in names if is_image_name(name)]
    return found


def _find_hr_folder(folder: Path) -> Path:
    """``HR`` or the like, or the one ``X_HR`` inside a folder, or else the folder itself."""
    usual = next((folder / name for name in _HR_FOLDERS if (folder / name).is_dir()), None)
    if usual is not None:
        return usual
    inside = sorted(path for path in folder.glob("*_HR") if path.is_dir())
    if len(inside) > 1:
        names = ", ".join(path.name for path in inside)
        raise DataError(f"{folder}: holds several sets, {names}; name one of them")
    return inside[0] if inside else folder


def _find_lr_folder(hr_folder: Path, scale_factor: int, track: str | None) -> Path | None:
    """The low-resolution folder beside the high-resolution one that holds images, if there is one.

    Raises:
        DataError: when a track is asked for and is not there.
    """
    name = hr_folder.name
    if track is not None:
        templates = _LR_OF_TRACK
    elif name in _HR_FOLDERS:
        templates = _LR_FOLDERS
    elif name.endswith("_HR"):
        templates = _LR_OF_NAMED
    elif hr_folder.parent.name == "HR":
        templates = ("../X{s}/{x}",)
    else:
        return None
    x = name.removesuffix("_HR")
    folders = [
        Path(os.path.normpath(hr_folder.parent / lr.format(x=x, s=scale_factor, track=track)))
        for lr in templates
    ]
    found = next((path for path in folders if path.is_dir() and list_images(path)), None)
    if track is not None and found is None:
        raise MissingDatasetError(
            f"{folders[0]}: no such folder of images; fetch it with 'torch-sr data download'"
        )
    return found


def _pairs_by_suffix(folder: Path) -> list[ImagePair]:
    names = {file.stem: file for file in list_images(folder)}
    hr_files = {
        stem.removesuffix("_HR"): file for stem, file in names.items() if stem.endswith("_HR")
    }
    if not hr_files:
        raise DataError(f"{folder}: holds no images named *_HR and *_LR")
    pairs = [ImagePair(name, file, names.get(f"{name}_LR")) for name, file in hr_files.items()]
    unpaired = [pair.hr for pair in pairs if pair.lr is None]
    if len(unpaired) < len(pairs):  # without any, low resolution is made
        _refuse_unpaired(unpaired, folder)
    return pairs


def _refuse_unpaired(hr_files: list[Path], lr_folder: Path) -> None:
    if hr_files:
        more = f" and {len(hr_files) - 1} more" if len(hr_files) > 1 else ""
        raise DataError(f"{lr_folder}: no low-resolution partner for {hr_files[0]}{more}")

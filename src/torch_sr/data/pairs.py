"""Find the images of a folder and pair high with low resolution, by the layouts in use.

========================================================  ==================================
layout                                                    used by
========================================================  ==================================
``image_SRF_4/img_001_SRF_4_{HR,LR}.png``                 SelfExSR benchmarks
``HR/baby.png`` + ``LR_bicubic/X4/babyx4.png``            EDSR benchmarks
``GTmod12/baby.png`` + ``LRbicx4/baby.png``               BasicSR benchmarks
``X_HR/0001.png`` + ``X_LR_bicubic/X4/0001x4.png``        DIV2K, Flickr2K
images lying in the folder, or in ``HR/`` alone           anybody; low resolution is made
========================================================  ==================================

Files that are no images (``Thumbs.db``, ``.DS_Store``, text) are passed over.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from torch_sr.errors import DataError
from torch_sr.images import is_image_name

_HR_FOLDERS = ("HR", "GTmod12", "GT", "hr", "gt")
_LR_FOLDERS: tuple[str, ...] = (
    "LR_bicubic/X{s}",
    "LR_bicubic/x{s}",
    "LRbicx{s}",
    "LR/X{s}",
    "LR/x{s}",
    "LR",
    "lr",
)
# DIV2K's x8 track was published a year later, under another folder name.
_LR_OF_NAMED: tuple[str, ...] = ("{x}_LR_bicubic/X{s}", "{x}_LR_bicubic/x{s}", "{x}_LR_x{s}")


@dataclass(frozen=True)
class ImagePair:
    """One image of a data set; ``lr`` is None where it has to be made from ``hr``."""

    name: str
    hr: Path
    lr: Path | None


def find_pairs(folder: Path, scale_factor: int) -> list[ImagePair]:
    """List the image pairs of a folder, sorted by name.

    Raises:
        DataError: when the folder is missing, holds no images or several sets of them, or a
            low-resolution folder lacks a partner.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; check the data root")
    srf = folder / f"image_SRF_{scale_factor}"
    if srf.is_dir():
        return _pairs_by_suffix(srf)
    hr_folder = _find_hr_folder(folder)
    return pair_folders(hr_folder, _find_lr_folder(hr_folder, scale_factor), scale_factor)


def pair_folders(hr_folder: Path, lr_folder: Path | None, scale_factor: int) -> list[ImagePair]:
    """Pair two folders by file name: ``baby`` with ``baby``, ``babyx4`` or ``baby_x4``.

    Raises:
        DataError: when there are no images, or one has no partner.
    """
    hr_files = list_images(hr_folder)
    if not hr_files:
        raise DataError(
            f"{hr_folder}: holds no images; put them there directly or in a sub-folder HR"
        )
    if lr_folder is None:
        return [ImagePair(file.stem, file, None) for file in hr_files]
    suffix = re.compile(rf"_?x{scale_factor}(m|d|w\d)?$", re.IGNORECASE)  # mild, difficult, wild
    lr_files = list_images(lr_folder)
    by_name = {file.stem: file for file in lr_files}
    for file in lr_files:
        by_name.setdefault(suffix.sub("", file.stem), file)
    _refuse_unpaired([file for file in hr_files if file.stem not in by_name], lr_folder)
    return [ImagePair(file.stem, file, by_name[file.stem]) for file in hr_files]


def list_images(folder: Path) -> list[Path]:
    """The image files directly in a folder, sorted by name.

    Raises:
        DataError: when the folder cannot be read.
    """
    try:
        return sorted(file for file in folder.iterdir() if is_image_name(file) and file.is_file())
    except OSError as error:
        raise DataError(f"{folder}: {error.strerror}; check the data root") from error


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


def _find_lr_folder(hr_folder: Path, scale_factor: int) -> Path | None:
    """The low-resolution folder beside ``HR`` or ``X_HR`` that holds images, if there is one."""
    name = hr_folder.name
    if name in _HR_FOLDERS:
        templates = _LR_FOLDERS
    elif name.endswith("_HR"):
        templates = _LR_OF_NAMED
    else:
        return None
    x = name.removesuffix("_HR")
    folders = (hr_folder.parent / lr.format(x=x, s=scale_factor) for lr in templates)
    return next((path for path in folders if path.is_dir() and list_images(path)), None)


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

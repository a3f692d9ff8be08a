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
_LR_FOLDERS = ("LR_bicubic/X{s}", "LR_bicubic/x{s}", "LRbicx{s}", "LR/X{s}", "LR/x{s}", "LR", "lr")


@dataclass(frozen=True)
class ImagePair:
    """One image of a data set; ``lr`` is None where it has to be made from ``hr``."""

    name: str
    hr: Path
    lr: Path | None


def find_pairs(folder: Path, scale_factor: int) -> list[ImagePair]:
    """List the image pairs of a folder, sorted by name.

    Raises:
        DataError: when the folder is missing, holds no images, or a low-resolution folder lacks
            a partner.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; check the data root")
    srf = folder / f"image_SRF_{scale_factor}"
    if srf.is_dir():
        return _pairs_by_suffix(srf)
    hr_folder = next((folder / name for name in _HR_FOLDERS if (folder / name).is_dir()), None)
    if hr_folder is not None:
        return pair_folders(hr_folder, _first_lr_folder(folder, scale_factor), scale_factor)
    return pair_folders(folder, None, scale_factor)


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
    suffix = re.compile(rf"_?x{scale_factor}[a-z]?\d?$", re.IGNORECASE)
    lr_files = list_images(lr_folder)
    by_name = {file.stem: file for file in lr_files}
    for file in lr_files:
        by_name.setdefault(suffix.sub("", file.stem), file)
    unpaired = [file.name for file in hr_files if file.stem not in by_name]
    if unpaired:
        raise DataError(
            f"{lr_folder}: no low-resolution partner for {unpaired[0]}"
            f"{f' and {len(unpaired) - 1} more' if len(unpaired) > 1 else ''} of {hr_folder}"
        )
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


def _first_lr_folder(folder: Path, scale_factor: int) -> Path | None:
    candidates = (folder / name.format(s=scale_factor) for name in _LR_FOLDERS)
    return next((path for path in candidates if path.is_dir() and list_images(path)), None)


def _pairs_by_suffix(folder: Path) -> list[ImagePair]:
    files = {file.stem: file for file in list_images(folder)}
    pairs = [
        ImagePair(stem.removesuffix("_HR"), file, files.get(stem.removesuffix("_HR") + "_LR"))
        for stem, file in files.items()
        if stem.endswith("_HR")
    ]
    if not pairs:
        raise DataError(f"{folder}: holds no images named *_HR and *_LR")
    return pairs

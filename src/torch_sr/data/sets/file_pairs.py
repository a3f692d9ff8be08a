"""Find the image files of a folder, and pair HR with LR.

========================================================  ==================================
structure                                                 used by
========================================================  ==================================
``image_SRF_4/img_001_SRF_4_{HR,LR}.png``                 SelfExSR benchmarks
``HR/baby.png`` + ``LR_bicubic/X4/babyx4.png``            EDSR benchmarks
``GTmod12/baby.png`` + ``LRbicx4/baby.png``               BasicSR benchmarks
``X_HR/0001.png`` + ``X_LR_bicubic/X4/0001x4.png``        DIV2K, Flickr2K
``HR/train/0001000/1.png`` + ``X4/train/0001000/1x4.png`` LSDIR
``GT/baby.png`` + ``LQ/baby.png``, ``target`` + ``input`` see :mod:`torch_sr.data.sets.folders`
images in the folder, or in ``HR/`` only                  low resolution is made
a text file that lists images or pairs of images          see :mod:`torch_sr.data.sets.list_files`
========================================================  ==================================

If a folder has images in sub-folders only, as in LSDIR, all of them are used. Files that are not
images (``Thumbs.db``, ``.DS_Store``, text) are ignored.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch_sr.data.sets.folders import (
    expected_places,
    find_hr_folder,
    find_hr_of,
    find_lr_folder,
    sub_folders,
)
from torch_sr.data.sets.image_files import group_by_partner, list_images, stem
from torch_sr.data.sets.similar_names import match_similar, match_within
from torch_sr.errors import DataError, MissingDatasetError
from torch_sr.images import is_image_name

_MOST_NAMED = 5  # sub-folders in a message


@dataclass(frozen=True)
class FilePair:
    """The files of one image pair; ``lr`` is None if LR must be made from HR."""

    name: str
    hr: Path
    lr: Path | None


def find_pairs(
    folder: Path, scale_factor: int, track: str | None = None, *, alone: bool = False
) -> list[FilePair]:
    """List the image pairs of a folder, sorted by name.

    Args:
        folder: a folder with one of the structures above.
        scale_factor: between the two resolutions.
        track: how low resolution was made, if not by the bicubic filter: DIV2K's ``unknown``,
            ``mild``, ``difficult`` or ``wild``. torch-sr cannot make such low resolution.
        alone: ignore the folders next to this one, even if they are named like low resolution.

    Raises:
        MissingDatasetError: the low resolution of a track is missing.
        DataError: the folder is missing, it contains no images or several data sets, or an image
            has no partner.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; check the data root")
    factors = {path.name.rpartition("_")[2]: path for path in sorted(folder.glob("image_SRF_*"))}
    if str(scale_factor) in factors:
        return _pairs_by_suffix(factors[str(scale_factor)])
    if factors:
        there = ", ".join(f"x{factor}" for factor in factors)
        raise DataError(f"{folder}: choose one of {there}; it does not have x{scale_factor}")
    original = find_hr_of(folder, scale_factor) if track is None and not alone else None
    if original is not None:
        raise DataError(
            f"{folder}: name {original.absolute()} instead; this folder is its low resolution"
        )
    hr_folder = find_hr_folder(folder, scale_factor)
    if alone and hr_folder == folder:
        return pair_folders(folder, None, scale_factor)
    lr_folder = find_lr_folder(hr_folder, scale_factor, track)
    if track is not None and lr_folder is None:
        usual = expected_places(hr_folder, scale_factor, track)[0]
        raise MissingDatasetError(
            f"{usual}: no such folder of images; download it with 'torch-sr data download'"
        )
    return pair_folders(hr_folder, lr_folder, scale_factor)


def find_paired_folders(folder: Path, scale_factor: int) -> tuple[Path, Path] | None:
    """The sub-folders of high and low resolution; None if a folder does not have both."""
    hr_folder = find_hr_folder(folder, scale_factor)
    lr_folder = find_lr_folder(hr_folder, scale_factor) if hr_folder != folder else None
    return None if lr_folder is None else (hr_folder, lr_folder)


def pair_folders(hr_folder: Path, lr_folder: Path | None, scale_factor: int) -> list[FilePair]:
    """Pair two folders by file name: ``baby`` with ``baby``, ``babyx4`` or ``baby_x4``.

    Names that differ by words such as ``HR`` and ``LR`` are a pair if they fit no other name.
    Without a second folder, the first is searched for ``baby_HR`` and ``baby_LR``.

    If an image has several low-resolution images (``0001x4w1`` to ``0001x4w4``), each of them forms
    a pair, which is named after the low-resolution image.

    Raises:
        DataError: there are no images, or one has no partner.
    """
    hr_files = list_images(hr_folder)
    if not hr_files:
        below = [path.name for path in sub_folders(hr_folder)]
        there = f"; its sub-folders are {', '.join(below[:_MOST_NAMED])}" if below else ""
        raise DataError(
            f"{hr_folder}: contains no images; put them there or in a sub-folder HR{there}"
        )
    if lr_folder is None:
        within = match_within(hr_files, hr_folder, scale_factor)
        return [FilePair(*match) for match in within] or [
            FilePair(stem(file, hr_folder), file, None) for file in hr_files
        ]
    lr_files = list_images(lr_folder)
    partners = group_by_partner(lr_files, lr_folder, scale_factor)
    found = {
        file: _choose_partners(file, partners.get(stem(file, hr_folder), [])) for file in hr_files
    }
    _refuse_shared(found)
    alone = [file for file in hr_files if not found[file]]
    used = {lr for some in found.values() for lr in some}
    similar = match_similar(
        alone, hr_folder, [lr for lr in lr_files if lr not in used], lr_folder, scale_factor
    )
    found |= {file: [lr] for file, lr in similar.items()}
    _refuse_unpaired([file for file in alone if file not in similar], lr_folder)
    return [
        FilePair(stem(lr, lr_folder) if len(some) > 1 else stem(file, hr_folder), file, lr)
        for file, some in found.items()
        for lr in some
    ]


def _choose_partners(file: Path, partners: Sequence[Path]) -> list[Path]:
    """Choose between partners of the same name: for ``a.png``, ``a.png`` and not ``a.jpg``.

    Raises:
        DataError: the suffixes do not decide between partners of the same name.
    """
    counts = Counter(partner.stem for partner in partners)
    several = [partner for partner in partners if counts[partner.stem] > 1]
    if not several:
        return list(partners)
    meant = [partner for partner in several if partner.suffix.lower() == file.suffix.lower()]
    if len(meant) != 1:
        raise DataError(
            f"rename {several[0]} or {several[1]}: both could be the low resolution of {file}"
        )
    return [partner for partner in partners if partner not in several] + meant


def _refuse_shared(found: Mapping[Path, Sequence[Path]]) -> None:
    """Refuse an LR image that could belong to two HR images: ``a.png`` and ``a.jpg``."""
    owners: dict[Path, Path] = {}
    for file, partners in found.items():
        for partner in partners:
            other = owners.setdefault(partner, file)
            if other != file:
                raise DataError(
                    f"rename or remove {other} or {file}: both could be the original of {partner}"
                )


def unpaired_lr(pairs: Sequence[FilePair], other_side: Sequence[FilePair] = ()) -> list[Path]:
    """Low-resolution images without a partner, in the folders of the other LR images.

    Args:
        pairs: the image pairs.
        other_side: those on the other side of a split, whose images have partners too.
    """
    used = {file for pair in (*pairs, *other_side) for file in (pair.lr, pair.hr)}
    folders = {pair.lr.parent for pair in pairs if pair.lr is not None}
    return [file for folder in sorted(folders) for file in list_images(folder) if file not in used]


def describe_unpaired(files: Sequence[Path]) -> str:
    """A warning about :func:`unpaired_lr`."""
    more = f" and {len(files) - 1} more" if len(files) > 1 else ""
    return f"no HR image for {files[0]}{more}; LR without a partner is not used"


def is_one_set(folder: Path, scale_factor: int) -> bool:
    """Whether a folder is one data set, rather than a folder of several."""
    if any(folder.glob("image_SRF_*")) or find_hr_folder(folder, scale_factor) != folder:
        return True
    return any(is_image_name(file) and file.is_file() for file in folder.iterdir())


def _pairs_by_suffix(folder: Path) -> list[FilePair]:
    names = {file.stem: file for file in list_images(folder)}
    hr_files = {
        name.removesuffix("_HR"): file for name, file in names.items() if name.endswith("_HR")
    }
    if not hr_files:
        raise DataError(f"{folder}: contains no images named *_HR and *_LR")
    pairs = [FilePair(name, file, names.get(f"{name}_LR")) for name, file in hr_files.items()]
    unpaired = [pair.hr for pair in pairs if pair.lr is None]
    if len(unpaired) < len(pairs):  # if all are unpaired, their LR is made
        _refuse_unpaired(unpaired, folder)
    return pairs


def _refuse_unpaired(hr_files: list[Path], lr_folder: Path) -> None:
    if hr_files:
        more = f" and {len(hr_files) - 1} more" if len(hr_files) > 1 else ""
        raise DataError(f"{lr_folder}: no low-resolution partner for {hr_files[0]}{more}")

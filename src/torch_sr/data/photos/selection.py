"""Choose images for training and validation from a folder of photographs.

Every image is decoded once. Unfit images are left out, each with a reason. Some of the others
are for validation, in whole groups of similar images, so that no scene is on both sides. The choice
depends on the images and the seed, not on the order in which a file system lists them. Nothing in
the folder is changed.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from torch_sr.aliases import Progress
from torch_sr.data.inspection.findings import CheckedSet
from torch_sr.data.inspection.pair import InspectedPair, inspect_all
from torch_sr.data.photos.grouping import LARGE, Split, group_similar, split_groups
from torch_sr.data.photos.unfit import find_unfit
from torch_sr.data.sets.file_pairs import FilePair, find_paired_folders
from torch_sr.data.sets.list_files import write_list
from torch_sr.errors import DataError
from torch_sr.images import display_name, is_image_name

FEW = 50
"""Number of images below which a note reports that they are few."""
POOR = 70
"""JPEG quality below which compression artifacts are clearly visible."""
_LEAST = 2
_LISTS = ("training_images.txt", "validation_images.txt")
_TRAINING_FOLDERS = ("saved_models", "logs")
_TRAINING_IMAGES = re.compile(r"before_after\.png|check_(pre)?training\.png")
_SYSTEM_FILES = ("thumbs.db", "desktop.ini")


@dataclass(frozen=True)
class ChosenImages:
    """What :func:`choose_images` chose, every list sorted by name.

    Args:
        training: images for training.
        validation: images for validation.
        left_out: images that are used for neither, each with a reason.
        notes: properties of the images that a user should know, one sentence each.
    """

    training: list[Path]
    validation: list[Path]
    left_out: list[tuple[Path, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def write_lists(self, folder: Path) -> tuple[Path, Path]:
        """Write ``training_images.txt`` and ``validation_images.txt`` for a configuration.

        Args:
            folder: where the two files are written; created if needed.

        Returns:
            the two lists, see :mod:`torch_sr.data.sets.list_files`.

        Raises:
            DataError: they cannot be written.
        """
        lists = folder / _LISTS[0], folder / _LISTS[1]
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DataError(f"{folder}: name another folder; {error.strerror}") from error
        write_list(lists[0], self.training)
        write_list(lists[1], self.validation)
        return lists


def choose_images(
    folder: Path,
    *,
    scale_factor: int,
    crop_size: tuple[int, int] | None,
    val_fraction: float = 0.1,
    seed: int = 0,
    workers: int | None = None,
    progress: Progress | None = None,
) -> ChosenImages:
    """Choose images for training and validation from a folder and its sub-folders.

    Args:
        folder: a folder of photographs, in any format that torch-sr reads.
        scale_factor: the scale factor of the training.
        crop_size: height and width of the training crops, in pixels; None for whole images.
        val_fraction: share of the images for validation, in (0, 1): at least 1 image, at most 20.
        seed: determines which images these are.
        workers: threads; all cores by default.
        progress: called with the number of images inspected and their total number.

    Raises:
        DataError: the folder cannot be read, contains pairs of HR and LR, or has fewer than 2
            usable images.
    """
    files, notes = _find_photos(folder, scale_factor)
    photos = CheckedSet("photographs", "train", [FilePair(file.stem, file, None) for file in files])
    images = inspect_all([photos], scale_factor, crop_size, workers=workers, progress=progress)
    reasons = find_unfit(images, folder)
    usable = [image for image in images if image.pair.hr not in reasons]
    _refuse_too_few(folder, usable, reasons, crop_size)
    split = split_groups(
        group_similar(usable),
        scale_factor=scale_factor,
        val_fraction=val_fraction,
        seed=seed,
        name=str(folder),
    )
    for image in split.spare:
        reasons[image.pair.hr] = "shows the same scene as a validation image"
    return ChosenImages(
        _paths(split.training),
        _paths(split.validation),
        sorted(reasons.items()),
        [*notes, *_notes(split)],
    )


def _find_photos(folder: Path, scale_factor: int) -> tuple[list[Path], list[str]]:
    """The image files of a folder and its sub-folders, and notes about the others."""
    if folder.is_file():
        raise DataError(f"{folder}: name the folder {folder.parent} instead; this is a file")
    if not folder.is_dir():
        raise DataError(f"{folder}: name a folder of photographs; there is no such folder")
    files: list[Path] = []
    others: Counter[str] = Counter()
    notes: list[str] = []

    def on_error(error: OSError) -> None:
        notes.append(f"{error.filename} was left out: {error.strerror}")

    for parent, folders, names in os.walk(folder, onerror=on_error):
        if set(_LISTS) <= set(names):
            folders[:] = [name for name in folders if name not in _TRAINING_FOLDERS]
            names = [name for name in names if not _is_of_training(name)]
            notes.append(
                f"{display_name(Path(parent))} contains a training: its files were left out."
            )
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        _refuse_paired(Path(parent), scale_factor)
        for name in names:
            if is_image_name(name):
                files.append(Path(parent, name))
            elif not name.startswith(".") and name.lower() not in _SYSTEM_FILES:
                others[Path(name).suffix.lower() or "without a suffix"] += 1
    if not files:
        found = f" of its {others.total()} files" if others else ""
        raise DataError(f"{folder}: name a folder of photographs; none{found} is an image")
    if others:
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(others.items()))
        notes.append(f"Files without an image suffix were left out: {kinds}.")
    return sorted(files), notes


def _is_of_training(name: str) -> bool:
    """Whether a file next to the lists of a training was written by that training."""
    own = (*_LISTS, "config.json", "command.txt")
    return name in own or _TRAINING_IMAGES.fullmatch(name) is not None


def _refuse_paired(folder: Path, scale_factor: int) -> None:
    found = find_paired_folders(folder, scale_factor)
    if found is not None:
        hr, lr = (path.relative_to(folder).as_posix() for path in found)
        raise DataError(
            f'{folder}: write "train_datasets": ["{folder.absolute()}"] into a configuration to '
            f"train on its pairs, or name the folder {found[0]} to make low resolution from {hr} "
            f"alone; {hr} and {lr} contain pairs of high and low resolution"
        )


def _refuse_too_few(
    folder: Path,
    usable: Sequence[InspectedPair],
    reasons: Mapping[Path, str],
    crop_size: tuple[int, int] | None,
) -> None:
    if len(usable) >= _LEAST:
        return
    first = next(iter(sorted(reasons.items())), None)
    why = f"; {display_name(first[0].relative_to(folder))}: {first[1]}" if first else ""
    crops = f" of {max(crop_size)} pixels a side or more" if crop_size else ""
    raise DataError(
        f"{folder}: add photographs{crops}; {len(usable)} of {len(usable) + len(reasons)} images "
        f"can be used and a training needs {_LEAST}{why}"
    )


def _notes(split: Split) -> Iterator[str]:
    used = [*split.training, *split.validation]
    for words, count in sorted(Counter(part for image in used for part in _parts(image)).items()):
        yield f"{_count(count)} {words}."
    for note, count in sorted(Counter(note for image in used for note in image.notes).items()):
        yield f"{note} ({_count(count).rpartition(' ')[0]})."
    large = sum(image.size[0] * image.size[1] > LARGE for image in split.validation)
    if large:
        size = f"more than {LARGE // 1_000_000} megapixels"
        yield f"{_count(large)} of {size} and used for validation, which takes longer."
    if len(used) < FEW:
        yield f"{_count(len(used))} few for a training: add more, or start from a trained model."


def _parts(image: InspectedPair) -> Iterator[str]:
    """Unusual properties of an image, as phrases that follow "is" or "are"."""
    if "alpha" in image.kind:
        yield "stored with an alpha channel, which is left out"
    if "gray" in image.kind:
        yield "gray: all three channels are the same"
    if image.quality is not None and image.quality < POOR:
        yield f"compressed as JPEG with a quality below {POOR}: a model learns its artifacts"
    if image.profile:
        yield f"in the colors of {image.profile}, which are used as sRGB"


def _paths(images: Iterable[InspectedPair]) -> list[Path]:
    return sorted(image.pair.hr for image in images)


def _count(number: int) -> str:
    return f"{number} images are" if number != 1 else "1 image is"

"""List the image files of a folder, and find partners by name."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from torch_sr.data.sets.name_words import image_key, is_low
from torch_sr.errors import DataError
from torch_sr.images import is_image_name

_NOT_ORIGINAL = re.compile(r"^\.|(^|_)LR|^lr|^[Xx]\d+$|^image_SRF_")  # hidden, or low resolution


def list_images(folder: Path) -> list[Path]:
    """List the image files of a folder, or of its sub-folders if it has none, sorted by name.

    Raises:
        DataError: the folder cannot be read.
    """
    try:
        with os.scandir(folder) as entries:  # unlike iterdir, it knows the type of each entry
            names = [
                entry.name for entry in entries if is_image_name(entry.name) and entry.is_file()
            ]
    except OSError as error:
        raise DataError(f"{folder}: check the data root; {error.strerror}") from error
    return [folder / name for name in sorted(names)] or sorted(_walk(folder))


def _walk(folder: Path) -> list[Path]:
    found = []
    for parent, folders, names in os.walk(folder):  # does not follow links, so there are no loops
        folders[:] = [name for name in folders if not _NOT_ORIGINAL.search(name)]
        found += [Path(parent, name) for name in names if is_image_name(name)]
    return found


def stem(file: Path, folder: Path) -> str:
    """``baby``, or ``0001000/baby`` for an image in a sub-folder."""
    if file.parent == folder:
        return file.stem
    return file.relative_to(folder).with_suffix("").as_posix()


def group_by_partner(
    files: Sequence[Path], folder: Path, scale_factor: int
) -> dict[str, list[Path]]:
    """Group low-resolution images by the name of their HR partner; exact names have priority."""
    suffix = re.compile(rf"_?x{scale_factor}(m|d|w\d?)?$", re.IGNORECASE)  # mild, difficult, wild
    exact: dict[str, list[Path]] = {}
    for file in files:
        exact.setdefault(stem(file, folder), []).append(file)
    grouped: dict[str, list[Path]] = {}
    for name, found in exact.items():
        grouped.setdefault(suffix.sub("", name), []).extend(found)
    return {**grouped, **exact}


def partner_key(file: Path, folder: Path) -> str:
    """The part of the name that an image shares with its low resolution, with the sub-folder."""
    head, slash, name = stem(file, folder).rpartition("/")
    return head + slash + image_key(name)


def by_plain_name(files: Sequence[Path], folder: Path) -> dict[str, Path]:
    """Images by their names without the words for high or low resolution.

    For ``baby`` and ``baby_LR`` in one folder, this is the file ``baby``.
    """
    low_first = sorted(files, key=lambda file: not is_low(file.stem))
    return {partner_key(file, folder): file for file in low_first}


def share_names(files: Sequence[Path], folder: Path, others: Sequence[Path], other: Path) -> bool:
    """Whether at least half of the images of the smaller folder have partners in the other."""
    least = min(len(files), len(others))
    exact = {stem(file, folder) for file in files} & {stem(file, other) for file in others}
    if exact and 2 * len(exact) >= least:
        return True
    names, other_names = by_plain_name(files, folder), by_plain_name(others, other)
    shared = len(names.keys() & other_names.keys())
    return shared > 0 and 2 * shared >= min(len(names), len(other_names))

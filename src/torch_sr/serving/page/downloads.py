"""Files that a visitor may download: results under their names, and all of them as a ZIP."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from zipfile import ZIP_STORED, ZipFile


def take_over(file: Path, folder: Path, name: str) -> Path:
    """Link or copy a file into a new folder, under a name."""
    folder.mkdir(parents=True)
    target = folder / name
    try:
        os.link(file, target)
    except OSError:  # another file system, or one without links
        shutil.copyfile(file, target)
    return target


def write_zip(path: Path, files: Sequence[Path]) -> Path:
    """Store files in a ZIP, as they are; equal names get a number."""
    with ZipFile(path, "w", ZIP_STORED, strict_timestamps=False) as archive:
        for file, name in zip(files, unique_names([file.name for file in files]), strict=True):
            archive.write(file, name)
    return path


def unique_names(names: Sequence[str]) -> list[str]:
    """Number names that occur before, in upper or lower case.

    >>> unique_names(["a.png", "A.png", "b.png"])
    ['a.png', 'A (2).png', 'b.png']
    """
    taken: set[str] = set()
    unique = []
    for name in names:
        candidate, number = name, 1
        while candidate.casefold() in taken:
            number += 1
            path = Path(name)
            candidate = f"{path.stem} ({number}){path.suffix}"
        taken.add(candidate.casefold())
        unique.append(candidate)
    return unique

"""Names of results, by the ``--out``, ``--suffix`` and ``--format`` options."""

from __future__ import annotations

import os
from pathlib import Path

from torch_sr.errors import ImageError
from torch_sr.images import IMAGE_SUFFIXES, WRITABLE_SUFFIXES, display_name
from torch_sr.images.writing.capabilities import find_format
from torch_sr.inference.files.kinds import VIDEO_SUFFIXES, is_video
from torch_sr.inference.video.containers import CONTAINERS

_SEPARATORS = tuple(filter(None, (os.sep, os.altsep)))


def single_target(out: str | Path | None) -> Path | None:
    """The file that ``out`` names, or None if it names a folder or nothing.

    Raises:
        ImageError: its suffix is unknown, or it is a file where a folder is needed.
    """
    if out is None or os.fspath(out).endswith(_SEPARATORS):
        return None
    if os.path.isdir(out):  # noqa: PTH112 - Path's own method raises for some names
        return None
    target = target_file(out)
    if target is None and os.path.exists(out):  # noqa: PTH110 - does not raise either
        raise ImageError(
            f"{display_name(out)} is a file, not a folder for results; choose another name"
        )
    return target


def target_file(name: str | Path) -> Path | None:
    """The name of a file for a result, or None if its suffix is not one.

    Raises:
        ImageError: its suffix is unknown.
    """
    shown, ending = display_name(name), Path(name).suffix.lower()
    if not any(letter.isalpha() for letter in ending):
        return None
    if ending not in IMAGE_SUFFIXES | VIDEO_SUFFIXES | {*WRITABLE_SUFFIXES}:
        known = ", ".join((*WRITABLE_SUFFIXES, *CONTAINERS))
        raise ImageError(
            f"{shown}: '{ending}' cannot be written; use {known}; for a folder of this name "
            f"write {shown}{os.sep}"
        )
    return Path(name)


def check_target_format(file_format: str | None, target: Path | None) -> None:
    """Raise an :class:`ImageError` for a format that is not written or is not the target's."""
    if file_format is None:
        return
    ending = "." + file_format.lstrip(".").lower()
    if ending not in WRITABLE_SUFFIXES:
        known = ", ".join(suffix.lstrip(".") for suffix in WRITABLE_SUFFIXES)
        raise ImageError(f"format {file_format!r} cannot be written; use one of {known}")
    asked = target.suffix.lower() if target is not None else ending
    if asked in WRITABLE_SUFFIXES and find_format("", asked) != find_format("", ending):
        raise ImageError(
            f"{target}: omit --format {file_format}, or change the suffix: they contradict"
        )


def check_suffix(suffix: str) -> None:
    """Raise an :class:`ImageError` for a suffix with a slash."""
    if any(separator in suffix for separator in _SEPARATORS):
        raise ImageError(f"suffix {suffix!r} leads into another folder; name folders by --out")


def result_name(source: Path, suffix: str, file_format: str | None = None) -> str:
    """The name of the result of a file: ``photo_sr.jpg`` for ``photo.jpg``."""
    ending = source.suffix.lower()
    if is_video(source):
        extension = source.suffix if ending in CONTAINERS else ".mp4"
    elif file_format is not None:
        extension = "." + file_format.lstrip(".")
    else:
        extension = source.suffix if ending in WRITABLE_SUFFIXES else ".png"
    return f"{source.stem}{suffix}{extension}"

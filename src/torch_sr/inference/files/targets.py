"""How the file or folder of results is named: what ``-o``, the suffix and the format mean."""

from __future__ import annotations

import os
from pathlib import Path

from torch_sr.errors import ImageError
from torch_sr.images import IMAGE_SUFFIXES, WRITABLE_SUFFIXES, display_name
from torch_sr.images.formats import find_format
from torch_sr.inference.files.kinds import VIDEO_SUFFIXES, is_video

_WRITABLE_VIDEOS = (".mkv", ".mov", ".mp4", ".webm")
_SEPARATORS = tuple(filter(None, (os.sep, os.altsep)))


def single_target(out: str | Path | None) -> Path | None:
    """The one file that ``out`` names, or None where it names a folder or nothing.

    Raises:
        ImageError: it names a file of no known kind, or one that is in the way.
    """
    if out is None or os.fspath(out).endswith(_SEPARATORS):
        return None
    if os.path.isdir(out):  # noqa: PTH112 - Path's own method raises of some names
        return None
    shown, ending = display_name(out), Path(out).suffix.lower()
    if not any(letter.isalpha() for letter in ending):
        if os.path.exists(out):  # noqa: PTH110 - nor does this raise
            raise ImageError(f"{shown} is a file, so no folder for results; choose another name")
        return None
    if ending not in IMAGE_SUFFIXES | VIDEO_SUFFIXES | {*WRITABLE_SUFFIXES}:
        known = ", ".join((*WRITABLE_SUFFIXES, *_WRITABLE_VIDEOS))
        raise ImageError(
            f"{shown}: '{ending}' cannot be written; use {known}; for a folder of this name "
            f"write {shown}{os.sep}"
        )
    return Path(out)


def check_target_format(format: str | None, target: Path | None) -> None:  # noqa: A002
    """Raise an :class:`ImageError` for a format that is not written or is not the target's."""
    if format is None:
        return
    ending = "." + format.lstrip(".").lower()
    if ending not in WRITABLE_SUFFIXES:
        known = ", ".join(suffix.lstrip(".") for suffix in WRITABLE_SUFFIXES)
        raise ImageError(f"format {format!r} cannot be written; use one of {known}")
    asked = target.suffix.lower() if target is not None else ending
    if asked in WRITABLE_SUFFIXES and find_format("", asked) != find_format("", ending):
        raise ImageError(f"{target} and the format {format!r} contradict; leave out one of them")


def check_suffix(suffix: str) -> None:
    """Raise an :class:`ImageError` for a suffix that is more than a part of a name."""
    if any(separator in suffix for separator in _SEPARATORS):
        raise ImageError(f"suffix {suffix!r} leads into another folder; name folders by --out")


def result_name(source: Path, suffix: str, format: str | None = None) -> str:  # noqa: A002
    """The name of the result of a file: ``photo_sr.jpg`` for ``photo.jpg``."""
    ending = source.suffix.lower()
    if is_video(source):
        extension = source.suffix if ending in _WRITABLE_VIDEOS else ".mp4"
    elif format is not None:
        extension = "." + format.lstrip(".")
    else:
        extension = source.suffix if ending in WRITABLE_SUFFIXES else ".png"
    return f"{source.stem}{suffix}{extension}"

"""Read and write image lists: text files with one image or pair per line.

::

    # my photographs
    cats/0001.png
    HR/0002.png, LR/0002x4.png
    "kittens, two of them.png"

HR and LR are separated by a tab or a comma. Paths are relative to the folder of the list. Empty
lines and lines that start with ``#`` are ignored. A comma in the name of an existing file does not
separate. A path in double quotes is a JSON string (RFC 8259, section 7), so that any name can be
written: commas, tabs, line breaks and, as lone surrogates, bytes that are not UTF-8.
"""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from torch_sr.data.sets.file_pairs import FilePair
from torch_sr.errors import DataError
from torch_sr.files import atomic_write, expand_home
from torch_sr.images import display_name, is_image_name

LIST_SUFFIXES = frozenset({".csv", ".lst", ".tsv", ".txt"})
_SIZE = re.compile(r"\s*\(\d+,\s*\d+,\s*\d+\)$")  # BasicSR's lists: 0001_s001.png (480,480,3)
_FIELD = re.compile(r'(?:^|[\t,])(?P<field> *"(?:[^"\\]|\\.)*" *(?=[\t,]|$)|[^\t,]*)')


def read_list(file: Path) -> list[FilePair]:
    """Read an image list; the size after a name in the lists of BasicSR is ignored.

    Raises:
        DataError: the list cannot be read or is empty, or one of its images is missing.
    """
    try:
        lines = re.split(r"\r\n|\r|\n", file.read_bytes().decode("utf-8-sig"))
    except OSError as error:
        raise DataError(f"{file}: {error.strerror}; name another list of images") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{file}: save it as UTF-8; a list of images is UTF-8 text") from error
    pairs = [
        _pair_of_line(line.strip(), file, number)
        for number, line in enumerate(lines, start=1)
        if line.strip() and not line.lstrip().startswith("#")
    ]
    if not pairs:
        raise DataError(f"{file}: write one path per line; the list is empty")
    return with_unique_names(pairs)


def find_repeated(pairs: Sequence[FilePair], file: Path) -> Iterator[str]:
    """Warn about images that a list names several times."""
    counts = Counter((pair.hr.resolve(), pair.lr) for pair in pairs)
    twice = [path for (path, _), count in counts.items() if count > 1]
    if twice:
        more = f" and {len(twice) - 1} more" if len(twice) > 1 else ""
        yield (
            f"remove the repeated lines from {display_name(file)}: {display_name(twice[0])}{more} "
            "is listed more than once, and is used as many times"
        )


def find_partly_paired(pairs: Sequence[FilePair], file: Path) -> Iterator[str]:
    """Warn about lines without low resolution in a list that has it on other lines."""
    alone = [pair.hr for pair in pairs if pair.lr is None]
    if 0 < len(alone) < len(pairs):
        yield (
            f"add low resolution to {len(alone)} of {len(pairs)} lines of {display_name(file)}, "
            f"such as that of {display_name(alone[0])}; otherwise it is made from the HR images"
        )


def write_list(file: Path, images: Iterable[Path]) -> None:
    """Write a list that :func:`read_list` reads.

    The path of an image below the parent of the list's folder is relative, so that both can be
    moved together; other paths are absolute.

    Args:
        file: the list; its folder must exist.
        images: the images to list.

    Raises:
        DataError: the list cannot be written.
    """
    folder = file.resolve().parent
    lines = [_quoted_if_needed(_portable(image.absolute(), folder)) for image in images]
    try:
        with atomic_write(file) as temporary:
            temporary.write_text("".join(f"{line}\n" for line in lines), "utf-8", newline="\n")
    except OSError as error:
        raise DataError(f"{file}: name another folder; {error.strerror or error}") from error


def _portable(image: Path, folder: Path) -> str:
    image = image.parent.resolve() / image.name  # resolves links in the folder only
    if image.is_relative_to(folder.parent) and folder.parent != folder.parent.parent:
        return Path(os.path.relpath(image, folder)).as_posix()
    return str(image)


def _quoted_if_needed(path: str) -> str:
    r"""A path as a line of a list.

    >>> _quoted_if_needed("cats/0001.png"), _quoted_if_needed("one, two.png")
    ('cats/0001.png', '"one, two.png"')
    """
    plain = path.isprintable() and path == path.strip() and not _SIZE.search(path)
    if plain and not set(path) & set(',"') and not path.startswith(("#", "~")):
        return path
    return json.dumps(path)


def with_unique_names(pairs: Sequence[FilePair]) -> list[FilePair]:
    """Rename the second ``a`` to ``a-2``, so that results do not overwrite each other."""
    counts: Counter[str] = Counter()
    renamed = []
    for pair in pairs:
        counts[pair.name] += 1
        number = counts[pair.name]
        renamed.append(pair if number == 1 else replace(pair, name=f"{pair.name}-{number}"))
    return renamed


def _pair_of_line(line: str, file: Path, number: int) -> FilePair:
    line = _SIZE.sub("", line)
    whole = "," in line and (file.parent / line).is_file()
    fields = [Path(line)] if whole else _fields(line, f"{file}, line {number}")
    paths = [file.parent / field for field in fields]
    for path in paths:
        if not path.is_file():
            raise DataError(
                f"{file}, line {number}: correct the path{_hint(line, file, number)}; there is no "
                f"image {display_name(path)}"
            )
    name = fields[0]
    # A name with such a path would put a result outside of its folder.
    elsewhere = name.is_absolute() or ".." in name.parts
    shown = name.stem if elsewhere else name.with_suffix("").as_posix()
    return FilePair(shown, paths[0], paths[1] if len(paths) > 1 else None)


def _hint(line: str, file: Path, number: int) -> str:
    """A likely remedy for a line whose path does not exist."""
    halves = re.split(r"[;\s]+", line)
    if len(halves) == 2 and all((file.parent / half).is_file() for half in halves):
        return ", or separate HR and LR by a tab or a comma"
    if number == 1 and not any(is_image_name(field.strip()) for field in re.split(r"[,\t]", line)):
        return ", or remove the heading"
    return ", or put a path with a comma in double quotes" if "," in line else ""


def _fields(line: str, where: str) -> list[Path]:
    """One path or two."""
    fields = [match["field"].strip() for match in _FIELD.finditer(line)]
    if len(fields) > 2 or "" in fields:
        raise DataError(
            f"{where}: write HR, or HR and LR separated by a tab, and a path with a comma in "
            f"double quotes, not {line!r}"
        )
    return [_path(field, where) for field in fields]


def _path(field: str, where: str) -> Path:
    if len(field) < 2 or not (field.startswith('"') and field.endswith('"')):
        return expand_home(field)
    try:
        return Path(json.loads(field))
    except ValueError as error:
        raise DataError(
            f"{where}: write / or \\\\ for a backslash in a quoted path: {field}"
        ) from error

"""Parse data set specifications: ``name``, ``name:part``, ``name:part+part``.

A name is a known data set, or a folder or image list below the data root. The parts of a known
data set are its splits; those of a folder are its sub-folders, ``HR<LR`` pairs of these, or
``train`` and ``val``. Colons and commas in the path of an existing folder or file do not separate;
neither do commas in double quotes.
"""

from __future__ import annotations

import re
from pathlib import Path

from torch_sr.files import expand_home

_DRIVE = re.compile(r"[A-Za-z]:[\\/]")
_COMMA = re.compile(r',(?=(?:[^"]*"[^"]*")*[^"]*$)')  # an even number of quotes follows
_QUOTED = re.compile(r'^"((?:[^"]|"")*)"')
_MOST_COMMAS = 9  # in one path


def parse_spec(spec: str, data_root: Path) -> tuple[str, str]:
    """Parse a specification to its name and its parts, which may be empty.

    The longest existing path is the name: ``my:set`` in ``my:set:train`` if there is such a folder.
    """
    name, parts = spec, ""
    while not (data_root / expand_home(name)).exists():
        head, colon, tail = name.rpartition(":")
        if not colon or _DRIVE.fullmatch(f"{head}:{tail[:1]}"):
            return _at_first_colon(spec)
        name, parts = head, f"{tail}:{parts}" if parts else tail
    return name, parts


def _at_first_colon(spec: str) -> tuple[str, str]:
    drive = spec[:2] if _DRIVE.match(spec) else ""  # the colon of C:/images is not a separator
    name, _, parts = spec.removeprefix(drive).partition(":")
    return drive + name, parts


def split_specs(text: str, data_root: Path) -> list[str]:
    """Split specifications at commas, except in double quotes and in existing paths.

    Args:
        text: such as ``set5,"my, photos",bsds500:val``; a quote inside quotes is doubled.
        data_root: folder that relative paths start at.

    Returns:
        the specifications without surrounding spaces; empty ones are left out.
    """
    pieces = _COMMA.split(text)
    specs = []
    place = 0
    while place < len(pieces):
        ends = range(min(len(pieces), place + _MOST_COMMAS), place + 1, -1)
        end = next(
            (end for end in ends if _exists(",".join(pieces[place:end]), data_root)), place + 1
        )
        specs.append(",".join(pieces[place:end]).strip())
        place = end
    return [_unquoted(spec) for spec in specs if spec]


def _exists(spec: str, data_root: Path) -> bool:
    name, parts = parse_spec(spec.strip(), data_root)
    return "," in name and "," not in parts and (data_root / expand_home(name)).exists()


def _unquoted(spec: str) -> str:
    """``"my, photos":val`` without its quotes."""
    return _QUOTED.sub(lambda match: match[1].replace('""', '"'), spec)

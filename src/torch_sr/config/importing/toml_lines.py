"""Find the lines of the keys of a TOML file, which the parser of Python does not report.

The text must be valid TOML; what is found elsewhere is meaningless.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

Path = tuple[str | int, ...]
"""The keys that lead to a value; numbers count the tables of an array of tables."""

_TOKEN = re.compile(
    r'"""(?:\\.|[^\\])*?"{3,5}'  # text over several lines, which may end in quotes
    r"|'''.*?'{3,5}"
    r'|"(?:\\.|[^"\\\n])*"'
    r"|'[^'\n]*'"
    r"|#[^\n]*"
    r"|[\[\]{}=\n]"
    r"|[^\[\]{}=\n\"'#]+",
    re.DOTALL,
)
_PART = re.compile(r'"((?:\\.|[^"\\])*)"|\'([^\']*)\'|([\w-]+)')


def find_lines(text: str) -> dict[Path, int]:
    r"""The line of every key, from 1; those of a table in braces have the line of its key.

    >>> find_lines("a = 1\n[b]\nc.d = [\n  2,\n]\n[[e]]\nf = 3")
    {('a',): 1, ('b',): 2, ('b', 'c', 'd'): 3, ('e', 0): 6, ('e', 0, 'f'): 7}
    """
    lines: dict[Path, int] = {}
    counts: dict[Path, int] = {}
    table: Path = ()
    for line, tokens in _statements(text):
        if tokens[0] == "[":
            table = _table(tokens, counts)
            lines[table] = line
        elif "=" in tokens:
            keys = _keys("".join(tokens[: tokens.index("=")]))
            lines[table + tuple(keys)] = line
    return lines


def _statements(text: str) -> Iterator[tuple[int, list[str]]]:
    """The tokens of each table's heading and each key with its value, with their line."""
    line, start, depth = 1, 1, 0
    tokens: list[str] = []
    for piece in _TOKEN.findall(text):
        if piece.strip() and not piece.startswith("#"):
            start = start if tokens else line
            tokens.append(piece.strip())
            depth += (piece in "[{") - (piece in "]}")
        if piece == "\n" and depth == 0 and tokens:
            yield start, tokens
            tokens = []
        line += piece.count("\n")
    if tokens:
        yield start, tokens


def _table(tokens: list[str], counts: dict[Path, int]) -> Path:
    """The path of a heading, ``[a.b]`` or ``[[a.b]]``; counts the latter."""
    *parents, last = _keys("".join(tokens).strip("[]"))
    path: Path = ()
    for key in parents:
        path = _numbered((*path, key), counts)
    path = (*path, last)
    if tokens[:2] == ["[", "["]:
        counts[path] = counts.get(path, 0) + 1
    return _numbered(path, counts)


def _numbered(path: Path, counts: dict[Path, int]) -> Path:
    return (*path, counts[path] - 1) if path in counts else path


def _keys(text: str) -> list[str]:
    return [double or single or bare for double, single, bare in _PART.findall(text)]

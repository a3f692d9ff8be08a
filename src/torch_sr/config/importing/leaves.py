"""Read an option file in YAML or TOML: every value with its key and its line.

Nothing is executed: YAML is parsed to its tree, and only the tags of plain data are accepted. A
mapping is not a value itself; its entries are. A list of plain values is one value.
"""

from __future__ import annotations

import reprlib
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, time
from pathlib import Path
from typing import Any

import yaml

from torch_sr.config.importing.toml_lines import Path as KeyPath
from torch_sr.config.importing.toml_lines import find_lines
from torch_sr.config.messages import refusal
from torch_sr.config.text import decode
from torch_sr.errors import ConfigError
from torch_sr.files import explain

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_MOST_LEAVES = 5000  # more than in any option file; aliases of YAML can multiply endlessly
_MOST_BITS = 1024  # of an integer: those of the largest number with a decimal point
_TAG = "tag:yaml.org,2002:"
_MERGE = f"{_TAG}merge"
_BAD_VALUE = (ValueError, KeyError, AttributeError, IndexError, OverflowError, yaml.YAMLError)
"""What PyYAML raises for a value that does not fit its tag."""
_PLAIN_TAGS = {f"{_TAG}{name}" for name in ("null", "bool", "int", "float", "str", "timestamp")}
_PLAIN_TAGS |= {f"{_TAG}seq", f"{_TAG}map", _MERGE}


@dataclass(frozen=True)
class Leaf:
    """A value of an option file.

    Args:
        path: the keys that lead to it; numbers count the items of a list.
        value: a plain value, a list of plain values, or an empty mapping.
        line: where its key is, from 1.
    """

    path: KeyPath
    value: Any
    line: int

    @property
    def key(self) -> str:
        """The path in one word: ``train.losses[0].type``."""
        return write_path(self.path)


@dataclass(frozen=True)
class OptionFile:
    """The values of an option file.

    Args:
        name: of the file, for messages.
        language: ``YAML`` or ``TOML``.
        leaves: all values, in the order of the file.
    """

    name: str
    language: str
    leaves: tuple[Leaf, ...]

    def fault(self, leaf: Leaf, text: str) -> ConfigError:
        """An error that names file and line of a value."""
        return refusal(f"{self.name}, line {leaf.line}", text)


def read_options(path: Path) -> OptionFile:
    """Read an option file.

    Args:
        path: TOML if it ends in ``.toml``; otherwise YAML, of which JSON is a part.

    Raises:
        ConfigError: it cannot be read or parsed, has a duplicate key, or a tag that is not plain.
    """
    name = str(path)
    try:
        text = decode(path.read_bytes())
    except OSError as error:
        raise refusal(name, explain(error)) from error
    except UnicodeDecodeError as error:
        raise refusal(
            name, f"name an option file; this one is not text (byte {error.start})"
        ) from error
    toml = path.suffix.lower() == ".toml"
    try:
        leaves = tuple(_limited(name, _read_toml(name, text) if toml else _read_yaml(name, text)))
    except RecursionError as error:
        raise refusal(name, "name an option file; this one is too deeply nested") from error
    if not leaves:
        raise refusal(name, "name an option file; this one contains no options")
    return OptionFile(name, "TOML" if toml else "YAML", leaves)


def write_path(path: KeyPath) -> str:
    """Write the keys that lead to a value as one word.

    >>> write_path(("train", "losses", 0, "type"))
    'train.losses[0].type'
    """
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.removeprefix(".")


def _limited(name: str, leaves: Iterable[Leaf]) -> Iterator[Leaf]:
    for number, leaf in enumerate(leaves):
        if number >= _MOST_LEAVES:
            raise _too_many(name)
        yield leaf


def _too_many(name: str) -> ConfigError:
    return refusal(name, f"name an option file; this one has over {_MOST_LEAVES} values")


def _read_toml(name: str, text: str) -> Iterator[Leaf]:
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        escaped = any(word in str(error) for word in ("escape", "hex value"))
        remedy = "write paths of Windows in single quotes" if escaped else "correct the TOML"
        raise refusal(name, f"{remedy}: {error}") from error
    except ValueError as error:  # of Python, for an integer of thousands of digits
        raise refusal(name, "correct the TOML: an integer is too large") from error
    for leaf in _walk_toml(data, (), find_lines(text), 1):
        try:
            yield Leaf(leaf.path, _plain(leaf.value), leaf.line)
        except ValueError as error:
            raise refusal(f"{name}, line {leaf.line}", f"correct the value: {error}") from error


def _walk_toml(
    value: Any, path: KeyPath, lines: Mapping[KeyPath, int], line: int
) -> Iterator[Leaf]:
    line = lines.get(path, line)
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from _walk_toml(inner, (*path, key), lines, line)
    elif isinstance(value, list) and any(isinstance(item, Mapping) for item in value):
        for number, item in enumerate(value):
            yield from _walk_toml(item, (*path, number), lines, line)
    else:
        yield Leaf(path, value, line)


def _plain(value: Any) -> Any:
    """Dates and times as texts, which JSON has.

    Raises:
        ValueError: an integer is larger than any number with a decimal point.
    """
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, int) and value.bit_length() > _MOST_BITS:
        raise ValueError("an integer is too large")
    return str(value) if isinstance(value, date | time) else value


def _read_yaml(name: str, text: str) -> Iterator[Leaf]:
    try:
        loader = yaml.SafeLoader(text)
        root = loader.get_single_node()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f", line {mark.line + 1}" if mark is not None else ""
        reason = error.problem or error.context
        raise refusal(f"{name}{where}", f"correct the YAML: {reason}") from error
    except yaml.YAMLError as error:
        reason = " ".join(str(error).split())
        raise refusal(name, f"name an option file; this is not YAML: {reason}") from error
    if root is not None:
        yield from _Tree(name, loader).walk(root, (), 1)
    if root is not None and not isinstance(root, yaml.MappingNode):
        raise refusal(name, "name an option file, which consists of keys and values")


class _Tree:
    """Walk the nodes of a YAML file.

    Args:
        name: of the file, for messages.
        loader: constructs plain values.
    """

    def __init__(self, name: str, loader: Any) -> None:
        self._name = name
        self._loader = loader
        self._open: list[int] = []
        """The nodes around the present one, to find an alias that contains itself."""
        self._visits = 0
        """Of nodes; those that several aliases name count several times."""

    def walk(self, node: yaml.Node, path: KeyPath, line: int) -> Iterator[Leaf]:
        """The values below a node.

        Args:
            node: the value of ``path``.
            path: the keys that lead there.
            line: where its key is, from 1.
        """
        self._check(node, line)
        self._open.append(id(node))
        if isinstance(node, yaml.MappingNode) and node.value:
            for key, inner in self._entries(node):
                yield from self.walk(inner, (*path, str(key.value)), _line(key))
        elif isinstance(node, yaml.SequenceNode) and any(map(_has_keys, node.value)):
            for number, item in enumerate(node.value):
                yield from self.walk(item, (*path, number), _line(item))
        else:
            yield Leaf(path, self._value(node, line), line)
        self._open.pop()

    def _check(self, node: yaml.Node, line: int) -> None:
        self._count()
        where = f"{self._name}, line {line}"
        if id(node) in self._open:
            raise refusal(where, "remove the alias that contains itself")
        if node.tag not in _PLAIN_TAGS:
            tag = node.tag.replace(_TAG, "!!")
            why = "it could run code" if "python" in tag else "only plain data is read"
            raise refusal(where, f"remove the tag {tag}: {why}")

    def _count(self) -> None:
        self._visits += 1
        if self._visits > _MOST_LEAVES:
            raise _too_many(self._name)

    def _entries(self, node: yaml.MappingNode) -> Iterable[tuple[Any, Any]]:
        """Keys and values of a mapping; those that ``<<`` merges give way to its own."""
        merged: dict[str, tuple[Any, Any]] = {}
        own: dict[str, tuple[Any, Any]] = {}
        for key, value in node.value:
            where = f"{self._name}, line {_line(key)}"
            if not isinstance(key, yaml.ScalarNode):
                raise refusal(where, "write the key as plain text")
            if key.tag == _MERGE:
                merged |= self._merge(value, where)
            elif key.value in own:
                first = _line(own[key.value][0])
                raise refusal(where, f"give {key.value} once; it is in line {first} too")
            else:
                own[key.value] = (key, value)
        return (merged | own).values()

    def _merge(self, node: yaml.Node, where: str) -> dict[str, tuple[Any, Any]]:
        """The entries of the mapping that ``<<`` names, or of several: the first one wins."""
        sources = node.value if isinstance(node, yaml.SequenceNode) else [node]
        merged: dict[str, tuple[Any, Any]] = {}
        for source in reversed(sources):
            if not isinstance(source, yaml.MappingNode):
                raise refusal(where, "give << a mapping, or a list of mappings")
            self._check(source, _line(source))
            self._open.append(id(source))
            for key, value in self._entries(source):
                self._count()
                merged[key.value] = (key, value)
            self._open.pop()
        return merged

    def _value(self, node: yaml.Node, line: int) -> Any:
        if isinstance(node, yaml.MappingNode):
            return {}
        if isinstance(node, yaml.SequenceNode):
            values = []
            for item in node.value:
                self._check(item, _line(item))
                self._open.append(id(item))
                values.append(self._value(item, _line(item)))
                self._open.pop()
            return values
        try:
            return _plain(self._loader.construct_object(node, deep=True))
        except _BAD_VALUE as error:
            where = f"{self._name}, line {line}"
            raise refusal(where, f"correct the value {reprlib.repr(node.value)}") from error


def _has_keys(node: yaml.Node) -> bool:
    return isinstance(node, yaml.MappingNode) and bool(node.value)


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1

"""The constants of the planner, each with its unit, its source and its date.

They are in ``constants.json``, a flat table of names such as ``device.h100.tflops``. A file of the
same form replaces some of them: ``benchmarks/plan.py`` writes one for the machine it runs on.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal, get_args

from torch_sr.cluster.settings import ClusterSettings
from torch_sr.errors import ConfigError

Kind = Literal["measured", "cited", "assumed", "given"]
"""How a value is known: by a benchmark, from a publication, as a guess, or from an option."""


@dataclass(frozen=True)
class Constant:
    """A number and where it comes from.

    Args:
        value: in ``unit``; 0 or more.
        unit: such as ``TFLOP/s``.
        kind: how it is known.
        source: the benchmark or publication.
        date: when it was measured or read, ``2026-11-28``; empty for an option.
    """

    value: float
    unit: str
    kind: Kind
    source: str
    date: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return asdict(self)


class Constants:
    """Constants by name; remembers which were used.

    Args:
        table: by name.
    """

    def __init__(self, table: Mapping[str, Constant]) -> None:
        self._table = dict(table)
        self.used: dict[str, Constant] = {}

    def __getitem__(self, name: str) -> float:
        self.used[name] = self._table[name]
        return self._table[name].value

    def __contains__(self, name: str) -> bool:
        return name in self._table

    def kind(self, name: str) -> Kind:
        """How a value is known."""
        return self._table[name].kind

    def find(self, name: str) -> Constant | None:
        """A constant, without noting its use."""
        return self._table.get(name)

    def replaced(self, table: Mapping[str, Constant]) -> Constants:
        """These constants, with others in place of some."""
        return Constants(self._table | dict(table))

    def starting_with(self, text: str) -> list[str]:
        """The names that begin so."""
        return [name for name in self._table if name.startswith(text)]

    def names(self, first: str, last: str) -> list[str]:
        """The middle parts of the names that begin and end so: ``device.*.tflops``."""
        return list(_middles(self._table, f"{first}.", f".{last}"))


def read_constants(path: Path | None = None) -> Constants:
    """The constants, and those of a file in place of some.

    Raises:
        ConfigError: the file cannot be read, or has something else in it.
    """
    text = (files("torch_sr.planning") / "constants.json").read_text(encoding="utf-8")
    own = Constants(parse_constants(text, "constants.json") | _tasks())
    if path is None:
        return own
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{path}: cannot be read; write it with benchmarks/plan.py --json: {error}"
        ) from error
    return own.replaced(parse_constants(text, str(path)))


def _tasks() -> dict[str, Constant]:
    """The most that ``torch-sr upscale --ray`` gives a worker at a time."""
    design, source = ClusterSettings(), "torch-sr upscale --ray"
    return {
        "task.images": Constant(design.images_per_task, "images", "given", source),
        "task.bytes": Constant(design.bytes_per_task, "bytes", "given", source),
    }


def parse_constants(text: str, origin: str) -> dict[str, Constant]:
    """The constants in the text of a file.

    Raises:
        ConfigError: the text is not an object of constants; names the file and the key.
    """
    try:
        table = json.loads(text)
    except ValueError as error:
        raise ConfigError(f"{origin}: not JSON: {error}") from error
    if not isinstance(table, dict):
        raise ConfigError(f"{origin}: write an object of constants, as benchmarks/plan.py does")
    return {name: _parse(row, f"{origin}: {name}") for name, row in table.items()}


def _parse(row: Any, where: str) -> Constant:
    names = [field.name for field in fields(Constant)]
    if not isinstance(row, dict) or not set(row) <= set(names) or not set(names[:4]) <= set(row):
        raise ConfigError(f"{where}: write an object with {', '.join(names)}")
    value = row["value"]
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ConfigError(f"{where}: value {value!r} is not a number")
    if not (math.isfinite(value) and value >= 0):
        raise ConfigError(f"{where}: value {value!r}: write a number of 0 or more")
    if row["kind"] not in get_args(Kind):
        raise ConfigError(f"{where}: kind {row['kind']!r}; write {', '.join(get_args(Kind))}")
    return Constant(**row)


def _middles(names: Mapping[str, Any], first: str, last: str) -> Iterator[str]:
    for name in names:
        if name.startswith(first) and name.endswith(last):
            yield name[len(first) : -len(last)]

"""Everything that ``torch-sr doctor`` finds, as text of 80 columns and as JSON."""

from __future__ import annotations

import platform
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch_sr._version import __version__
from torch_sr.cli.doctor.engines import MODEL, SIDE, EngineRow
from torch_sr.cli.doctor.folders import Cache
from torch_sr.cli.doctor.machine import Card, Machine
from torch_sr.cli.doctor.packages import Extra

_WIDTH, _INDENT = 80, 14
_DEVICE, _SPEED = 10, 33  # columns
_GIB = 2**30


@dataclass(frozen=True)
class Report:
    """What this installation can do on this machine.

    Args:
        machine: processor and memory.
        cards: graphics cards that an engine can use.
        engines: every engine on every device.
        versions: of important packages; None for a missing one.
        missing: needed packages that are not installed.
        extras: of torch-sr.
        cache: the cache folder.
        data_root: the folder of data sets.
        datasets: the known data sets that are in it.
    """

    machine: Machine
    cards: Sequence[Card]
    engines: Sequence[EngineRow]
    versions: Mapping[str, str | None]
    missing: Sequence[str]
    extras: Sequence[Extra]
    cache: Cache
    data_root: Path
    datasets: Sequence[str]

    @property
    def problems(self) -> list[str]:
        """What is broken, with the remedy; a missing extra is not."""
        found = [f"{package} is missing; run: pip install {package}" for package in self.missing]
        for row in self.engines:
            if row.status == "broken":
                found.append(f"engine {row.engine} {row.device}".rstrip() + f": {row.note}")
        if not self.cache.writable:
            found.append(
                f"cache folder {self.cache.folder}: check its permissions, or set TORCH_SR_HOME to "
                "another folder; it cannot be written"
            )
        return found

    def to_dict(self) -> dict[str, Any]:
        """The report for JSON."""
        return {
            "version": __version__,
            "python": platform.python_version(),
            "machine": asdict(self.machine),
            "devices": [
                {"device": "cpu", "name": self.machine.processor},
                *map(asdict, self.cards),
            ],
            "engines": [_engine_dict(row) for row in self.engines],
            "packages": dict(self.versions),
            "extras": [
                {**asdict(extra), "version": extra.version, "install": extra.command}
                for extra in self.extras
            ],
            "cache": {**asdict(self.cache), "folder": str(self.cache.folder)},
            "data_root": {"folder": str(self.data_root), "datasets": list(self.datasets)},
            "problems": self.problems,
        }

    def to_text(self) -> str:
        """The report as lines of at most 80 characters, where words permit it."""
        lines = [
            *self._head(),
            "",
            *self._engine_lines(),
            "",
            *self._extra_lines(),
            "",
            *self._folder_lines(),
            "",
            *_problem_lines(self.problems),
        ]
        return "\n".join(lines)

    def _head(self) -> Iterator[str]:
        machine = self.machine
        yield f"torch-sr {__version__}, Python {platform.python_version()}, {machine.system}"
        versions = (f"{name} {version or 'missing'}" for name, version in self.versions.items())
        yield from _row("packages", ", ".join(versions))
        usable = f"{machine.usable_cpus} of {machine.cpus} usable"
        yield from _row("processor", f"{machine.processor}, {usable}")
        free, total = machine.free_memory / _GIB, machine.total_memory / _GIB
        yield from _row("memory", f"{free:.1f} of {total:.1f} GiB free")
        cards = [f"{card.device} {card.name}" for card in self.cards]
        yield from _row("graphics", "; ".join(cards) or "none that an engine can use")

    def _engine_lines(self) -> Iterator[str]:
        timed = any(row.seconds for row in self.engines)
        times = f", timed on {SIDE}x{SIDE} pixels with {MODEL}" if timed else ""
        yield f"Engines{times} (* chosen by auto)"
        for row in self.engines:
            mark = "*" if row.automatic else ""
            head = f"  {row.engine:8}{mark:2}{row.device:{_DEVICE}}"
            speed = "not timed"
            if row.seconds is not None and row.megapixels_per_second is not None:
                speed = f"{row.seconds * 1e3:6.0f} ms {row.megapixels_per_second:7.2f} megapixels/s"
            if timed:
                head += f"{speed:{_SPEED}}"
            if row.status == "available":
                yield from _wrapped(head + ", ".join(filter(None, (row.version, row.note))))
            else:
                yield from _wrapped(f"  {row.engine:10}{row.device or row.status}: {row.note}")

    def _extra_lines(self) -> Iterator[str]:
        yield "Extras"
        for extra in self.extras:
            state = extra.version or f"missing, {extra.command}"
            yield from _row(extra.name, f"{extra.purpose}: {state}")

    def _folder_lines(self) -> Iterator[str]:
        yield "Folders"
        yield from _row("cache", f"{self.cache.folder}, {self.cache.num_bytes / _GIB:.2f} GiB")
        found = ", ".join(self.datasets) or "none of the known data sets"
        yield from _row("data root", f"{self.data_root}: {found}")


def _engine_dict(row: EngineRow) -> dict[str, Any]:
    return {**asdict(row), "megapixels_per_second": row.megapixels_per_second}


def _problem_lines(problems: Sequence[str]) -> Iterator[str]:
    if not problems:
        yield "Nothing is broken."
        return
    yield "Problems"
    for problem in problems:
        yield from _wrapped(f"  {problem}", "    ")


def _row(name: str, text: str) -> list[str]:
    return _wrapped(f"  {name:{_INDENT - 2}}{text}")


def _wrapped(text: str, indent: str = " " * _INDENT) -> list[str]:
    """Lines that are broken between words only, so that paths and commands can be copied."""
    return textwrap.wrap(
        text, _WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )

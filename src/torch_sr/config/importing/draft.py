"""What an import builds: hyper-parameters, options of the command, and a line for every key.

Every value of an option file is reported exactly once; :meth:`Draft.finish` reports those that no
conversion knows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from math import isfinite
from typing import Any, Final, Literal
from unicodedata import category

from torch_sr.config.importing.leaves import Leaf, OptionFile
from torch_sr.config.importing.toml_lines import Path as KeyPath
from torch_sr.config.messages import refusal, show
from torch_sr.config.sections import Hyperparameters
from torch_sr.config.stages import GAN_STAGE, PSNR_STAGE
from torch_sr.errors import ConfigError

Status = Literal["taken", "changed", "added", "not needed", "missing"]
STATUSES: Final[dict[Status, str]] = {
    "taken": "means the same here",
    "changed": "taken over with the change that the note describes",
    "added": "what the other program does although the file does not say so",
    "not needed": "done without a setting, or switched off",
    "missing": "has no counterpart; the note says what that means",
}
"""What can become of a key."""
_LARGEST = 2**63
_DEFAULT_LINE = 0  # of values that are defaults of the other program


@dataclass(frozen=True)
class Entry:
    """What became of one value of the file.

    Args:
        line: in the file, from 1; 0 for a default that the file does not name.
        key: of the other program.
        value: of the other program.
        status: see :data:`STATUSES`.
        becomes: hyper-parameters, and options of the command with their dashes. The value of an
            option is None for a switch.
        note: what was changed and why, or what a missing counterpart means.
    """

    line: int
    key: str
    value: Any
    status: Status
    becomes: Mapping[str, Any]
    note: str = ""


class Draft:
    """A configuration that is being built from an option file.

    Args:
        file: the file.
        program: the name of the program that it is for.
        leaves: its values by BasicSR's keys.
        defaults: values of that program for keys that the file does not name, likewise.
    """

    def __init__(
        self,
        file: OptionFile,
        program: str,
        leaves: Mapping[str, Leaf],
        defaults: Mapping[str, Any],
    ) -> None:
        self.file = file
        self.program = program
        self.config: dict[str, Any] = {}
        """Hyper-parameters by their path, such as ``training.num_steps``."""
        self.options: dict[str, Any] = {}
        """Options of the command, such as ``--name``; None for a switch."""
        self.entries: list[Entry] = []
        self.stage = PSNR_STAGE
        self.scale_factor = 4
        self._leaves = {
            key: Leaf((key,), value, _DEFAULT_LINE)
            for key, value in defaults.items()
            if key not in leaves
        }
        self._leaves |= leaves
        self._reported: set[KeyPath] = set()

    @property
    def is_gan(self) -> bool:
        """Whether the training has a discriminator."""
        return self.stage == GAN_STAGE

    # --- What the file contains -------------------------------------------------------------------

    def find(self, key: str) -> Leaf | None:
        """The value of a key of BasicSR, or the default; None if there is neither."""
        return self._leaves.get(key)

    def value(self, key: str) -> Any:
        """The plain value of a key; None if it is missing or null."""
        leaf = self._leaves.get(key)
        return None if leaf is None else leaf.value

    def below(self, prefix: str) -> dict[str, Leaf]:
        """The values below a key, by the rest of their keys."""
        prefix += "."
        return {
            key.removeprefix(prefix): leaf
            for key, leaf in self._leaves.items()
            if key.startswith(prefix)
        }

    def left(self) -> Iterable[tuple[str, Leaf]]:
        """The keys of BasicSR that are not reported yet, with their values."""
        return [(key, leaf) for key, leaf in self._leaves.items() if not self.is_reported(leaf)]

    def is_reported(self, leaf: Leaf) -> bool:
        """Whether something became of a value already."""
        return leaf.path in self._reported

    # --- What becomes of a value ------------------------------------------------------------------

    def take(self, leaf: Leaf, becomes: Mapping[str, Any], why: str = "") -> None:
        """Take a value over.

        Args:
            leaf: the value.
            becomes: hyper-parameters by path; options with their dashes.
            why: what was changed and why; empty if the meaning is the same.
        """
        self._set(becomes)
        self._report(leaf, "changed" if why else "taken", becomes, why)

    def add(self, becomes: Mapping[str, Any], why: str) -> None:
        """Set what the other program does although the file does not name it."""
        self._set(becomes)
        self.entries.append(Entry(_DEFAULT_LINE, "", None, "added", dict(becomes), why))

    def give(self, leaf: Leaf | None, becomes: Mapping[str, Any], why: str, absent: str) -> None:
        """Take a value over; or set what the other program does, if the file does not name it.

        Args:
            leaf: the value, or None.
            becomes: as for :meth:`take`.
            why: what was changed and why, if there is a value.
            absent: what is set, if there is none.
        """
        if leaf is None:
            self.add(becomes, absent)
        else:
            self.take(leaf, becomes, why)

    def skip(self, leaf: Leaf, why: str) -> None:
        """Report a value that needs no setting."""
        self._report(leaf, "not needed", {}, why)

    def drop(self, leaf: Leaf, why: str) -> None:
        """Report a value without counterpart; one that switches something off is not needed."""
        if is_off(leaf.value):
            self.skip(leaf, "switched off")
        else:
            self.miss(leaf, why)

    def miss(self, leaf: Leaf, why: str) -> None:
        """Report a value without counterpart, also one that looks like switching something off."""
        self._report(leaf, "missing", {}, why)

    def finish(self) -> None:
        """Report all values that are left."""
        for _, leaf in self.left():
            self.drop(leaf, "torch-sr does not know this key; nothing corresponds to it")

    def _set(self, becomes: Mapping[str, Any]) -> None:
        for key, value in becomes.items():
            target = self.options if key.startswith("-") else self.config
            target[key] = value

    def _report(self, leaf: Leaf, status: Status, becomes: Mapping[str, Any], note: str) -> None:
        assert leaf.path not in self._reported, f"{leaf.key} is reported twice"
        self._reported.add(leaf.path)
        if leaf.line == _DEFAULT_LINE:
            usual = all(value == _default(key) for key, value in becomes.items())
            if usual and not (note and becomes):
                return
            note = note or f"the default of {self.program}"
            status = "added"
        self.entries.append(Entry(leaf.line, leaf.key, leaf.value, status, dict(becomes), note))

    # --- Values of the right type -----------------------------------------------------------------

    def fault(self, leaf: Leaf, remedy: str) -> ConfigError:
        """An error that names the file, the line, the key, the value and the remedy."""
        return self.file.fault(leaf, f"{leaf.key} is {show(leaf.value)}; {remedy}")

    def absent(self, remedy: str) -> ConfigError:
        """An error for a key that the file must have."""
        return refusal(self.file.name, remedy)

    def number(self, leaf: Leaf) -> float:
        """A number; YAML reads 1e-4 as text."""
        value = leaf.value
        if isinstance(value, str):
            try:
                value = float(value)
            except ValueError:
                value = None
        if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
            raise self.fault(leaf, "it must be a number")
        return value

    def whole(self, leaf: Leaf) -> int:
        """A whole number, also written as 5e3."""
        value = self.number(leaf)
        if value != int(value):
            raise self.fault(leaf, "it must be a whole number")
        if abs(value) >= _LARGEST:
            raise self.fault(leaf, "it must be smaller")
        return int(value)

    def switch(self, leaf: Leaf) -> bool:
        """True or false; null is false."""
        if leaf.value is not None and not isinstance(leaf.value, bool):
            raise self.fault(leaf, "it must be true or false")
        return bool(leaf.value)

    def text(self, leaf: Leaf) -> str:
        """A text; a number is taken as it is written."""
        if isinstance(leaf.value, bool | list | dict) or leaf.value is None:
            raise self.fault(leaf, "it must be a text")
        return self._printable(leaf, str(leaf.value))

    def path(self, leaf: Leaf) -> str:
        """A file or folder with slashes, which no command takes for an option."""
        return plain_path(self.text(leaf))

    def texts(self, leaf: Leaf) -> list[str]:
        """A text or a list of texts."""
        values = leaf.value if isinstance(leaf.value, list) else [leaf.value]
        if not values or not all(isinstance(value, str) for value in values):
            raise self.fault(leaf, "it must be a text or a list of texts")
        return [self._printable(leaf, value) for value in values]

    def _printable(self, leaf: Leaf, text: str) -> str:
        if any(category(sign) == "Cc" for sign in text):
            raise self.fault(leaf, "remove the control characters")
        return text

    def numbers(self, leaf: Leaf, count: int | None = None) -> list[float]:
        """A list of numbers.

        Args:
            leaf: the value.
            count: how many there must be; None for any number but none.
        """
        values = leaf.value if isinstance(leaf.value, list) else []
        if not values or count not in (None, len(values)):
            raise self.fault(leaf, f"it must be a list of {count} numbers".replace("None ", ""))
        return [self.number(Leaf(leaf.path, value, leaf.line)) for value in values]


def is_off(value: Any) -> bool:
    """Whether a value switches something off: null, false, 0, -1, or empty."""
    zero = not isinstance(value, bool) and isinstance(value, int | float) and value in (0, -1)
    return value is None or value is False or zero or value in ("", [], {})


def plain_path(path: str) -> str:
    r"""A file or folder with slashes, which no command takes for an option.

    >>> plain_path("-rf"), plain_path("models\\net.pth")
    ('./-rf', 'models/net.pth')
    """
    path = path.replace("\\", "/")
    return f"./{path}" if path.startswith("-") else path


def same(values: Sequence[Any]) -> bool:
    """Whether all values are equal."""
    return all(value == values[0] for value in values[1:])


@cache
def _defaults() -> dict[str, Any]:
    return Hyperparameters().to_dict()


def _default(path: str) -> Any:
    """The default of a hyper-parameter, as JSON has it; None for an option of the command."""
    value: Any = _defaults()
    for key in path.split("."):
        value = value.get(key) if isinstance(value, dict) else None
    return value

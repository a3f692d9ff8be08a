"""Mark fields of settings classes as options of the command line.

A field is an option if its annotation holds an :class:`Option`::

    @dataclass(frozen=True)
    class Settings:
        crf: Annotated[int, Option("Quality of videos.", min=0, max=51)] = 16

Fields that are dataclasses themselves contribute their own options. Nothing here parses a command
line: :mod:`torch_sr.cli.options` turns these descriptions into options of Typer, and :func:`spell`
writes settings as the words of a command line.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from functools import reduce
from typing import Any, TypeVar, get_args, get_type_hints

Settings = TypeVar("Settings")


@dataclass(frozen=True)
class Option:
    """How a field appears on the command line.

    Args:
        help: what it does, in a sentence or two.
        flags: such as ``("--interval", "-i")`` or ``("--log/--no-log",)``; by default ``--`` and
            the field's name. A switch that is off by default has no second spelling unless given
            here.
        panel: the heading under which the help lists it.
        min: the lowest number allowed.
        max: the highest number allowed.
        metavar: what the help shows in place of the type.
        default: what None stands for, in words, such as ``all GPUs``.
        env: environment variable that is read if the option is not given.
        parse: converts the text to a value; raises a ``TorchSRError`` if it cannot.
    """

    help: str
    flags: tuple[str, ...] = ()
    panel: str | None = None
    min: float | None = None
    max: float | None = None
    metavar: str | None = None
    default: str | None = None
    env: str | None = None
    parse: Callable[[str], Any] | None = None


DATA_ROOT = Option("Folder in which data sets are found by their usual names.", env="TORCH_SR_DATA")
DOWNLOAD = Option("Download data sets that are missing and known by name.")
DEVICE = Option("auto (the first available of cuda, mps, cpu), cpu, cuda, mps.")


@dataclass(frozen=True)
class OptionField:
    """A field that is an option.

    Args:
        path: the attributes that lead to its value: ``("intervals", "checkpoint")``.
        type: of its values.
        default: its value if the option is not given.
        option: its description.
    """

    path: tuple[str, ...]
    type: Any
    default: Any
    option: Option

    @property
    def flags(self) -> tuple[str, ...]:
        """All spellings."""
        if self.option.flags:
            return self.option.flags
        name = self.path[-1].replace("_", "-")
        return (f"--{name}/--no-{name}" if self.default is True else f"--{name}",)

    @property
    def name(self) -> str:
        """The long spelling as an identifier: ``checkpoint_interval``."""
        return self._long.removeprefix("--").replace("-", "_")

    def spell(self, value: Any) -> list[str]:
        """The words that give the option this value; none for None.

        >>> field = OptionField(("tta",), bool, False, Option("Average over flips."))
        >>> field.spell(True), field.spell(False)
        (['--tta'], [])
        """
        if value is None:
            return []
        if isinstance(value, bool):
            positive, _, negative = self._switch.partition("/")
            return [word for word in [positive if value else negative] if word]
        text = ",".join(map(str, value)) if isinstance(value, tuple | list) else str(value)
        return [self._long, text]

    @property
    def _switch(self) -> str:
        return next(flag for flag in self.flags if flag.startswith("--"))

    @property
    def _long(self) -> str:
        return self._switch.partition("/")[0]


def option_fields(settings_class: type) -> Iterator[OptionField]:
    """The options of a settings class, in the order of its fields."""
    for field, hint, option in _describe(settings_class):
        if option is not None:
            yield OptionField((field.name,), get_args(hint)[0], _default(field), option)
        elif is_dataclass(hint):
            for inner in option_fields(hint):  # type: ignore[arg-type]
                path = (field.name, *inner.path)
                yield OptionField(path, inner.type, inner.default, inner.option)


def build(settings_class: type[Settings], values: Mapping[str, Any]) -> Settings:
    """Build settings from values by option name; the others have their defaults.

    Args:
        settings_class: a dataclass; fields that are not options need a default.
        values: names that are not its options are ignored.
    """
    given: dict[str, Any] = {}
    for field, hint, option in _describe(settings_class):
        if option is not None:
            name = OptionField((field.name,), None, _default(field), option).name
            if name in values:
                given[field.name] = values[name]
        elif is_dataclass(hint):
            given[field.name] = build(hint, values)  # type: ignore[arg-type]
    return settings_class(**given)


def spell(settings: Any, leave_out: Collection[str] = ()) -> Iterator[str]:
    """The words of a command line that give these settings; defaults are left out.

    Args:
        settings: an instance of a settings class.
        leave_out: names of options to leave out.
    """
    for field in option_fields(type(settings)):
        value = reduce(getattr, field.path, settings)
        if field.name not in leave_out and value != field.default:
            yield from field.spell(value)


def split_commas(text: str) -> tuple[str, ...]:
    """The parts between commas, without spaces and empty parts.

    >>> split_commas("psnr, ssim,")
    ('psnr', 'ssim')
    """
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _describe(settings_class: type) -> Iterator[tuple[Field[Any], Any, Option | None]]:
    """Each field with its type and its description; None for one that is not an option."""
    hints = get_type_hints(settings_class, include_extras=True)
    for field in fields(settings_class):
        yield field, hints[field.name], find_option(hints[field.name])


def find_option(annotation: Any) -> Option | None:
    """The option in an annotation; None if there is none."""
    return next((note for note in get_args(annotation) if isinstance(note, Option)), None)


def _default(field: Field[Any]) -> Any:
    return field.default if field.default_factory is MISSING else field.default_factory()

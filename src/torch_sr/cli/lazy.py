"""Import a command only when it is called, so that help is quick.

A group stores for each command its name, where its function is, and its line in the help of the
group. This line is the first one of the function's docstring; a test compares the two.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from torch_sr.cli.options import with_options


@dataclass(frozen=True)
class Lazy:
    """A command that is not imported yet.

    Args:
        place: module and function, as ``torch_sr.cli.train.command:train``.
        line: one line for the help of the group.
    """

    place: str
    line: str

    def load(self, name: str) -> Any:
        """Import the function, and return it as a command of this name."""
        module, _, function = self.place.partition(":")
        app = typer.Typer(add_completion=False)
        app.command(name)(with_options(getattr(import_module(module), function)))
        return typer.main.get_command(app)


class _Unloaded(TyperCommand):
    """The entry of a command in the help of its group."""

    def __init__(self, name: str, lazy: Lazy) -> None:
        super().__init__(name, help=lazy.line)
        self.lazy = lazy


class _LazyGroup(TyperGroup):
    """A group that imports a command when it is called."""

    lazy: Mapping[str, Lazy] = {}

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        unloaded = {name: _Unloaded(name, lazy) for name, lazy in self.lazy.items()}
        self.commands = unloaded | dict(self.commands)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name, command, rest = super().resolve_command(ctx, args)
        if isinstance(command, _Unloaded):
            command = command.lazy.load(str(name))
        return name, command, rest


def group(line: str, commands: Mapping[str, Lazy], **options: Any) -> typer.Typer:
    """A group of commands.

    Args:
        line: the help of the group.
        commands: the commands by name.
        options: other arguments of :class:`typer.Typer`.
    """

    class Group(_LazyGroup):
        """The group of these commands."""

        lazy = commands

    return typer.Typer(cls=Group, help=line, no_args_is_help=True, **options)

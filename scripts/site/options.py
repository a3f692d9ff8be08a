"""The page of all commands with their arguments and options, from the commands themselves."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import groupby
from typing import Any

import typer

from torch_sr.cli.main import app

_INTRODUCTION = """\
What `torch-sr COMMAND --help` prints, for every command. Exit codes, and what `--json` prints, are
in [Exit codes and JSON](commands.md)."""
_HEADER = "| option | value | default | |\n|---|---|---|---|"


def page() -> str:
    """The page in Markdown: a section for each command, a table for each panel of its help."""
    blocks = [
        "# Commands and options",
        _INTRODUCTION,
    ]
    root = typer.main.get_command(app)
    for name, command in root.commands.items():
        blocks += _sections(f"torch-sr {name}", name, command)
    return "\n\n".join(blocks) + "\n"


def _sections(path: str, name: str, command: Any) -> Iterator[str]:
    if hasattr(command, "commands"):
        for inner_name, inner in command.commands.items():
            yield from _sections(f"{path} {inner_name}", inner_name, inner)
    else:
        yield from _section(path, command.lazy.load(name))


def _section(path: str, command: Any) -> Iterator[str]:
    arguments = [option for option in command.params if not _is_option(option)]
    usage = " ".join([path, "[OPTIONS]", *map(_usage, arguments)])
    yield f"## {path}"
    yield f"```text\n{usage}\n```"
    yield _paragraphs(command.help)
    if arguments:
        lines = ["| argument | default | |", "|---|---|---|", *map(_argument_row, arguments)]
        yield "\n".join(lines)
    shown = [option for option in command.params if _is_option(option) and not option.hidden]
    panels = list(dict.fromkeys(option.rich_help_panel for option in shown))
    for panel, options in groupby(
        sorted(shown, key=lambda option: panels.index(option.rich_help_panel)),
        key=lambda option: option.rich_help_panel,
    ):
        if panel:
            yield f"**{panel}**"
        yield "\n".join([_HEADER, *map(_row, options)])


def _is_option(parameter: Any) -> bool:
    return parameter.opts[0].startswith("-")


def _usage(argument: Any) -> str:
    name = argument.name.upper() + ("..." if argument.nargs == -1 else "")
    return name if argument.required else f"[{name}]"


def _argument_row(argument: Any) -> str:
    text, default = _split_default(argument.help or "")
    name = f"`{argument.name.upper()}`"
    return f"| {name} | {default or _default(argument)} | {_cell(text)} |"


def _row(option: Any) -> str:
    flags = sorted([*option.opts, *option.secondary_opts], key=lambda flag: flag[:2] != "--")
    text, default = _split_default(option.help or "")
    if option.envvar:
        text += f" Environment variable: `{option.envvar}`."
    cells = [", ".join(f"`{flag}`" for flag in flags), _value(option), default or _default(option)]
    return "| " + " | ".join([*cells, _cell(text)]) + " |"


def _split_default(text: str) -> tuple[str, str]:
    """Split the words for the default off a help text, which has them in brackets at its end."""
    match = re.search(r"\s*\\?\[default: (.*)\]$", text)
    return (text[: match.start()], _cell(match[1])) if match else (text, "")


def _value(option: Any) -> str:
    if option.is_flag:
        return ""
    if option.metavar:
        return f"`{_cell(option.metavar)}`"
    kind = option.type_descriptor.annotation
    name = {str: "text", int: "integer", float: "number"}.get(kind, "")
    if not name:
        name = "path" if "Path" in str(kind) else "texts" if option.multiple else "text"
    ends = [("≥", option.min), ("≤", option.max)]
    return ", ".join([name, *(f"{sign} {end:g}" for sign, end in ends if end is not None)])


def _default(option: Any) -> str:
    value = option.default
    if value is None or value == () or value is False:
        return ""
    if value is True:
        return "on"
    return f"`{value}`"


def _paragraphs(text: str | None) -> str:
    return "\n\n".join(" ".join(part.split()) for part in (text or "").split("\n\n"))


def _cell(text: str | None) -> str:
    return " ".join((text or "").split()).replace("\\[", "[").replace("|", "\\|")

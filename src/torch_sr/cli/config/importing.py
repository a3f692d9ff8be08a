"""``torch-sr config import``: convert option files of other training programs."""

from __future__ import annotations

import json
import os
import shlex
import sys
from enum import Enum
from pathlib import Path
from typing import Annotated, TextIO

import typer

from torch_sr.cli.options import AsJSON, Overwrite
from torch_sr.config.importing import Entry, ImportedOptions, import_options
from torch_sr.config.messages import printable, show
from torch_sr.errors import TorchSRError
from torch_sr.files import atomic_write, explain
from torch_sr.options import Option

_LONGEST_VALUE = 40


class ProgramName(str, Enum):
    """The programs whose option files are known."""

    BASICSR = "basicsr"
    REAL_ESRGAN = "real-esrgan"
    NEOSR = "neosr"
    TRAINNER_REDUX = "trainner-redux"


def import_file(
    options: Annotated[
        Path, typer.Argument(help="Option file of a training or a test: YAML, or TOML of neosr.")
    ],
    out: Annotated[
        Path | None,
        Option("Write the configuration to this file.", ("--out", "-o"), metavar="FILE"),
    ] = None,
    program: Annotated[
        ProgramName | None,
        Option("The program that the file is for.", ("--from",), default="recognized"),
    ] = None,
    strict: Annotated[
        bool, Option("Exit with 1 if a key has no counterpart; nothing is written then.")
    ] = False,
    overwrite: Overwrite = False,
    as_json: AsJSON = False,
) -> None:
    """Convert an option file of BasicSR, Real-ESRGAN, neosr or traiNNer-redux.

    Reports what became of every line. Without --out, the configuration goes to stdout and the
    report to stderr.
    """
    imported = import_options(options, None if program is None else program.value)
    refused = strict and imported.missing > 0
    if out is not None and not refused:
        _write(imported, out, overwrite=overwrite)
    if as_json:
        print(json.dumps(imported.to_dict() | {"config_file": _name(out, refused)}, indent=2))
    else:
        alone = out is None and imported.config is not None and not refused
        _print_report(imported, out, sys.stderr if alone else sys.stdout)
        if alone:
            print(imported.config_text(), end="")
    if refused:
        raise TorchSRError(
            f"{options}: remove --strict, or the keys without a counterpart: {imported.missing}"
        )


def _name(out: Path | None, refused: bool) -> str | None:
    return None if out is None or refused else str(out)


def _write(imported: ImportedOptions, out: Path, *, overwrite: bool) -> None:
    if imported.config is None:
        raise TorchSRError(
            f"{imported.file}: leave out --out; an option file of tests becomes a command"
        )
    if not overwrite and os.path.lexists(out):
        raise TorchSRError(f"{out} exists; --overwrite replaces it, or choose another name")
    try:
        with atomic_write(out) as temporary:
            temporary.write_text(imported.config_text(), encoding="utf-8")
    except OSError as error:
        raise TorchSRError(f"{out}: {explain(error)}") from error


def _print_report(imported: ImportedOptions, out: Path | None, stream: TextIO) -> None:
    """Print a line for every key, the counts, and the commands."""
    width = len(str(max((entry.line for entry in imported.entries), default=1)))
    print(printable(f"{imported.file} ({imported.program})"), file=stream)
    for entry in imported.entries:
        print(_describe(entry, width), file=stream)
    counts = [f"{count} {status}" for status, count in imported.counts.items() if count]
    print(f"\n{', '.join(counts)}", file=stream)
    for line in imported.command_lines(*([] if out is None else [str(out)])):
        print(f"\n{line}", file=stream)


def _describe(entry: Entry, width: int) -> str:
    """A line such as ``  12 taken      scale: 4 -> scale_factor=4``."""
    where = f"{entry.line or '':>{width}} {entry.status:<10}"
    what = f"{entry.key}: {_short(entry.value)}" if entry.key else ""
    parts = [
        f"{key} {_plain(value)}" if key.startswith("-") else f"{key}={_short(value)}"
        for key, value in entry.becomes.items()
    ]
    becomes = f" -> {', '.join(parts)}".rstrip() if parts else ""
    note = f" ({entry.note})" if entry.note else ""
    return printable(f"{where} {what}{becomes}{note}".rstrip())


def _short(value: object) -> str:
    return show(value, _LONGEST_VALUE)


def _plain(value: object) -> str:
    return "" if value is None else shlex.quote(str(value))

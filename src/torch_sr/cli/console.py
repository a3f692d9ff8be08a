"""What all commands share: errors in one line, progress on a terminal, options used everywhere."""

from __future__ import annotations

import codecs
import errno
import io
import json
import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, cast

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from torch_sr.errors import TorchSRError

if TYPE_CHECKING:
    from torch_sr.data.sets.table import Purpose
    from torch_sr.models.model import Model

DataRoot = Annotated[
    Path,
    typer.Option(
        "--data-root",
        envvar="TORCH_SR_DATA",
        help="Folder under which data sets are found by their usual names.",
    ),
]
Download = Annotated[
    bool, typer.Option("--download", help="Fetch data sets that are missing and known by name.")
]
Device = Annotated[
    str, typer.Option("--device", help="auto (cuda, mps, cpu: the first there is), cpu, cuda, mps.")
]
Precision = Annotated[str, typer.Option("--precision", help="auto, fp32, bf16 or fp16.")]
_SECONDS_OF_SPEED = 300.0  # over which it is averaged: a tile may take a minute
USAGE, INTERRUPTED = 2, 130  # exit codes, beside 0 and 1
AsJSON = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Replace the new file if it exists already.")
]


# The class of all wrong usage, which Typer does not export.
_UsageError = cast("type[Exception]", typer.BadParameter.__mro__[1])


def run_command(command: Callable[[], Any]) -> None:
    """Run a command to its exit: our own errors become one line and an exit code.

    With ``--json`` they are an object on stdout too. 0: done, 1: failed, 2: wrong usage,
    130: interrupted.

    Args:
        command: returns an exit code, or anything else for 0.
    """
    if not sys.warnoptions:  # libraries speak to programmers; python -W shows what they say
        warnings.simplefilter("ignore")
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    # Lightning announces each precision it is set to, which the person chose.
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    # libvips warns of what it then fails at, and the error says it better.
    logging.getLogger("pyvips").setLevel(logging.CRITICAL + 1)
    _print_any_name()
    try:
        code = _flushed(command)
    except TorchSRError as error:
        fail(str(error), type(error).__name__)
    except KeyboardInterrupt:
        code = INTERRUPTED
    except MemoryError:
        message = "not enough memory; close other programs, or take a smaller model or batch"
        fail(message, "MemoryError")
    except BrokenPipeError:  # the reader of our output has left, as head does
        _discard_output()
        sys.exit(1)
    except OSError as error:
        if (described := _describe(error)) is None:
            raise
        if error.filename is None:  # stdout itself cannot be written
            _discard_output()
        fail(described, "OSError")
    except RuntimeError as error:
        if not str(error).startswith("Symlink loop"):  # from pathlib before Python 3.13
            raise
        fail(f"remove the links that lead in a circle: {error}", "OSError")
    except _UsageError as error:
        fail(error.format_message(), "UsageError", USAGE)  # type: ignore[attr-defined]
    if code == INTERRUPTED:
        if wants_json():
            print(json.dumps(describe_error("Interrupted", "interrupted", INTERRUPTED)), flush=True)
        print("interrupted", file=sys.stderr)
    sys.exit(code if isinstance(code, int) else 0)


def _flushed(command: Callable[[], Any]) -> Any:
    """Run a command and write what it printed, so that a full disk is one of its errors."""
    try:
        return command()
    finally:
        if sys.stdout is not None:
            sys.stdout.flush()


def _discard_output() -> None:
    """Print nothing more: not at the exit of the interpreter either, which would complain."""
    with suppress(OSError, ValueError, AttributeError):  # a stream of tests has no descriptor
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _describe(error: OSError) -> str | None:
    """Such an error in one line; None where it names neither a file nor a full disk."""
    from torch_sr.files import explain
    from torch_sr.images.naming import display_name

    names = [name for name in (error.filename, error.filename2) if isinstance(name, str | bytes)]
    if not names and error.errno not in (errno.ENOSPC, errno.EDQUOT):
        return None
    shown = " and ".join(display_name(os.fsdecode(name)) or "''" for name in names)
    return f"{shown or 'the output cannot be written'}: {explain(error)}"


def check_free(path: Path, *, overwrite: bool) -> None:
    """Raise an error if there is a file of this name and it may not be replaced."""
    if not overwrite and os.path.lexists(path):
        raise TorchSRError(f"{path} exists; --overwrite replaces it, or choose another name")


def wants_json() -> bool:
    """Whether the command line asks for JSON; known before it is parsed, which may fail."""
    arguments = sys.argv[1:]
    return "--json" in arguments[: arguments.index("--") if "--" in arguments else None]


def _print_any_name() -> None:
    """Names of files may hold what is no text; they are printed as the bytes that they are."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            utf8 = codecs.lookup(stream.encoding).name == "utf-8"
            stream.reconfigure(errors="surrogateescape" if utf8 else "backslashreplace")


def fail(message: str, kind: str = "TorchSRError", code: int = 1) -> NoReturn:
    """Print one line on stderr, with ``--json`` an object on stdout too, and exit.

    Args:
        message: what is wrong, and the remedy.
        kind: the class of the error.
        code: to exit with.
    """
    if wants_json():
        print(json.dumps(describe_error(kind, message, code)), flush=True)
    print_failure(message)
    sys.exit(code)


def print_failure(message: str) -> None:
    """Print one line on stderr."""
    print(f"torch-sr: error: {' '.join(message.split())}", file=sys.stderr)


def describe_error(kind: str, message: str, code: int) -> dict[str, Any]:
    """What ``--json`` says of an error."""
    line = " ".join(message.split())
    return {"error": {"type": kind, "message": line, "exit_code": code}}


def show_version(wanted: bool) -> None:
    """Callback of ``--version``."""
    if wanted:
        from torch_sr._version import __version__

        print(f"torch-sr {__version__}")
        raise typer.Exit


@contextmanager
def progress_bar(unit: str, *, counted: bool = True) -> Iterator[Progress]:
    """A progress bar on stderr, invisible where that is not a terminal.

    Args:
        unit: what follows the count, with Rich's markup of a task's fields.
        counted: whether to tell how many of how many.
    """
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        *([MofNCompleteColumn()] if counted else []),
        TextColumn(unit),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(
        *columns,
        console=console,
        transient=True,
        disable=not console.is_terminal,
        speed_estimate_period=_SECONDS_OF_SPEED,
    ) as progress:
        yield progress


@contextmanager
def download_progress() -> Iterator[Callable[[str, int, int | None], None]]:
    """Bars of what is fetched and unpacked, in megabytes."""
    with progress_bar("MB") as bar:
        tasks: dict[str, Any] = {}

        def tell(text: str, done: int, total: int | None) -> None:
            if text not in tasks:
                tasks[text] = bar.add_task(text, total=None)
            known = None if total is None else round(total / 1e6)
            bar.update(tasks[text], completed=round(done / 1e6), total=known)

        yield tell


def find_model(name_or_path: str | Path) -> Path:
    """The file of a model, fetched at need, showing progress."""
    from torch_sr.models import zoo

    with download_progress() as tell:
        return zoo.find_model(
            name_or_path, lambda done, total: tell(str(name_or_path), done, total)
        )


def load_model(name_or_path: str | Path | None, strength: float | None = None) -> Model:
    """Load a model, showing the progress of a download."""
    from torch_sr.models.loading import load

    with download_progress() as report:
        return load(
            name_or_path,
            strength=strength,
            progress=lambda done, total: report(str(name_or_path), done, total),
        )


def fetch_first(specs: Sequence[str], data_root: Path, scale_factor: int, purpose: Purpose) -> None:
    """Fetch those data sets known by name that are missing, showing progress."""
    from torch_sr.data.sets.downloads import download_missing

    with download_progress() as tell:
        download_missing(
            specs,
            data_root=data_root,
            scale_factor=scale_factor,
            purpose=purpose,
            progress=tell,
        )


@contextmanager
def cache_progress() -> Iterator[Callable[[int, int], None]]:
    """Progress of decoding images into the cache; shown once there is something to decode."""
    with progress_bar("images") as progress:
        task = progress.add_task("decoding", total=None, visible=False)

        def tell(done: int, total: int) -> None:
            progress.update(task, completed=done, total=total, visible=done < total)

        yield tell

"""End a command: errors in one line or as JSON, and exit codes.

The exit codes are 0 (success), 1 (something failed), 2 (wrong usage) and 130 (interrupted); see
docs/reference/commands.md.
"""

from __future__ import annotations

import atexit
import codecs
import errno
import io
import json
import logging
import os
import sys
import threading
import warnings
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NoReturn, cast

import typer

from torch_sr.errors import TorchSRError

USAGE, INTERRUPTED = 2, 130  # exit codes, besides 0 and 1
_LEFT_OUT = ("torch", "spandrel")  # by deploy/Dockerfile

# The class of all usage errors, which Typer does not export.
_UsageError = cast("type[Exception]", typer.BadParameter.__mro__[1])


def run_command(command: Callable[[], Any]) -> None:
    """Run a command and exit; torch-sr's own errors become one line on stderr and an exit code.

    With ``--json``, they are also printed as an object on stdout.

    Args:
        command: returns an exit code; any other value means 0.
    """
    if not sys.warnoptions:  # warnings of libraries are for developers; python -W shows them
        warnings.simplefilter("ignore")
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    # Lightning logs the precision, which the user chose.
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    # libvips warns before it fails, and our error is clearer.
    logging.getLogger("pyvips").setLevel(logging.CRITICAL + 1)
    _allow_any_file_name()
    try:
        code = _flushed(command)
    except TorchSRError as error:
        fail(str(error), type(error).__name__)
    except KeyboardInterrupt:
        code = INTERRUPTED
    except MemoryError:
        message = "not enough memory; close other programs, or use a smaller model or batch"
        fail(message, "MemoryError")
    except BrokenPipeError:  # the program that reads the output has exited, for example head
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
        fail(f"remove the symbolic links that form a loop: {error}", "OSError")
    except _UsageError as error:
        fail(error.format_message(), "UsageError", USAGE)  # type: ignore[attr-defined]
    if code == INTERRUPTED:
        if wants_json():
            print(json.dumps(describe_error("Interrupted", "interrupted", INTERRUPTED)), flush=True)
        print("interrupted", file=sys.stderr)
    sys.exit(code if isinstance(code, int) else 0)


def exit_quickly(code: str | int | None) -> NoReturn:
    """Exit without freeing every object, which takes PyTorch a third of a second.

    Exit functions are run, and a process with threads or children exits as usual.

    Args:
        code: of ``SystemExit``.
    """
    processes = sys.modules.get("multiprocessing")
    if threading.active_count() > 1 or (processes and processes.active_children()):
        sys.exit(code)
    if isinstance(code, str):
        print(code, file=sys.stderr)
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):  # closed, or None
            stream.flush()
    os._exit(code if isinstance(code, int) else int(code is not None))


def _flushed(command: Callable[[], Any]) -> Any:
    """Run a command and flush its output, so that a full disk raises an error here."""
    try:
        return command()
    except ModuleNotFoundError as error:
        if error.name not in _LEFT_OUT:
            raise
        raise TorchSRError(
            f"{error.name} is not installed; run: pip install {error.name}, or use the native "
            "engine, and safetensors or ncnn files of RRDBNet or SRVGGNetCompact"
        ) from error
    finally:
        if sys.stdout is not None:
            sys.stdout.flush()


def _discard_output() -> None:
    """Discard further output, including what the interpreter flushes at exit."""
    with suppress(OSError, ValueError, AttributeError):  # streams of tests have no file descriptor
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _describe(error: OSError) -> str | None:
    """The error in one line; None if it concerns neither a file nor a full disk."""
    from torch_sr.files import explain
    from torch_sr.images.errors import display_name

    names = [name for name in (error.filename, error.filename2) if isinstance(name, str | bytes)]
    if not names and error.errno not in (errno.ENOSPC, errno.EDQUOT):
        return None
    shown = " and ".join(display_name(os.fsdecode(name)) or "''" for name in names)
    return f"{shown or 'the output cannot be written'}: {explain(error)}"


def wants_json() -> bool:
    """Whether ``--json`` is given; read before the command line is parsed, which may fail."""
    arguments = sys.argv[1:]
    return "--json" in arguments[: arguments.index("--") if "--" in arguments else None]


def _allow_any_file_name() -> None:
    """Make stdout and stderr print the bytes of file names that are not valid text."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            utf8 = codecs.lookup(stream.encoding).name == "utf-8"
            stream.reconfigure(errors="surrogateescape" if utf8 else "backslashreplace")


def fail(message: str, kind: str = "TorchSRError", code: int = 1) -> NoReturn:
    """Print one line on stderr (with ``--json`` also an object on stdout) and exit.

    Args:
        message: what is wrong, and the remedy.
        kind: the class of the error.
        code: the exit code.
    """
    if wants_json():
        print(json.dumps(describe_error(kind, message, code)), flush=True)
    print_failure(message)
    sys.exit(code)


def print_failure(message: str) -> None:
    """Print one line on stderr."""
    print(f"torch-sr: error: {printable(' '.join(message.split()))}", file=sys.stderr)


def printable(text: str) -> str:
    r"""Escape what would change the terminal, such as control characters and line breaks.

    >>> printable("two\nlines")
    'two\\nlines'
    """
    return "".join(c if c.isprintable() or _is_byte(c) else ascii(c)[1:-1] for c in text)


def _is_byte(character: str) -> bool:
    """Whether it stands for a byte of a file name that is not UTF-8, and is printed as one."""
    return "\udc80" <= character <= "\udcff"


def describe_error(kind: str, message: str, code: int) -> dict[str, Any]:
    """An error as ``--json`` prints it."""
    line = " ".join(message.split())
    return {"error": {"type": kind, "message": line, "exit_code": code}}

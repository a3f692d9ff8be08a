"""Names of runs, and the files of a run, whose names start with it.

A name is reserved by creating the folder of the run's logs, which only one of several processes can
do, even on a network file system.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from torch_sr.errors import CheckpointError, ConfigError, LogError
from torch_sr.files import write_failure
from torch_sr.training.launch import is_first_process
from torch_sr.training.runs.checkpoints import load_checkpoint
from torch_sr.training.runs.starting_point import StartingPoint
from torch_sr.training.settings import RunSettings

_NAME = re.compile(r"[^\W_][\w.-]{0,99}")
_FILE = re.compile(r"(.+)_RRDB_(?:PSNR|ESRGAN)_x\d+_(.+)")
_RESUMABLE = re.compile(r"checkpoint(?:_\d+)?\.pth")
_log = logging.getLogger(__name__)


def check_name(name: str) -> None:
    """Refuse names that file systems or services do not allow.

    Raises:
        ConfigError: the name is not 1 to 100 letters, digits, ``_``, ``-`` and ``.``.
    """
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"--name {name!r}: use letters, digits, '_', '-' and '.', at most 100, and begin with "
            "a letter or digit"
        )


def is_taken(settings: RunSettings, name: str) -> bool:
    """Whether there are logs, checkpoints or models of a run with this name."""
    return settings.logs_dir(name).exists() or any(_files(settings.models_dir, name))


@contextmanager
def reserved_run(settings: RunSettings, start: StartingPoint) -> Iterator[str]:
    """Reserve the name of a run while it runs; a resumed run keeps its name.

    Without ``settings.name``, it is the time in seconds. A run that wrote nothing leaves no folders
    behind.

    Raises:
        CheckpointError: the name is taken, or differs from that of the checkpoint.
        ConfigError: the name is invalid.
        LogError: the folder of the logs cannot be created.
    """
    if start.checkpoint is not None:
        yield _resumed_name(settings, start)
        return
    if not is_first_process():  # the first process reserves the name and broadcasts it
        yield settings.name or ""
        return
    check_start_name(settings, start)
    made = [folder for folder in _folders(settings) if not folder.exists()]
    name = settings.name or str(int(time.time()))
    while not _reserve(settings, name):
        if settings.name is not None and not settings.resume_auto:
            raise _taken(settings, name)
        if settings.name is not None:  # a run that was stopped before its first checkpoint
            break
        name = str(int(name) + 1)
    try:
        yield name
    finally:
        for folder in (settings.logs_dir(name), *made):
            with suppress(OSError):  # it is not empty
                folder.rmdir()


def check_start_name(settings: RunSettings, start: StartingPoint) -> None:
    """Refuse a name that a run cannot have.

    Raises:
        CheckpointError: the name is taken, or differs from that of the checkpoint.
        ConfigError: the name is invalid.
    """
    name = settings.name
    if name is None:
        return
    check_name(name)
    if start.checkpoint is not None:
        _resumed_name(settings, start)
    elif settings.resume_auto:
        if any(_files(settings.models_dir, name)):
            raise CheckpointError(
                f"--name {name}: choose another or remove its files from {settings.models_dir}: "
                "none of its checkpoints can be resumed"
            )
    elif is_taken(settings, name):
        raise _taken(settings, name)


def find_checkpoint(models_dir: Path, name: str | None = None) -> Path | None:
    """The newest intact checkpoint; a warning is logged for every newer damaged one.

    Args:
        models_dir: where checkpoints are stored.
        name: the name of the run; None searches all runs.
    """
    found = [path for path in _files(models_dir, name) if _RESUMABLE.fullmatch(_what(path))]
    for path in sorted(found, key=lambda path: path.stat().st_mtime_ns, reverse=True):
        try:
            load_checkpoint(path)
        except CheckpointError as error:
            _log.warning("%s", error)
            continue
        return path
    return None


def _files(models_dir: Path, name: str | None) -> Iterator[Path]:
    with suppress(OSError):
        for path in models_dir.iterdir():
            parts = _FILE.fullmatch(path.name)
            if parts is not None and name in (None, parts[1]):
                yield path


def _what(path: Path) -> str:
    parts = _FILE.fullmatch(path.name)
    return parts[2] if parts is not None else ""


def _resumed_name(settings: RunSettings, start: StartingPoint) -> str:
    assert start.checkpoint is not None
    name = str(start.checkpoint["run"])
    if settings.name not in (None, name):
        raise CheckpointError(
            f"--name {settings.name}: leave it out to resume {start.path}, which belongs to the "
            f"run {name}"
        )
    return name


def _folders(settings: RunSettings) -> tuple[Path, ...]:
    logs = settings.logs_dir("x").parent
    return (settings.models_dir, logs, settings.out_dir)


def _reserve(settings: RunSettings, name: str) -> bool:
    """Reserve a name; return False if it is taken."""
    folder = settings.logs_dir(name)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        try:
            folder.mkdir()
        except FileExistsError:
            return False
    except OSError as error:  # for example, the parent is a file
        raise LogError(f"{folder}: cannot write logs: {write_failure(error, folder)}") from error
    if any(_files(settings.models_dir, name)):  # a run whose logs were removed
        folder.rmdir()
        return False
    return True


def _taken(settings: RunSettings, name: str) -> CheckpointError:
    return CheckpointError(
        f"--name {name}: choose another, or add --resume auto to resume the run of this name in "
        f"{settings.out_dir}"
    )

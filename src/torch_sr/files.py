"""Write files completely or not at all, and explain why one failed.

A file is written under a temporary name in its own folder, flushed to the disk, and renamed, so
that neither a crash nor Ctrl-C leaves half a file behind, nor loses the one that was there before.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

_TORCH_WRITE_ERRORS = ("unexpected pos", "file write failed", "iostream error", "enforce fail")
"""Words in the RuntimeError that PyTorch raises if the disk is full."""
_SLACK = 2**20  # bytes that a file system keeps for itself


@contextlib.contextmanager
def atomic_write(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path to write to; on success it becomes ``path``, otherwise it is removed.

    The temporary name has the suffix of ``path``, because some writers choose their format by it.
    Links are followed: the file that a link points to is replaced, not the link.

    Args:
        path: the file to write; its folder must exist.

    Raises:
        OSError: the folder cannot be written to, or ``path`` is a folder or a device.
    """
    target = Path(os.path.realpath(path))
    if target.is_symlink():
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
    if target.is_dir():
        raise IsADirectoryError(f"{path} is a folder")
    if target.exists() and not target.is_file():  # replacing /dev/null would break the machine
        raise OSError(f"{path} is not a regular file")
    temporary = target.with_name(f".torch-sr-{secrets.token_hex(6)}{target.suffix}")
    try:
        yield temporary
        flush(temporary)
        temporary.replace(target)
    except BaseException:  # KeyboardInterrupt too must not leave the temporary file
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
    flush_folder(target.parent)


def write_failure(error: Exception, folder: str | Path, need: int | None = None) -> str:
    """Why a file could not be written, and the remedy.

    Args:
        error: what was raised; PyTorch reports a full disk as a plain RuntimeError.
        folder: where the file was to be written.
        need: bytes that the file needs, if known.
    """
    free = free_space(Path(folder))
    full = getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT)
    if isinstance(error, RuntimeError):
        full = any(word in str(error) for word in _TORCH_WRITE_ERRORS)
        full = full and (free is None or need is None or free < need + _SLACK)
    if not full:
        return getattr(error, "strerror", None) or " ".join(str(error).split())[:200]
    size = "" if need is None else f", {need / 1e6:.1f} MB are needed"
    left = "" if free is None else f", {free / 1e6:.1f} MB are free"
    return f"make room in {folder}, or choose another folder: the disk is full{size}{left}"


_REMEDIES = {
    errno.EACCES: "check the permissions of the file and its folder",
    errno.EBUSY: "close the program that uses it",
    errno.EDQUOT: "make room on the disk",
    errno.EEXIST: "choose another name",
    errno.EISDIR: "name a file, not a folder",
    errno.ELOOP: "remove the symbolic links that form a loop",
    errno.ENAMETOOLONG: "use a shorter name",
    errno.ENOENT: "check the path",
    errno.ENOSPC: "make room on the disk",
    errno.ENOTDIR: "name a folder before the slash, not a file",
    errno.EPERM: "check the permissions of the file and its folder",
    errno.EROFS: "choose a folder that can be written to",
}


def explain(error: OSError) -> str:
    """The remedy for an error of the operating system, and its cause.

    >>> explain(OSError(errno.ENAMETOOLONG, "File name too long"))
    'use a shorter name (File name too long)'
    """
    cause = error.strerror or " ".join(str(error).split()) or type(error).__name__
    return f"{_REMEDIES.get(error.errno or 0, 'check the path and the disk')} ({cause})"


def expand_home(path: str | Path) -> Path:
    """Replace ``~`` in a path by the home folder; unchanged if there is no such user."""
    with contextlib.suppress(RuntimeError):
        return Path(path).expanduser()
    return Path(path)


def free_space(folder: Path) -> int | None:
    """Free bytes on the disk of a folder, which may not exist yet; None if unknown."""
    for place in (folder.absolute(), *folder.absolute().parents):
        with contextlib.suppress(OSError):
            return shutil.disk_usage(place).free
    return None


def require_room(folder: Path, num_bytes: int) -> None:
    """Raise the error of a full disk before a long task instead of at its end.

    Args:
        folder: of the files; it may not exist yet.
        num_bytes: size of the files.

    Raises:
        OSError: the disk has less room; ``errno`` is ``ENOSPC``.
    """
    free = free_space(folder)
    if free is not None and free < num_bytes:
        need, have = (f"{size / 1e9:.2f} GB" for size in (num_bytes, free))
        raise OSError(errno.ENOSPC, f"{need} are needed and {have} are free")


def find_digest(path: Path, algorithm: str = "sha256") -> str:
    """The hash of a file in hexadecimal.

    Args:
        path: the file.
        algorithm: ``md5`` or ``sha256``.

    Raises:
        OSError: the file cannot be read.
    """
    found = hashlib.new(algorithm, usedforsecurity=False)
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            found.update(chunk)
    return found.hexdigest()


def try_writing(folder: Path) -> None:
    """Check that a folder can be written to: create a file and remove it, and any new folder.

    Permissions do not show whether a file can be written: a disk may be mounted read-only.

    Raises:
        OSError: no file can be written there.
    """
    trial = folder / f".torch-sr-{secrets.token_hex(6)}"
    with new_folder(folder, keep=False):
        trial.touch(exist_ok=False)
        trial.unlink()


@contextlib.contextmanager
def new_folder(folder: Path, *, keep: bool = True) -> Iterator[None]:
    """Create a folder if it is missing; remove it if the block fails and left nothing in it.

    Args:
        folder: it and the missing ones above it are created.
        keep: keep it if the block succeeds.

    Raises:
        OSError: it cannot be created.
    """
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
        made = [] if keep else made
    finally:
        for path in made:
            if path.is_dir() and not any(path.iterdir()):
                path.rmdir()


def home() -> Path:
    """The folder for decoded data sets and models: ``$TORCH_SR_HOME``, or the user's cache."""
    if named := os.environ.get("TORCH_SR_HOME"):
        return expand_home(named)
    from platformdirs import user_cache_path

    return user_cache_path("torch-sr")


def flush(path: Path) -> None:
    """Wait until a file is on the disk, so that it survives a power cut."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def flush_folder(folder: Path) -> None:
    """Make the renaming itself survive a power cut, if the system supports that."""
    with contextlib.suppress(OSError):  # Windows cannot open a folder
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

"""Unpack a zip or tar archive safely, completely or not at all.

All names and kinds in an archive are checked before anything is written; then it is unpacked into
a temporary folder and its files are moved into place by renaming. tarfile's ``filter="data"``
would not be enough: it keeps links, makes absolute names relative instead of refusing the archive,
and does not exist for zip.
"""

from __future__ import annotations

import gzip
import re
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from torch_sr.aliases import OpenProgress
from torch_sr.errors import DataError, DownloadError
from torch_sr.files import require_room

_JUNK = {"Thumbs.db", ".DS_Store", "__MACOSX"}
_CHUNK = 1 << 20
_DECODING_ERRORS = (
    *(tarfile.TarError, zipfile.BadZipFile, gzip.BadGzipFile),
    *(zlib.error, EOFError, RuntimeError),
)


@dataclass(frozen=True)
class _Member:
    """A file of an archive."""

    name: str
    num_bytes: int
    open: Callable[[], IO[bytes]]


def unpack(archive: Path, folder: Path, progress: OpenProgress | None = None) -> None:
    """Unpack an archive into a folder, next to the files that are already there.

    Refused before anything is written: paths that leave the folder, links, devices, and more data
    than the disk has room for. Permissions are not restored; ``Thumbs.db`` and the like are left
    out.

    Args:
        archive: ``.zip``, ``.tar``, ``.tar.gz`` or ``.tgz``.
        folder: created if needed; files of the same names are replaced.
        progress: called after each file.

    Raises:
        DataError: the archive is damaged or unsafe.
        DownloadError: the disk is full or the folder cannot be written to.
    """
    try:
        with _open(archive) as members:
            total = sum(member.num_bytes for member in members)
            require_room(folder, total)
            folder.mkdir(parents=True, exist_ok=True)
            # In the same folder, so that renaming is enough to move the files.
            with _temporary_folder(folder / f".unpacking-{archive.name}") as temporary:
                _write(archive, members, temporary, total, progress)
                _move_into_place(temporary, folder)
    except OSError as error:
        raise DownloadError(
            f"{folder}: make room or choose another folder; {archive.name} cannot be unpacked: "
            f"{error.strerror or error}"
        ) from error


@contextmanager
def _temporary_folder(folder: Path) -> Iterator[Path]:
    """An empty folder, removed at the end; files of an earlier, killed run are removed first."""
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _open(archive: Path) -> Iterator[list[_Member]]:
    """Open an archive and check all of its members."""
    try:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as opened:
                yield _zip_members(archive, opened)
        else:
            with tarfile.open(archive) as opened_tar:
                yield _tar_members(archive, opened_tar)
    except _DECODING_ERRORS as error:
        raise _damaged(archive, error) from error


def _damaged(archive: Path, error: Exception) -> DataError:
    reason = " ".join(str(error).split())[:150] or type(error).__name__
    return DataError(f"{archive}: remove it to download it again; it cannot be unpacked ({reason})")


def _zip_members(archive: Path, opened: zipfile.ZipFile) -> list[_Member]:
    members = []
    for entry in opened.infolist():
        kind = stat.S_IFMT(entry.external_attr >> 16)
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise _unsafe(archive, entry.filename, "is a link or device")
        if entry.flag_bits & 1:
            raise _unsafe(archive, entry.filename, "is encrypted")
        _check_name(archive, entry.filename)
        if not entry.is_dir() and not _is_junk(entry.filename):

            def opener(entry: zipfile.ZipInfo = entry) -> IO[bytes]:
                return opened.open(entry)

            members.append(_Member(entry.filename, entry.file_size, opener))
    return members


def _tar_members(archive: Path, opened: tarfile.TarFile) -> list[_Member]:
    members = []
    for entry in opened.getmembers():
        if not (entry.isreg() or entry.isdir()):
            raise _unsafe(archive, entry.name, "is a link or device")
        _check_name(archive, entry.name)
        if entry.isreg() and not _is_junk(entry.name):

            def opener(entry: tarfile.TarInfo = entry) -> IO[bytes]:
                file = opened.extractfile(entry)
                assert file is not None  # it is a regular file
                return file

            members.append(_Member(entry.name, entry.size, opener))
    return members


def _check_name(archive: Path, name: str) -> None:
    parts = re.split(r"[/\\]", name)
    if name.startswith(("/", "\\")) or ".." in parts or re.match(r"[A-Za-z]:", name):
        raise _unsafe(archive, name, "has a path outside the folder")
    if "\0" in name or "\\" in name:
        raise _unsafe(archive, name, "has a name that differs between operating systems")


def _unsafe(archive: Path, name: str, what: str) -> DataError:
    return DataError(
        f"{archive}: do not trust this archive; {name!r} in it {what}, and nothing was unpacked"
    )


def _is_junk(name: str) -> bool:
    parts = name.split("/")
    return bool(_JUNK & set(parts)) or parts[-1].startswith("._")


def _write(
    archive: Path, members: list[_Member], folder: Path, total: int, progress: OpenProgress | None
) -> None:
    done = 0
    for member in members:
        _write_member(archive, member, folder / member.name)
        done += member.num_bytes
        if progress is not None:
            progress(done, total)


def _write_member(archive: Path, member: _Member, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    left = member.num_bytes
    with member.open() as source, target.open("wb") as file:
        while chunk := source.read(_CHUNK):
            left -= len(chunk)
            if left < 0:
                raise _unsafe(archive, member.name, "is larger than declared")
            file.write(chunk)
    if left:
        raise _damaged(archive, EOFError(f"{member.name} is truncated"))


def _move_into_place(source: Path, target: Path) -> None:
    """Move files into a folder, replacing those of the same names; new folders move as one."""
    for entry in sorted(source.iterdir()):
        place = target / entry.name
        if entry.is_dir() and place.is_dir():
            _move_into_place(entry, place)
        else:
            entry.replace(place)

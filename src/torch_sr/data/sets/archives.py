"""Published data sets: where their archives are, and how they come below the data root.

An archive is fetched and verified by :mod:`torch_sr.download`, looked through before anything is
written, unpacked beside its place and moved there by renaming. Nothing in it may leave its folder.

The hashes are those that other programs check the same files by: DIV2K and the EDSR benchmarks by
torchSR, DIV2K and Flickr2K by Catalyst, BSDS500 by enhanced-srgan.
"""

from __future__ import annotations

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

from filelock import FileLock

from torch_sr.aliases import OpenProgress
from torch_sr.download import download
from torch_sr.errors import DataError, DownloadError

DownloadProgress = Callable[[str, int, int | None], None]
"""Called with what is done, and the bytes done and in all, where these are known."""

_ETHZ = ("http://data.vision.ee.ethz.ch/cvl/DIV2K", "https://data.vision.ee.ethz.ch/cvl/DIV2K")
_SNU = ("https://cv.snu.ac.kr/research/EDSR", "http://cv.snu.ac.kr/research/EDSR")
_BERKELEY = (
    "https://www2.eecs.berkeley.edu/Research/Projects/CS/vision/grouping/BSR",
    "http://www.eecs.berkeley.edu/Research/Projects/CS/vision/grouping/BSR",
)
_JUNK = {"Thumbs.db", ".DS_Store", "__MACOSX"}
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Archive:
    """A published file and what it holds.

    Args:
        name: of the file.
        servers: folders at which it is published; the original first.
        digest: ``md5:…`` or ``sha256:…``.
        folder: below the data root, into which it is unpacked.
        holds: folder below ``folder`` that is there, with files, once it is unpacked.
        num_bytes: its size, where that is known.
    """

    name: str
    servers: tuple[str, ...]
    digest: str
    folder: str
    holds: str
    num_bytes: int | None = None

    @property
    def urls(self) -> list[str]:
        """Its addresses, the original first."""
        return [f"{server}/{self.name}" for server in self.servers]

    def is_unpacked(self, data_root: Path) -> bool:
        """Whether what it holds is below the data root."""
        folder = data_root / self.folder / self.holds
        return folder.is_dir() and any(folder.iterdir())


_DIV2K_MD5 = {
    "DIV2K_train_HR": "bdc2d9338d4e574fe81bf7d158758658",
    "DIV2K_train_LR_bicubic_X2": "9a637d2ef4db0d0a81182be37fb00692",
    "DIV2K_train_LR_bicubic_X3": "ad80b9fe40c049a07a8a6c51bfab3b6d",
    "DIV2K_train_LR_bicubic_X4": "76c43ec4155851901ebbe8339846d93d",
    "DIV2K_train_LR_unknown_X2": "1396d023072c9aaeb999c28b81315233",
    "DIV2K_train_LR_unknown_X3": "4e651308aaa54d917fb1264395b7f6fa",
    "DIV2K_train_LR_unknown_X4": "e3c7febb1b3f78bd30f9ba15fe8e3956",
    "DIV2K_train_LR_x8": "613db1b855721b3d2b26f4194a1d22a6",
    "DIV2K_train_LR_mild": "807b3e3a5156f35bd3a86c5bbfb674bc",
    "DIV2K_train_LR_difficult": "5a8f2b9e0c5f5ed0dac271c1293662f4",
    "DIV2K_train_LR_wild": "d00982366bffee7c4739ba7ff1316b3b",
    "DIV2K_valid_HR": "9fcdda83005c5e5997799b69f955ff88",
    "DIV2K_valid_LR_bicubic_X2": "1512c9a3f7bde2a1a21a73044e46b9cb",
    "DIV2K_valid_LR_bicubic_X3": "18b1d310f9f88c13618c287927b29898",
    "DIV2K_valid_LR_bicubic_X4": "21962de700c8d368c6ff83314480eff0",
    "DIV2K_valid_LR_unknown_X2": "d319bd9033573d21de5395e6454f34f8",
    "DIV2K_valid_LR_unknown_X3": "05184168e3608b5c539fbfb46bcade4f",
    "DIV2K_valid_LR_unknown_X4": "8ac3413102bb3d0adc67012efb8a6c94",
    "DIV2K_valid_LR_x8": "c5aeea2004e297e9ff3abfbe143576a5",
    "DIV2K_valid_LR_mild": "8c433f812ca532eed62c11ec0de08370",
    "DIV2K_valid_LR_difficult": "1620af11bf82996bc94df655cb6490fe",
    "DIV2K_valid_LR_wild": "aacae8db6bec39151ca5bb9c80bf2f6c",
}
_BENCHMARKS = {"set5": "Set5", "set14": "Set14", "b100": "B100", "urban100": "Urban100"}
_BY_HAND = {
    "manga109": (
        "Manga109 is available from its authors only, on request: http://www.manga109.org; "
        "put its pages into benchmark/Manga109/HR"
    ),
    "lsdir": (
        "LSDIR is available from its authors only, on request: https://ofsoundof.github.io/"
        "lsdir-data; put it into LSDIR/HR/train and LSDIR/HR/val, low resolution into LSDIR/X4/…"
    ),
}


def archives_of(name: str, scale_factor: int, split: str | None = None) -> list[Archive]:
    """The archives of a data set.

    Args:
        name: a row of :data:`~torch_sr.data.sets.table.DATASETS`.
        scale_factor: between the two resolutions; where there is no low resolution for it, only
            the high one is listed, for it can be made.
        split: one of the row; all by default.

    Raises:
        DataError: when the data set is unknown, or not to be fetched by a program.
    """
    if name in _BY_HAND:
        raise DataError(_BY_HAND[name])
    if name == "bsds500":
        digest = "md5:0b17383ff0b21fe43d2f28e624203169"
        holds = "BSR/BSDS500/data/images/test"
        return [Archive("BSR_bsds500.tgz", _BERKELEY, digest, "", holds, 70_763_455)]
    if name == "flickr2k":
        digest = "md5:5d3f39443d5e9489bff8963f8f26cb03"
        return [Archive("Flickr2K.tar", _SNU, digest, "", "Flickr2K/Flickr2K_HR")]
    if name in _BENCHMARKS:
        digest = "md5:4ace41d33c2384b97e6b320cd0afd6ba"
        holds = f"benchmark/{_BENCHMARKS[name]}/HR"
        return [Archive("benchmark.tar", _SNU, digest, "", holds)]
    base, _, track = name.partition("-")
    if base != "div2k":
        raise DataError(f"data set {name!r} cannot be fetched; known are {', '.join(DOWNLOADABLE)}")
    parts = {"train": "train", "val": "valid"}
    chosen = [parts[split]] if split else list(parts.values())
    stems = [
        stem
        for part in chosen
        for stem in (
            f"DIV2K_{part}_HR",
            _div2k_low_resolution(part, track or "bicubic", scale_factor),
        )
    ]
    return [_div2k_archive(stem) for stem in stems if stem in _DIV2K_MD5]


DOWNLOADABLE = (
    *("div2k", "div2k-unknown", "div2k-mild", "div2k-difficult", "div2k-wild"),
    *("bsds500", "flickr2k", *_BENCHMARKS),
)
"""The data sets that :func:`fetch` fetches."""


def _div2k_low_resolution(part: str, track: str, scale_factor: int) -> str:
    if track in ("bicubic", "unknown") and scale_factor != 8:
        return f"DIV2K_{part}_LR_{track}_X{scale_factor}"
    return f"DIV2K_{part}_LR_{'x8' if track == 'bicubic' else track}"


def _div2k_archive(stem: str) -> Archive:
    # DIV2K_train_LR_bicubic_X4.zip holds the folder DIV2K_train_LR_bicubic/X4.
    holds = re.sub(r"_(X[234])$", r"/\1", stem)
    size = 3_530_603_713 if stem == "DIV2K_train_HR" else None
    return Archive(f"{stem}.zip", _ETHZ, f"md5:{_DIV2K_MD5[stem]}", "DIV2K", holds, size)


def fetch(
    name: str,
    data_root: Path,
    scale_factor: int,
    *,
    split: str | None = None,
    keep_archives: bool = False,
    progress: DownloadProgress | None = None,
) -> list[Path]:
    """Fetch a data set, but for what of it is there already.

    Args:
        name, scale_factor, split: as for :func:`archives_of`.
        data_root: below which it will lie.
        keep_archives: leave the archives in ``.downloads`` below the data root.
        progress: called as bytes arrive, or are unpacked.

    Returns:
        The folders that are there now.

    Raises:
        DataError: when it is not to be fetched, or an archive is damaged or hostile.
        DownloadError: when an archive cannot be fetched or the disk is full.
    """
    archives = archives_of(name, scale_factor, split)
    try:
        return _fetch_all(archives, data_root, keep_archives, progress)
    except OSError as error:
        raise DownloadError(
            f"{error.filename or data_root}: {error.strerror or error}; check who may write there"
        ) from error


def _fetch_all(
    archives: list[Archive], data_root: Path, keep_archives: bool, progress: DownloadProgress | None
) -> list[Path]:
    downloads = data_root / ".downloads"
    for archive in archives:
        if archive.is_unpacked(data_root):
            continue
        downloads.mkdir(parents=True, exist_ok=True)
        lock = downloads / f"{archive.name}.unpacking"
        with FileLock(lock):  # another process may be at it, from the first byte to the last file
            if not archive.is_unpacked(data_root):
                _fetch_one(archive, data_root, downloads, keep_archives, progress)
            lock.unlink(missing_ok=True)  # whoever waits for it finds the data set there
    return [data_root / archive.folder / archive.holds for archive in archives]


def _fetch_one(
    archive: Archive,
    data_root: Path,
    downloads: Path,
    keep_archive: bool,
    progress: DownloadProgress | None,
) -> None:
    path = downloads / archive.name
    download(
        archive.urls,
        path,
        digest=archive.digest,
        num_bytes=archive.num_bytes,
        progress=_named(progress, archive.name),
    )
    extract(path, data_root / archive.folder, _named(progress, f"unpacking {archive.name}"))
    if not archive.is_unpacked(data_root):
        raise DataError(f"{path}: holds no {archive.holds}; it is not the archive that is known")
    if not keep_archive:
        path.unlink()


def _named(progress: DownloadProgress | None, text: str) -> OpenProgress:
    def tell(done: int, total: int | None) -> None:
        if progress is not None:
            progress(text, done, total)

    return tell


# --- Unpacking ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Member:
    """A file of an archive."""

    name: str
    num_bytes: int
    open: Callable[[], IO[bytes]]


def extract(archive: Path, folder: Path, progress: OpenProgress | None = None) -> None:
    """Unpack a zip or tar archive, whole or not at all, over what lies in a folder.

    Refused before anything is written: paths that leave the folder, links, devices, and more than
    the disk has room for. Files become plain ones; ``Thumbs.db`` and the like are left out.

    Args:
        archive: ``.zip``, ``.tar``, ``.tar.gz`` or ``.tgz``.
        folder: made at need; files of the same names are replaced.
        progress: called with the bytes unpacked and in all.

    Raises:
        DataError: when the archive is damaged or hostile.
        DownloadError: when the disk is full or may not be written to.
    """
    try:
        with _reading(archive) as members:
            total = sum(member.num_bytes for member in members)
            folder.mkdir(parents=True, exist_ok=True)
            free = shutil.disk_usage(folder).free
            if total > free:
                need, have = (f"{size / 1e9:.2f} GB" for size in (total, free))
                raise DownloadError(f"{archive}: unpacked it takes {need} and {have} are free")
            # In the same folder, so that the files can be moved by renaming alone.
            with _emptied(folder / f".unpacking-{archive.name}") as temporary:
                _unpack(archive, members, temporary, total, progress)
                _move_into_place(temporary, folder)
    except OSError as error:
        raise DownloadError(
            f"{folder}: cannot be written: {error.strerror or error}; make room, or name another "
            "folder"
        ) from error


@contextmanager
def _emptied(folder: Path) -> Iterator[Path]:
    """A folder for a while; what an earlier try left there, when it was killed, goes first."""
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _reading(archive: Path) -> Iterator[list[_Member]]:
    """Open an archive and look through it."""
    try:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as opened:
                yield _zip_members(archive, opened)
        else:
            with tarfile.open(archive) as opened_tar:
                yield _tar_members(archive, opened_tar)
    except (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:
        raise _damaged(archive, error) from error
    except OSError as error:
        if type(error).__name__ == "BadGzipFile":
            raise _damaged(archive, error) from error
        raise


def _damaged(archive: Path, error: Exception) -> DataError:
    reason = " ".join(str(error).split())[:150] or type(error).__name__
    return DataError(
        f"{archive}: cannot be unpacked ({reason}); remove it, and it will be fetched again"
    )


def _zip_members(archive: Path, opened: zipfile.ZipFile) -> list[_Member]:
    members = []
    for entry in opened.infolist():
        kind = stat.S_IFMT(entry.external_attr >> 16)
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise _hostile(archive, entry.filename, "is a link or device")
        if entry.flag_bits & 1:
            raise _hostile(archive, entry.filename, "is encrypted")
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
            raise _hostile(archive, entry.name, "is a link or device")
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
        raise _hostile(archive, name, "leads out of its folder")
    if "\0" in name or "\\" in name:
        raise _hostile(archive, name, "has a name that systems read differently")


def _hostile(archive: Path, name: str, what: str) -> DataError:
    return DataError(f"{archive}: {name!r} in it {what}; nothing was unpacked, do not trust it")


def _is_junk(name: str) -> bool:
    parts = name.split("/")
    return bool(_JUNK & set(parts)) or parts[-1].startswith("._")


def _unpack(
    archive: Path,
    members: list[_Member],
    folder: Path,
    total: int,
    progress: OpenProgress | None,
) -> None:
    done = 0
    for member in members:
        target = folder / member.name
        target.parent.mkdir(parents=True, exist_ok=True)
        left = member.num_bytes
        with member.open() as source, target.open("wb") as file:
            while chunk := source.read(_CHUNK):
                left -= len(chunk)
                if left < 0:
                    raise _hostile(archive, member.name, "is larger than it says")
                file.write(chunk)
        if left:
            raise _damaged(archive, EOFError(f"{member.name} is cut short"))
        done += member.num_bytes
        if progress is not None:
            progress(done, total)


def _move_into_place(source: Path, target: Path) -> None:
    """Move files over those of a folder; a folder that is not there yet moves as one."""
    for entry in sorted(source.iterdir()):
        place = target / entry.name
        if entry.is_dir() and place.is_dir():
            _move_into_place(entry, place)
        else:
            entry.replace(place)

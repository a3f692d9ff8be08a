"""Download known data sets and unpack them below the data root.

:mod:`torch_sr.download` downloads and verifies an archive, :mod:`torch_sr.data.sets.unpacking`
unpacks it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from filelock import FileLock

from torch_sr.aliases import OnDownload, OpenProgress
from torch_sr.data.sets.archives import Archive, archives_of
from torch_sr.data.sets.resolve import resolve
from torch_sr.data.sets.table import Purpose, name_and_splits
from torch_sr.data.sets.unpacking import unpack
from torch_sr.download import download
from torch_sr.errors import DataError, DownloadError, MissingDatasetError


def download_dataset(
    name: str,
    data_root: Path,
    scale_factor: int,
    *,
    split: str | None = None,
    keep_archives: bool = False,
    progress: OnDownload | None = None,
) -> list[Path]:
    """Download and unpack the archives of a data set that are not unpacked yet.

    Args:
        name, scale_factor, split: see :func:`~torch_sr.data.sets.archives.archives_of`.
        data_root: folder of the data sets; created if needed.
        keep_archives: keep the archives in ``.downloads`` below the data root.
        progress: called while archives are downloaded and unpacked.

    Returns:
        the folders of the data set.

    Raises:
        DataError: the data set cannot be downloaded automatically, or an archive is damaged or
            unsafe.
        DownloadError: an archive cannot be downloaded, or the disk is full.
    """
    archives = archives_of(name, scale_factor, split)
    try:
        for archive in archives:
            _download_once(archive, data_root, keep_archives, progress)
    except OSError as error:
        raise DownloadError(
            f"{error.filename or data_root}: {error.strerror or error}; check the permissions of "
            "the folder"
        ) from error
    return [data_root / archive.folder / archive.holds for archive in archives]


def download_missing(
    specs: Sequence[str],
    *,
    data_root: Path,
    scale_factor: int,
    purpose: Purpose,
    progress: OnDownload | None = None,
) -> None:
    """Download the known data sets that are not below the data root.

    Args:
        specs: data sets; folders and lists are not downloaded.
        data_root: folder of the data sets.
        scale_factor: between the two resolutions.
        purpose: selects the splits if a specification names none.
        progress: called while archives are downloaded and unpacked.

    Raises:
        DataError: a data set is unknown or unusable, or cannot be downloaded automatically.
        DownloadError: a download failed.
    """
    for spec in specs:
        try:
            resolve(spec, data_root, scale_factor, purpose)
        except MissingDatasetError:
            name, splits = name_and_splits(spec, purpose)
            for split in splits or (None,):
                download_dataset(name, data_root, scale_factor, split=split, progress=progress)


def _download_once(
    archive: Archive, data_root: Path, keep_archive: bool, progress: OnDownload | None
) -> None:
    """Download and unpack an archive, unless this or another process has done so."""
    if archive.is_unpacked(data_root):
        return
    downloads = data_root / ".downloads"
    downloads.mkdir(parents=True, exist_ok=True)
    lock = downloads / f"{archive.name}.unpacking"
    with FileLock(lock):  # held from the first byte of the download to the last file
        if not archive.is_unpacked(data_root):
            _download(archive, data_root, downloads / archive.name, keep_archive, progress)
        lock.unlink(missing_ok=True)  # a process that waits for it finds the data set


def _download(
    archive: Archive,
    data_root: Path,
    path: Path,
    keep_archive: bool,
    progress: OnDownload | None,
) -> None:
    download(
        archive.urls,
        path,
        digest=archive.digest,
        num_bytes=archive.num_bytes,
        progress=_labeled(progress, archive.name),
    )
    unpack(path, data_root / archive.folder, _labeled(progress, f"unpacking {archive.name}"))
    if not archive.is_unpacked(data_root):
        raise DataError(
            f"{path}: remove it and try again; it does not contain {archive.holds}, unlike the "
            "published archive"
        )
    if not keep_archive:
        path.unlink()


def _labeled(progress: OnDownload | None, text: str) -> OpenProgress:
    def report(done: int, total: int | None) -> None:
        if progress is not None:
            progress(text, done, total)

    return report

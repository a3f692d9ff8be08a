"""Files in folders and object stores: list them, read them, write them whole or not at all.

A place is a path of this machine, or a URL such as ``s3://bucket/folder``, ``gs://``, ``file://``
or another one that fsspec knows. Paths must mean the same on every machine of a cluster.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from torch_sr.errors import ImageError, MissingExtraError
from torch_sr.files import atomic_write, explain

_LARGE = 1 << 20  # bytes that are copied at once
_ARROW = ("s3", "gs", "gcs", "hdfs", "file", "abfs")  # which pyarrow reads and writes itself


@dataclass(frozen=True)
class Place:
    """A file or a folder.

    Args:
        url: a path or a URL.
    """

    url: str

    def __str__(self) -> str:
        return self.url

    @property
    def is_local(self) -> bool:
        """Whether it is a path of this machine."""
        return not is_url(self.url) or urlsplit(self.url).scheme == "file"

    @property
    def path(self) -> Path:
        """The path of a local place."""
        return Path(urlsplit(self.url).path if is_url(self.url) else self.url)

    @property
    def name(self) -> str:
        """The last part."""
        return self.path.name if self.is_local else PurePosixPath(urlsplit(self.url).path).name

    def join(self, relative: str) -> Place:
        """A file below this folder."""
        base, query, rest = self.url.partition("?")
        return Place(f"{base.rstrip('/')}/{relative}{query}{rest}")

    @cached_property
    def _opened(self) -> tuple[Any, str]:
        """The file system of pyarrow, and the path in it.

        Raises:
            MissingExtraError: pyarrow is not installed.
            ImageError: the URL cannot be used.
        """
        try:
            from pyarrow import fs
        except ImportError as error:
            raise MissingExtraError("pyarrow", "cluster") from error
        scheme = urlsplit(self.url).scheme
        try:
            if scheme in _ARROW:
                system, inner = fs.FileSystem.from_uri(self.url)
                return system, inner
            import fsspec

            system, inner = fsspec.core.url_to_fs(self.url)
            return fs.PyFileSystem(fs.FSSpecHandler(system)), inner
        except (OSError, ValueError, ImportError) as error:
            raise ImageError(f"{self.url}: check the URL: {_reason(error)}") from error

    def exists(self) -> bool:
        """Whether there is a file."""
        if self.is_local:
            return os.path.lexists(self.path)
        system, inner = self._opened
        from pyarrow.fs import FileType

        with explaining(self.url):
            return bool(system.get_file_info(inner).type != FileType.NotFound)

    def files(self) -> Iterator[tuple[str, int]]:
        """The files below a folder: relative names with slashes, in order, and their bytes.

        Hidden files and folders are left out. One folder's names are in memory at a time.

        Raises:
            ImageError: it cannot be listed.
        """
        if self.is_local:
            yield from _walk(self.path, "")
        else:
            system, inner = self._opened
            yield from _walk_store(system, self.url, inner.rstrip("/"), "")

    def download(self, target: Path) -> None:
        """Copy the file to a path of this machine.

        Raises:
            ImageError: it cannot be read.
        """
        system, inner = self._opened
        with (
            explaining(self.url),
            system.open_input_stream(inner) as source,
            target.open("wb") as file,
        ):
            shutil.copyfileobj(source, file, _LARGE)

    def upload(self, source: Path) -> None:
        """Write the file from a path of this machine, whole or not at all.

        Object stores show a file when its upload is completed; on other file systems, it is written
        under another name first.

        Raises:
            ImageError: it cannot be written.
        """
        with explaining(self.url):
            if self.is_local:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                with atomic_write(self.path) as temporary:
                    shutil.copyfile(source, temporary)
                return
            system, inner = self._opened
            self._upload_to_store(system, inner, source)

    def _upload_to_store(self, system: Any, inner: str, source: Path) -> None:
        stream = system.open_output_stream(inner)
        try:
            with source.open("rb") as file:
                shutil.copyfileobj(file, stream, _LARGE)
        except BaseException:  # closing the stream completes it, so a part is deleted again
            with contextlib.suppress(OSError):
                stream.close()
            with contextlib.suppress(OSError):
                system.delete_file(inner)
            raise
        stream.close()


def is_url(text: str) -> bool:
    r"""Whether a text is a URL; ``C:\\photos`` is not.

    >>> is_url("s3://bucket/a.png"), is_url("photos/a.png"), is_url("C:\\photos")
    (True, False, False)
    """
    return "://" in text and len(urlsplit(text).scheme) > 1


@contextlib.contextmanager
def explaining(url: str) -> Iterator[None]:
    """Turn the errors of a store into an :class:`ImageError` that names the file."""
    try:
        yield
    except FileNotFoundError as error:
        raise ImageError(f"{url}: no such file; check the URL") from error
    except PermissionError as error:
        raise ImageError(f"{url}: check its permissions: access was denied") from error
    except OSError as error:
        raise ImageError(f"{url}: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.errno is not None:
        return explain(error)
    return " ".join(str(error).split())[:300] or type(error).__name__


def _walk(folder: Path, above: str) -> Iterator[tuple[str, int]]:
    try:
        with os.scandir(folder) as found:
            entries = sorted(found, key=lambda entry: entry.name)
    except OSError as error:
        raise ImageError(f"{folder}: {explain(error)}") from error
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            yield from _walk(folder / entry.name, f"{above}{entry.name}/")
        elif entry.is_file():
            yield f"{above}{entry.name}", entry.stat().st_size


def _walk_store(system: Any, url: str, folder: str, above: str) -> Iterator[tuple[str, int]]:
    from pyarrow.fs import FileSelector, FileType

    with explaining(url):
        infos = system.get_file_info(FileSelector(folder, recursive=False))
    for info in sorted(infos, key=lambda info: str(info.base_name)):
        if info.base_name.startswith("."):
            continue
        if info.type == FileType.Directory:
            yield from _walk_store(system, url, info.path, f"{above}{info.base_name}/")
        elif info.type == FileType.File:
            yield f"{above}{info.base_name}", info.size or 0

"""Files in folders and object stores: list them, read them, write them whole or not at all.

A place is a path of this machine, or a URL such as ``s3://bucket/folder``, ``gs://``, ``file://``
or another one that fsspec knows. Paths must mean the same on every machine of a cluster.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from torch_sr.errors import ImageError, MissingExtraError
from torch_sr.files import atomic_write, explain

_LARGE = 8 << 20  # bytes that are copied at once; a store gets a request for each
_ARROW = ("s3", "gs", "gcs", "hdfs", "abfs", "abfss")  # which pyarrow reads and writes itself
_SHOWN_WHEN_WHOLE = ("s3", "gs", "gcs", "abfs", "abfss", "az", "oss")  # object stores


class StoreError(ImageError):
    """A store failed, perhaps only this time."""


@dataclass(frozen=True)
class Folder:
    """What is in a folder.

    Args:
        name: relative to the place that was listed, with slashes; empty for itself.
        files: names and bytes, by name.
        problem: why it cannot be listed, if so.
    """

    name: str
    files: list[tuple[str, int]] = field(default_factory=list)
    problem: str | None = None


@dataclass(frozen=True)
class Place:
    """A file or a folder.

    Args:
        url: a path or a URL. In a URL, ``?`` starts the options of the store and ``%`` the number
            of a character; others may be written as they are.
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
        return Path(self._parts[1] if is_url(self.url) else self.url)

    @property
    def name(self) -> str:
        """The last part."""
        return self.path.name if self.is_local else self._parts[1].rstrip("/").rpartition("/")[2]

    def join(self, relative: str) -> Place:
        """A file or folder below this one.

        >>> Place("s3://bucket/a?region=eu-1").join("b c.png").url
        's3://bucket/a/b%20c.png?region=eu-1'
        """
        if not is_url(self.url):
            return Place(f"{self.url.rstrip('/')}/{relative}")
        base, query, options = self.url.partition("?")
        return Place(f"{base.rstrip('/')}/{quote(relative)}{query}{options}")

    @property
    def _parts(self) -> tuple[str, str]:
        """The URL of the store, and the path in it."""
        base, query, options = self.url.partition("?")
        scheme, _, rest = base.partition("://")
        store, slash, path = rest.partition("/")
        return f"{scheme}://{store}{query}{options}", unquote(slash + path)

    def _opened(self) -> tuple[Any, str]:
        """The file system of pyarrow, and the path in it."""
        store, path = self._parts
        system, base = _open_store(store)
        return system, (base.rstrip("/") + path).rstrip("/")

    def exists(self) -> bool:
        """Whether there is a file.

        Raises:
            ImageError: the store cannot be asked.
        """
        if self.is_local:
            return os.path.lexists(self.path)
        from pyarrow.fs import FileType

        system, inner = self._opened()
        with _explaining(self.url):
            return bool(system.get_file_info(inner).type != FileType.NotFound)

    def folders(self, without: Place | None = None) -> Iterator[Folder]:
        """List it and the folders below it, in order; one of them is in memory at a time.

        Hidden files and folders are left out, and the folder ``without``, unless it is this one.
        """
        omitted = _relative(without, self)
        if self.is_local:
            return _walk(self.path, "", omitted, frozenset())
        system, inner = self._opened()
        return _walk_store(system, self.url, inner, "", omitted)

    def download(self, target: Path) -> None:
        """Copy the file to a path of this machine.

        Raises:
            ImageError: it cannot be read.
        """
        system, inner = self._opened()
        with (
            _explaining(self.url),
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
        with _explaining(self.url):
            if self.is_local:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                with atomic_write(self.path) as temporary:
                    shutil.copyfile(source, temporary)
                return
            system, inner = self._opened()
            if urlsplit(self.url).scheme in _SHOWN_WHEN_WHOLE:
                _copy_to_store(system, inner, source)
                return
            folder, _, name = inner.rpartition("/")
            system.create_dir(folder, recursive=True)
            temporary_name = f"{folder}/.{name}.{uuid.uuid4().hex}"
            _copy_to_store(system, temporary_name, source)
            system.move(temporary_name, inner)


def is_url(text: str) -> bool:
    r"""Whether a text is a URL; ``C:\\photos`` is not.

    >>> is_url("s3://bucket/a.png"), is_url("photos/a.png"), is_url("C:\\photos")
    (True, False, False)
    """
    scheme, separator, _ = text.partition("://")
    return bool(separator) and len(scheme) > 1 and scheme.isalnum()


@lru_cache(maxsize=16)
def _open_store(url: str) -> tuple[Any, str]:
    """The file system of a store, and the path of its root.

    Raises:
        MissingExtraError: pyarrow or the package for the store is not installed.
        ImageError: the URL cannot be used.
    """
    try:
        from pyarrow import fs
    except ImportError as error:
        raise MissingExtraError("pyarrow", "cluster") from error
    try:
        if urlsplit(url).scheme in _ARROW:
            with contextlib.suppress(ValueError):  # an older Arrow, or a wrong URL
                system, root = fs.FileSystem.from_uri(_in_one_request(url))
                return system, root
            system, root = fs.FileSystem.from_uri(url)
            return system, root
        import fsspec

        system, root = fsspec.core.url_to_fs(url)
        return fs.PyFileSystem(fs.FSSpecHandler(system)), root
    except (OSError, ValueError, ImportError) as error:
        raise ImageError(f"{url}: check the URL: {_reason(error)}") from error


def _in_one_request(url: str) -> str:
    """Let Arrow write a small file to S3 in one request, rather than as an upload in parts.

    >>> _in_one_request("s3://bucket?region=eu-1"), _in_one_request("gs://bucket")
    ('s3://bucket?region=eu-1&allow_delayed_open=true', 'gs://bucket')
    """
    if urlsplit(url).scheme != "s3" or "allow_delayed_open" in url:
        return url
    return f"{url}{'&' if '?' in url else '?'}allow_delayed_open=true"


def _copy_to_store(system: Any, inner: str, source: Path) -> None:
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


@contextlib.contextmanager
def _explaining(url: str) -> Iterator[None]:
    """Turn the errors of a store into an :class:`ImageError` that names the file."""
    try:
        yield
    except FileNotFoundError as error:
        raise ImageError(f"{url}: no such file; check the URL") from error
    except PermissionError as error:
        raise ImageError(f"{url}: check its permissions: access was denied") from error
    except OSError as error:
        raise StoreError(f"{url}: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.errno is not None:
        return explain(error)
    return " ".join(str(error).split())[:300] or type(error).__name__


def _relative(place: Place | None, root: Place) -> str | None:
    """The name of a folder relative to one above it; None if it is not below it."""
    if place is None or place.is_local != root.is_local:
        return None
    if place.is_local:
        below, above = place.path.absolute(), root.path.absolute()
    else:
        (store, path), (other, root_path) = place._parts, root._parts
        if store != other:
            return None
        below, above = Path(path), Path(root_path)
    inside = below.is_relative_to(above) and below != above
    return below.relative_to(above).as_posix() if inside else None


def _walk(folder: Path, name: str, omitted: str | None, above: frozenset[str]) -> Iterator[Folder]:
    """Folders of this machine; links are followed, unless they lead back to a folder above."""
    above = above | {os.path.realpath(folder)}
    try:
        with os.scandir(folder) as found:
            entries = sorted(found, key=lambda entry: entry.name)
    except OSError as error:
        yield Folder(name, problem=f"{folder}: {explain(error)}")
        return
    entries = [entry for entry in entries if not entry.name.startswith(".")]
    yield Folder(name, [(each.name, each.stat().st_size) for each in entries if each.is_file()])
    for entry in entries:
        below = f"{name}/{entry.name}".lstrip("/")
        if entry.is_dir() and below != omitted and os.path.realpath(entry.path) not in above:
            yield from _walk(folder / entry.name, below, omitted, above)


def _walk_store(
    system: Any, url: str, folder: str, name: str, omitted: str | None
) -> Iterator[Folder]:
    from pyarrow.fs import FileSelector, FileType

    try:
        with _explaining(url):
            infos = system.get_file_info(FileSelector(folder, recursive=False))
    except ImageError as error:
        yield Folder(name, problem=str(error))
        return
    infos = [info for info in infos if not info.base_name.startswith(".")]
    infos.sort(key=lambda info: str(info.base_name))
    files = [(info.base_name, info.size or 0) for info in infos if info.type == FileType.File]
    yield Folder(name, files)
    for info in infos:
        below = f"{name}/{info.base_name}".lstrip("/")
        if info.type == FileType.Directory and below != omitted:
            yield from _walk_store(system, url, info.path, below, omitted)

"""Object stores and other file systems behind URLs: open, read, write; explain their errors."""

from __future__ import annotations

import contextlib
import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from torch_sr.errors import ImageError, MissingExtraError
from torch_sr.files import explain

_LARGE = 8 << 20  # bytes that are copied at once; a store gets a request for each
_ARROW = ("s3", "gs", "gcs", "hdfs", "abfs", "abfss")  # which pyarrow reads and writes itself
_OBJECT_STORES = ("s3", "gs", "gcs", "abfs", "abfss", "az", "oss")
_TRIES = 3
_WAIT = 1.0  # seconds before the second try; twice as long before each further one

T = TypeVar("T")


class StoreError(ImageError):
    """A store failed, perhaps only this time."""


def retrying(function: Callable[[], T]) -> T:
    """Call a function, and call it again if a store fails, which it does from time to time."""
    for attempt in range(1, _TRIES):
        try:
            return function()
        except StoreError:
            time.sleep(_WAIT * 2 ** (attempt - 1))
    return function()


@lru_cache(maxsize=16)
def open_store(url: str) -> tuple[Any, str]:
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


def read_file(system: Any, path: str, target: Path) -> None:
    """Copy a file of a store to a path of this machine."""
    with system.open_input_stream(path) as source, target.open("wb") as file:
        shutil.copyfileobj(source, file, _LARGE)


def write_file(system: Any, scheme: str, path: str, source: Path) -> None:
    """Write a file of a store, whole or not at all, from a path of this machine.

    Object stores show a file when its upload is completed. On other file systems, it is written
    under another name first.
    """
    if scheme in _OBJECT_STORES:
        _copy(system, path, source)
        return
    folder = path.rpartition("/")[0]
    system.create_dir(folder, recursive=True)
    temporary = f"{folder}/.torch-sr-{uuid.uuid4().hex}{source.suffix}"
    try:
        _copy(system, temporary, source)
        _replace(system, temporary, path)
    except BaseException:
        with contextlib.suppress(Exception):
            system.delete_file(temporary)
        raise


def _replace(system: Any, source: str, target: str) -> None:
    try:
        system.move(source, target)
    except OSError:  # some file systems do not replace a file by a move
        system.delete_file(target)
        system.move(source, target)


def _copy(system: Any, path: str, source: Path) -> None:
    stream = system.open_output_stream(path)
    try:
        with source.open("rb") as file:
            shutil.copyfileobj(file, stream, _LARGE)
    except BaseException:  # closing the stream completes it, so a part is deleted again
        with contextlib.suppress(Exception):
            stream.close()
            system.delete_file(path)
        raise
    stream.close()


@contextlib.contextmanager
def explaining(url: str) -> Iterator[None]:
    """Turn the errors of a store, of whatever class, into an :class:`ImageError` with the URL."""
    try:
        yield
    except ImageError:
        raise
    except FileNotFoundError as error:
        raise ImageError(f"{url}: no such file; check the URL") from error
    except PermissionError as error:
        raise ImageError(f"{url}: check its permissions: access was denied") from error
    except ValueError as error:
        raise ImageError(f"{url}: check the URL: {_reason(error)}") from error
    except Exception as error:
        raise StoreError(f"{url}: {_reason(error)}") from error


def _in_one_request(url: str) -> str:
    """Let Arrow write a small file to S3 in one request, rather than as an upload in parts.

    >>> _in_one_request("s3://bucket?region=eu-1"), _in_one_request("gs://bucket")
    ('s3://bucket?region=eu-1&allow_delayed_open=true', 'gs://bucket')
    """
    if urlsplit(url).scheme != "s3" or "allow_delayed_open" in url:
        return url
    return f"{url}{'&' if '?' in url else '?'}allow_delayed_open=true"


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.errno is not None:
        return explain(error)
    return " ".join(str(error).split())[:300] or type(error).__name__

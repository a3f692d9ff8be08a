"""Files in folders and object stores: list them, read them, write them whole or not at all.

A place is a path of this machine, or a URL such as ``s3://bucket/folder``, ``gs://``, ``file://``
or another one that fsspec knows. Paths must mean the same on every machine of a cluster.
"""

from __future__ import annotations

import os
import posixpath
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

from torch_sr.cluster.folders import Folder, walk, walk_store
from torch_sr.cluster.stores import explaining, open_store, read_file, write_file
from torch_sr.files import atomic_write


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

    @property
    def key(self) -> str:
        """Equal for all spellings of a place: links, slashes at the end, options of the store."""
        if self.is_local:
            return os.path.realpath(self.path)
        store, path = self._parts
        parts = urlsplit(store)
        endpoint = parse_qs(parts.query).get("endpoint_override", [""])[-1]
        return f"{parts.scheme}://{parts.netloc}{posixpath.normpath(path or '/')}?{endpoint}"

    def join(self, relative: str) -> Place:
        """A file or folder below this one.

        >>> Place("s3://bucket/a?region=eu-1").join("b c.png").url
        's3://bucket/a/b%20c.png?region=eu-1'
        """
        if not is_url(self.url):
            return Place(f"{self.url.rstrip('/')}/{relative}")
        base, query, options = self.url.partition("?")
        name = quote(relative.encode("utf-8", "surrogateescape"))
        return Place(f"{base.rstrip('/')}/{name}{query}{options}")

    @property
    def _parts(self) -> tuple[str, str]:
        """The URL of the store, and the path in it."""
        base, query, options = self.url.partition("?")
        scheme, _, rest = base.partition("://")
        store, slash, path = rest.partition("/")
        name = unquote(slash + path, errors="surrogateescape")
        return f"{scheme}://{store}{query}{options}", name

    def _opened(self) -> tuple[Any, str]:
        """The file system of pyarrow, and the path in it."""
        store, path = self._parts
        system, base = open_store(store)
        return system, (base.rstrip("/") + path).rstrip("/")

    def exists(self) -> bool:
        """Whether there is a file or folder.

        Raises:
            ImageError: the store cannot be asked.
        """
        if self.is_local:
            return os.path.lexists(self.path)
        from pyarrow.fs import FileType

        with explaining(self.url):
            system, inner = self._opened()
            return bool(system.get_file_info(inner).type != FileType.NotFound)

    def folders(self, without: Place | None = None) -> Iterator[Folder]:
        """List it and the folders below it, in order; one of them is in memory at a time.

        Hidden files and folders are left out, and the folder ``without``, unless it is this one.
        """
        omitted = without.key if without is not None and without.key != self.key else None
        if self.is_local:
            return walk(self.path, omitted)
        system, inner = self._opened()
        return walk_store(system, inner, lambda name: self.join(name) if name else self, omitted)

    def download(self, target: Path) -> None:
        """Copy the file to a path of this machine.

        Raises:
            ImageError: it cannot be read.
        """
        with explaining(self.url):
            system, inner = self._opened()
            read_file(system, inner, target)

    def upload(self, source: Path) -> None:
        """Write the file from a path of this machine, whole or not at all.

        Raises:
            ImageError: it cannot be written.
        """
        with explaining(self.url):
            if self.is_local:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                with atomic_write(self.path) as temporary:
                    shutil.copyfile(source, temporary)
            else:
                system, inner = self._opened()
                write_file(system, urlsplit(self.url).scheme, inner, source)


def is_url(text: str) -> bool:
    r"""Whether a text is a URL; ``C:\\photos`` is not.

    >>> is_url("s3://bucket/a.png"), is_url("photos/a.png"), is_url("C:\\photos")
    (True, False, False)
    """
    scheme, separator, _ = text.partition("://")
    return bool(separator) and len(scheme) > 1 and scheme.isalnum()

"""Walk through the folders of this machine and of stores, one at a time."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from torch_sr.cluster.stores import explaining, retrying
from torch_sr.errors import ImageError
from torch_sr.files import explain


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


class Named(Protocol):
    """A place with a URL, and a key that is equal for all of its spellings."""

    @property
    def url(self) -> str: ...

    @property
    def key(self) -> str: ...


def walk(
    folder: Path, omitted: str | None, name: str = "", above: frozenset[str] = frozenset()
) -> Iterator[Folder]:
    """Folders of this machine. Links are followed, unless they lead back to a folder above.

    Args:
        folder: where to start.
        omitted: the real path of a folder to leave out.
        name: of ``folder``, relative to the first one.
        above: real paths of the folders above.
    """
    above = above | {os.path.realpath(folder)}
    try:
        with os.scandir(folder) as found:
            entries = sorted(found, key=lambda entry: entry.name)
    except OSError as error:
        yield Folder(name, problem=f"{folder}: {explain(error)}")
        return
    entries = [entry for entry in entries if not entry.name.startswith(".")]
    folders = [entry for entry in entries if _is_folder(entry)]
    names = {entry.name for entry in folders}
    yield Folder(name, [(each.name, _size(each)) for each in entries if each.name not in names])
    for entry in folders:
        real = os.path.realpath(entry.path)
        if real != omitted and real not in above:
            below = f"{name}/{entry.name}".lstrip("/")
            yield from walk(folder / entry.name, omitted, below, above)


def walk_store(
    system: Any, folder: str, place: Callable[[str], Named], omitted: str | None, name: str = ""
) -> Iterator[Folder]:
    """Folders of a store.

    Args:
        system: the file system of pyarrow.
        folder: where to start, as a path in the store.
        place: the place of a relative name.
        omitted: the key of a folder to leave out.
        name: of ``folder``, relative to the first one.
    """
    from pyarrow.fs import FileSelector, FileType

    url = place(name).url

    def read() -> list[Any]:
        with explaining(url):
            return list(system.get_file_info(FileSelector(folder, recursive=False)))

    try:
        infos = retrying(read)
    except ImageError as error:
        yield Folder(name, problem=str(error))
        return
    infos = sorted(infos, key=lambda info: str(info.base_name))
    named = [info for info in infos if info.base_name and info.path.rstrip("/") != folder]
    shown = [info for info in named if not info.base_name.startswith(".")]
    files = [(info.base_name, info.size or 0) for info in shown if info.type == FileType.File]
    yield Folder(name, files)
    if len(named) < len(infos):  # of a//b.png, which pyarrow cannot read
        yield Folder(name, problem=f"{url}: rename what is in it with a // in its name")
    for info in shown:
        below = f"{name}/{info.base_name}".lstrip("/")
        if info.type == FileType.Directory and place(below).key != omitted:
            yield from walk_store(system, info.path, place, omitted, below)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _size(entry: os.DirEntry[str]) -> int:
    try:
        return entry.stat().st_size
    except OSError:  # reading it will fail too, and say why
        return 0

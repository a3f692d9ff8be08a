"""List the sources, and name their results; nothing is kept of what was listed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import TypeVar

from torch_sr.cluster.places import Place
from torch_sr.errors import ImageError
from torch_sr.inference.files.kinds import is_source_name
from torch_sr.inference.files.targets import result_name

T = TypeVar("T")


@dataclass(frozen=True)
class Item:
    """A file to process.

    Args:
        source, target: paths or URLs.
        num_bytes: of the source; 0 if unknown.
        refusal: why it cannot be processed, if that is known already.
    """

    source: str
    target: str
    num_bytes: int = 0
    refusal: str | None = None


def list_items(
    arguments: Sequence[str], out: str, *, suffix: str = "_sr", file_format: str | None = None
) -> Iterator[Item]:
    """The files that URLs name, each below ``out`` in the same sub-folder.

    Args:
        arguments: URLs of folders, or of files with the suffix of an image or a video.
        out: the folder for the results, a path or a URL.
        suffix, file_format: see :func:`~torch_sr.inference.files.jobs.find_jobs`.

    Raises:
        ImageError: a folder cannot be listed, or has neither images nor videos.
    """
    target = Place(out)
    for argument in arguments:
        source = Place(argument)
        if is_source_name(Path(source.name)):
            yield _item(argument, target, source.name, 0, suffix, file_format)
            continue
        found = False
        for name, size in source.files():
            if is_source_name(Path(name)):
                found = True
                yield _item(source.join(name).url, target, name, size, suffix, file_format)
        if not found:
            raise ImageError(f"{argument}: no images or videos there; name a file or a folder")


def group(items: Iterable[Item], most: int, most_bytes: int) -> Iterator[list[Item]]:
    """Groups of consecutive items of at most so many items and bytes, and at least one item.

    >>> sizes = [Item("a", "b", n) for n in (5, 5, 9, 1)]
    >>> [[item.num_bytes for item in each] for each in group(sizes, 3, 10)]
    [[5, 5], [9, 1]]
    """
    held: list[Item] = []
    total = 0
    for item in items:
        if held and (len(held) >= most or total + item.num_bytes > most_bytes):
            yield held
            held, total = [], 0
        held.append(item)
        total += item.num_bytes
    if held:
        yield held


def chunks(items: Iterator[T], size: int) -> Iterator[list[T]]:
    """Lists of ``size`` consecutive items; the last one may be shorter.

    >>> list(chunks(iter("abcde"), 2))
    [['a', 'b'], ['c', 'd'], ['e']]
    """
    while chunk := list(islice(items, size)):
        yield chunk


def _item(
    url: str, target: Place, name: str, size: int, suffix: str, file_format: str | None
) -> Item:
    relative = PurePosixPath(name)
    result = result_name(Path(relative.name), suffix, file_format)
    return Item(url, target.join(str(relative.with_name(result))).url, size)

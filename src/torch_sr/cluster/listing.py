"""List the files that URLs name, and name their results; one folder is in memory at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch_sr.cluster.folders import Folder
from torch_sr.cluster.places import Place, is_url
from torch_sr.errors import ImageError
from torch_sr.inference.files.kinds import is_source_name
from torch_sr.inference.files.targets import (
    check_suffix,
    check_target_format,
    result_name,
    single_target,
    target_file,
)

_SHARES = 16  # a task is at most this part of what each worker has got on average


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


@dataclass(frozen=True)
class Listing:
    """The files that URLs name, each with a result below ``out`` in the same sub-folder.

    It can be iterated over several times, on any machine of the cluster, always in the same order.

    Args:
        sources: one folder, or files with the suffixes of images and videos; absolute paths or
            URLs.
        out: the folder for the results, or the file for the result of one file; an absolute path
            or a URL.
        suffix, file_format: see :func:`~torch_sr.inference.files.jobs.find_jobs`.
    """

    sources: Sequence[str]
    out: str
    suffix: str = "_sr"
    file_format: str | None = None

    def __iter__(self) -> Iterator[Item]:
        """The files.

        Raises:
            ImageError: the folder cannot be listed, or has neither images nor videos; or the
                arguments do not fit together.
        """
        check_suffix(self.suffix)
        target = self._single_target()
        check_target_format(self.file_format, target)
        if len(self.sources) == 1 and _is_folder(self.sources[0]):
            if target is not None:
                raise ImageError(f"{self.out} is one file, and {self.sources[0]} a folder")
            return self._in_folder(Place(self.sources[0]))
        return self._named(target)

    def _single_target(self) -> Path | None:
        """The name of the file that ``out`` names, if it is not a folder."""
        if not is_url(self.out):
            return single_target(self.out)
        return None if _has_slash(self.out) else target_file(Place(self.out).name)

    def _named(self, target: Path | None) -> Iterator[Item]:
        places = {place.key: place for place in map(Place, self.sources)}
        if folders := [url for url in self.sources if _is_folder(url)]:
            raise ImageError(
                f"{folders[0]}: name one folder, or only files, if there are URLs; for several "
                "folders run the command for each"
            )
        if target is not None and len(places) > 1:
            raise ImageError(f"{self.out} is one file, and there are {len(places)} sources")
        out, written = Place(self.out), dict[str, str]()
        for source in places.values():
            result = out if target else out.join(self._result_name(source))
            writer = written.setdefault(result.key, source.url)
            refusal = _refusal(source, result, writer, result.key in places)
            yield Item(source.url, result.url, refusal=refusal)

    def _in_folder(self, root: Place) -> Iterator[Item]:
        found = False
        for folder in root.folders(without=Place(self.out)):
            if folder.problem is not None and not folder.name and not found:
                raise ImageError(folder.problem)
            for item in self._items(root, folder):
                found = True
                yield item
        if not found:
            raise ImageError(f"{root}: no images or videos there; name a file or a folder")

    def _items(self, root: Place, folder: Folder) -> Iterator[Item]:
        """The files of one folder, except what are results in it, if they are written there."""
        source, target = root, Place(self.out)
        if folder.name:
            source, target = source.join(folder.name), target.join(folder.name)
        if folder.problem is not None:
            yield Item(source.url, target.url, refusal=folder.problem)
            return
        here = source.path if source.is_local else Path()
        names = {
            name: self._result_name(source.join(name))
            for name, _ in folder.files
            if is_source_name(here / name)
        }
        same = source.key == target.key
        results = set(names.values()) if same and self.suffix else set()
        kept = names.keys() - results
        written: dict[str, str] = {}
        for name, num_bytes in folder.files:
            if name in kept:
                file, result = source.join(name), target.join(names[name])
                writer = written.setdefault(names[name], file.url)
                refusal = _refusal(file, result, writer, same and names[name] in kept)
                yield Item(file.url, result.url, num_bytes, refusal)

    def _result_name(self, source: Place) -> str:
        name = source.path if source.is_local else Path(source.name)
        return result_name(name, self.suffix, self.file_format)


def group(items: Iterable[Item], most: int, most_bytes: int, workers: int) -> Iterator[list[Item]]:
    """Groups of consecutive items for the tasks of the workers.

    The first tasks are small and later ones larger, so that few items are shared evenly among the
    workers, and many need few tasks.

    Args:
        items: in order.
        most: items in a group.
        most_bytes: in a group, unless it has only one item.
        workers: their number.

    >>> items = [Item(str(n), "", 5) for n in range(40)]
    >>> [len(each) for each in group(items, most=8, most_bytes=1000, workers=1)]
    [1, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 1]
    >>> [len(each) for each in group(items[:5], most=8, most_bytes=12, workers=4)]
    [1, 1, 1, 1, 1]
    """
    held: list[Item] = []
    total = given = 0
    for item in items:
        least = 1 if given < workers else 2  # a worker reads one while it computes the other
        limit = min(most, max(least, given // (_SHARES * workers)))
        if held and (len(held) >= limit or total + item.num_bytes > most_bytes):
            yield held
            given += len(held)
            held, total = [], 0
        held.append(item)
        total += item.num_bytes
    if held:
        yield held


def _has_slash(url: str) -> bool:
    return url.partition("?")[0].endswith("/")


def _is_folder(url: str) -> bool:
    if _has_slash(url):
        return True
    place = Place(url)
    return not is_source_name(place.path if place.is_local else Path(place.name))


def _refusal(source: Place, result: Place, writer: str, is_source: bool) -> str | None:
    """Why a file is not processed: its result is a source, or of another file as well."""
    if is_source:
        return (
            f"{source}: would overwrite {result}, which is a source; choose another --suffix or "
            "--out"
        )
    if writer == source.url:
        return None
    return (
        f"{source}: would overwrite {result}, which is the result of {writer}; choose another "
        "--suffix, --format or --out"
    )

"""List the files that URLs name, and name their results; one folder is in memory at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch_sr.cluster.places import Folder, Place
from torch_sr.errors import ImageError
from torch_sr.inference.files.kinds import is_source_name
from torch_sr.inference.files.targets import check_suffix, check_target_format, result_name


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
        check_target_format(self.file_format, None)
        if len(self.sources) == 1 and not is_source_name(Path(Place(self.sources[0]).name)):
            return self._in_folder(Place(self.sources[0]))
        return self._named()

    def _named(self) -> Iterator[Item]:
        places = [Place(url) for url in self.sources]
        if folders := [str(place) for place in places if not is_source_name(Path(place.name))]:
            raise ImageError(
                f"{folders[0]}: name one folder, or only files, if there are URLs; for several "
                "folders run the command for each"
            )
        out, written = Place(self.out), dict[str, str]()
        if is_source_name(Path(out.name)):
            if len(places) > 1:
                raise ImageError(f"{out} is one file, and there are {len(places)} sources")
            yield Item(self.sources[0], out.url, refusal=_refusal(self.sources[0], out.url))
            return
        for url, place in zip(self.sources, places, strict=True):
            target = out.join(self._result_name(place.name)).url
            yield Item(url, target, refusal=_refusal(url, target, written.setdefault(target, url)))

    def _in_folder(self, root: Place) -> Iterator[Item]:
        found = False
        for folder in root.folders(without=Place(self.out)):
            if folder.problem is not None and not folder.name:
                raise ImageError(folder.problem)
            for item in self._items(root, folder):
                found = True
                yield item
        if not found:
            raise ImageError(f"{root}: no images or videos there; name a file or a folder")

    def _items(self, root: Place, folder: Folder) -> Iterator[Item]:
        """The files of one folder, except what are results in it, if they are written there."""
        source, target = root.join(folder.name), Place(self.out).join(folder.name)
        if not folder.name:
            source, target = root, Place(self.out)
        if folder.problem is not None:
            yield Item(source.url, target.url, refusal=folder.problem)
            return
        files = [
            (name, self._result_name(name), size)
            for name, size in folder.files
            if is_source_name(Path(name))
        ]
        results = {result for _, result, _ in files} if source == target else set()
        written: dict[str, str] = {}
        for name, result, size in files:
            if name not in results or name == result:
                url, to = source.join(name).url, target.join(result).url
                yield Item(url, to, size, _refusal(url, to, written.setdefault(to, url)))

    def _result_name(self, name: str) -> str:
        return result_name(Path(name), self.suffix, self.file_format)


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
    [1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 4, 3]
    >>> [len(each) for each in group(items[:5], most=8, most_bytes=12, workers=1)]
    [1, 1, 1, 1, 1]
    """
    held: list[Item] = []
    total = given = 0
    for item in items:
        limit = min(most, max(1, given // (_SHARES * workers)))
        if held and (len(held) >= limit or total + item.num_bytes > most_bytes):
            yield held
            given += len(held)
            held, total = [], 0
        held.append(item)
        total += item.num_bytes
    if held:
        yield held


_SHARES = 8  # a task is at most this part of what each worker has got on average


def _refusal(source: str, target: str, writer: str | None = None) -> str | None:
    if source == target:
        return f"{source}: would overwrite itself; choose another --suffix or --out"
    if writer in (None, source):
        return None
    return (
        f"{source}: would overwrite {target}, which is the result of {writer}; choose another "
        "--suffix, --format or --out"
    )

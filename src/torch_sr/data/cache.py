"""Decoded images in one memory-mapped file, so that a random crop is a slice.

``<name>-<content hash>.bin`` holds the images as raw uint8 ``(H, W, C)``, one after another;
``<name>.json`` beside it is the index: shape, offset, and the size, time and SHA-256 of each
source file. The index names its data file by content and is replaced last, so a reader never
meets a half-written or outdated pair. A changed source means a new build.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from torch_sr.data.resize import downscale
from torch_sr.errors import DataError
from torch_sr.files import atomic_write
from torch_sr.images import read_rgb8, read_size

Array = npt.NDArray[Any]
Progress = Callable[[int, int], None]
"""Called with the images done and the images in all."""

_VERSION = 1


@dataclass(frozen=True)
class _Entry:
    """One image: where it came from and where it lies in the data file."""

    path: str
    size: int
    mtime_ns: int
    sha256: str
    shape: tuple[int, int, int]
    offset: int

    def is_current(self) -> bool:
        """Whether the source is unchanged: same size and time, or else same content."""
        try:
            status = os.stat(self.path)
        except OSError:
            return False
        if status.st_size != self.size:
            return False
        return status.st_mtime_ns == self.mtime_ns or _sha256(Path(self.path)) == self.sha256


class ImageCache(Sequence[Array]):
    """Read-only decoded images: ``cache[i]`` is an ``(H, W, C)`` uint8 view of a mapped file.

    Opened by :func:`open_cache`. It pickles as its path, so worker processes map the same pages.
    """

    def __init__(self, data_file: Path, entries: Sequence[_Entry]) -> None:
        self._data_file = data_file
        self._entries = list(entries)
        self._pixels = np.memmap(data_file, dtype=np.uint8, mode="r")

    def __len__(self) -> int:
        return len(self._entries)

    def __getitem__(self, index: Any) -> Any:
        entry = self._entries[index]
        end = entry.offset + math.prod(entry.shape)
        return self._pixels[entry.offset : end].reshape(entry.shape)

    def shape(self, index: int) -> tuple[int, int, int]:
        """``(H, W, C)`` of one image, without touching its pixels."""
        return self._entries[index].shape

    def __reduce__(self) -> tuple[Any, ...]:
        return ImageCache, (self._data_file, self._entries)


def open_cache(
    name: str,
    paths: Sequence[Path],
    cache_dir: Path,
    *,
    channels: int = 3,
    shrink: int = 1,
    workers: int | None = None,
    progress: Progress | None = None,
) -> ImageCache:
    """Open the cache of some images; build it, in parallel, where it is missing or outdated.

    Args:
        name: what the files are called; different recipes get different files all the same.
        paths: the images, in the order they will have in the cache.
        cache_dir: where caches live; made if need be.
        channels: 1, 3 or 4, of every cached image.
        shrink: store the images downscaled by this factor (MATLAB's bicubic) in place of the
            originals.
        workers: threads; all cores by default.
        progress: called after each image of a build.

    Raises:
        DataError: when the cache cannot be written.
        ImageError: when a source cannot be read.
    """
    recipe = {"version": _VERSION, "channels": channels, "shrink": shrink}
    sources = [str(path.resolve()) for path in paths]
    key = _digest({"recipe": recipe, "sources": sources})[:12]
    index_file = cache_dir / f"{name}-x{shrink}-{key}.json"
    cached = _open_current(index_file)
    if cached is not None:
        return cached
    builder = _Builder(recipe, index_file, workers or os.cpu_count() or 1, progress)
    try:
        cache_dir.mkdir(parents=True, exist_ok=True)
        builder.build(sources)
    except OSError as error:
        raise DataError(f"{cache_dir}: cannot write the image cache: {error.strerror}") from error
    built = _open_current(index_file)
    assert built is not None
    return built


def _open_current(index_file: Path) -> ImageCache | None:
    try:
        index = json.loads(index_file.read_text(encoding="utf-8"))
        entries = [_Entry(**{**e, "shape": tuple(e["shape"])}) for e in index["images"]]
        data_file = index_file.with_name(index["data"])
        complete = data_file.stat().st_size == index["bytes"]
    except (OSError, ValueError, KeyError, TypeError):
        return None  # missing or damaged: built anew
    if not complete:
        return None
    with ThreadPoolExecutor() as pool:
        current = all(pool.map(_Entry.is_current, entries))
    return ImageCache(data_file, entries) if current else None


class _Builder:
    """Decode sources into one file, in parallel."""

    def __init__(
        self, recipe: dict[str, int], index_file: Path, workers: int, progress: Progress | None
    ) -> None:
        self.recipe = recipe
        self.index_file = index_file
        self.workers = workers
        self.progress = progress or (lambda done, total: None)

    def build(self, sources: Sequence[str]) -> None:
        with ThreadPoolExecutor(self.workers) as pool, _cancelling(pool):
            entries = self._lay_out(list(pool.map(self._describe, sources)))
            total = entries[-1].offset + math.prod(entries[-1].shape)
            digest = _digest({"recipe": self.recipe, "images": [e.sha256 for e in entries]})
            data_file = self.index_file.with_name(f"{self.index_file.stem}-{digest[:12]}.bin")
            with atomic_write(data_file) as temporary:
                with temporary.open("wb") as file:
                    os.posix_fallocate(file.fileno(), 0, total)  # a full disk says so now
                pixels = np.memmap(temporary, dtype=np.uint8, mode="r+")
                jobs = pool.map(lambda entry: self._decode(entry, pixels), entries)
                for done, _ in enumerate(jobs, start=1):
                    self.progress(done, len(entries))
                pixels.flush()
        self._write_index(data_file, entries, total)

    def _describe(self, source: str) -> _Entry:
        path = Path(source)
        status = path.stat()
        height, width = read_size(path)
        shrink = self.recipe["shrink"]
        shape = (height // shrink, width // shrink, self.recipe["channels"])
        return _Entry(source, status.st_size, status.st_mtime_ns, _sha256(path), shape, 0)

    @staticmethod
    def _lay_out(entries: list[_Entry]) -> list[_Entry]:
        offset, placed = 0, []
        for entry in entries:
            placed.append(_Entry(**{**asdict(entry), "offset": offset}))
            offset += math.prod(entry.shape)
        return placed

    def _decode(self, entry: _Entry, pixels: Array) -> None:
        image = read_rgb8(entry.path, channels=self.recipe["channels"])
        if self.recipe["shrink"] > 1:
            image = downscale(image, self.recipe["shrink"])
        if image.shape != entry.shape:
            raise DataError(f"{entry.path}: changed while the cache was built; start again")
        pixels[entry.offset : entry.offset + image.size] = image.reshape(-1)

    def _write_index(self, data_file: Path, entries: list[_Entry], total: int) -> None:
        index = {"data": data_file.name, "bytes": total, "recipe": self.recipe}
        text = json.dumps({**index, "images": [asdict(entry) for entry in entries]}, indent=1)
        with atomic_write(self.index_file) as temporary:
            temporary.write_text(text, encoding="utf-8")
        for outdated in self.index_file.parent.glob(f"{self.index_file.stem}-*.bin"):
            if outdated != data_file:
                outdated.unlink(missing_ok=True)


@contextmanager
def _cancelling(pool: ThreadPoolExecutor) -> Iterator[None]:
    """On an error or Ctrl-C, drop what has not started instead of finishing it first."""
    try:
        yield
    except BaseException:
        pool.shutdown(cancel_futures=True)
        raise


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        digest = hashlib.sha256()
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()

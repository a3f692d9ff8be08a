"""Read decoded images from the memory-mapped file of a cache."""

from __future__ import annotations

import contextlib
import json
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from torch_sr.aliases import Array, Progress
from torch_sr.data.sources import PixelFormat, sum_up
from torch_sr.errors import DataError
from torch_sr.files import find_digest
from torch_sr.machine import usable_cpus


@dataclass(frozen=True)
class CachedImage:
    """One image of a cache: its source file, and where its pixels are in the data file.

    The names of the fields are those in the index file.

    Args:
        path: the source file.
        size, mtime_ns, sha256: those of the source file when it was decoded.
        shape, depth: see :class:`~torch_sr.data.sources.PixelFormat`.
        offset: where its pixels start in the data file, in bytes.
        crc32: checksum of the pixels.
        ctime_ns: time of the source file's last status change; 0 in caches written before this
            field existed.
        losses: see :class:`~torch_sr.data.sources.Described`.
    """

    path: str
    size: int
    mtime_ns: int
    sha256: str
    shape: tuple[int, int, int]
    depth: int
    offset: int
    crc32: int
    ctime_ns: int = 0
    losses: tuple[str, ...] = ()

    @property
    def pixel_format(self) -> PixelFormat:
        """Shape and depth."""
        return PixelFormat(self.shape, self.depth)

    def is_current(self, *, trust_time: bool = True) -> bool:
        """Whether the source file is unchanged: same size and times, or else same content.

        The time of the last status change reveals new content that kept an old modification time,
        as after ``cp -p`` or unpacking.
        """
        try:
            status = Path(self.path).stat()
            if status.st_size != self.size:
                return False
            same = self.ctime_ns in (0, status.st_ctime_ns)
            if trust_time and same and status.st_mtime_ns == self.mtime_ns:
                return True
            return find_digest(Path(self.path)) == self.sha256
        except OSError:
            return False


class ImageCache:
    """Read-only decoded images: ``cache[i]`` is an ``(H, W, C)`` view, uint8 or uint16.

    Opened by :class:`~torch_sr.data.cache.CacheRecipe`. It is pickled as its path, so that worker
    processes map the same pages.
    """

    def __init__(self, data_file: Path, images: Sequence[CachedImage], index_file: Path) -> None:
        self._data_file = data_file
        self._index_file = index_file
        self.images = list(images)
        # Slices of a memmap are memmaps, which are slow to create.
        self._pixels = np.memmap(data_file, dtype=np.uint8, mode="r").view(np.ndarray)

    @classmethod
    def load(cls, index_file: Path) -> ImageCache | None:
        """Open a cache by its index; None if it is missing or damaged."""
        try:
            index = json.loads(index_file.read_text(encoding="utf-8"))
            images = [
                CachedImage(
                    **{**e, "shape": tuple(e["shape"]), "losses": tuple(e.get("losses", ()))}
                )
                for e in index["images"]
            ]
            data_file = index_file.with_name(index["data"])
            if data_file.stat().st_size != index["bytes"]:
                return None
            return cls(data_file, images, index_file)
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Array:
        image = self.images[index]
        pixels = self._pixels[image.offset : image.offset + image.pixel_format.num_bytes]
        if image.depth == 16:
            pixels = pixels.view(np.uint16)
        return pixels.reshape(image.shape)

    def pixel_format(self, index: int) -> PixelFormat:
        """Shape and depth of one image, without reading its pixels."""
        return self.images[index].pixel_format

    def digest(self, index: int) -> str:
        """SHA-256 of the source file of one image, when it was decoded."""
        return self.images[index].sha256

    @property
    def uncached_bytes(self) -> int:
        """Zero: no pixels are read from the source files."""
        return 0

    @property
    def warnings(self) -> list[str]:
        """What was left out of the images, such as an alpha channel, one sentence each."""
        return sum_up([(Path(image.path), image.losses) for image in self.images])

    @property
    def num_bytes(self) -> int:
        """The size of the data file."""
        return self._pixels.size

    def find_damaged(self, progress: Progress | None = None) -> list[Path]:
        """Find source files that have changed, or whose pixels in the cache have changed.

        Reads all pixels and all source files.
        """
        damaged = []
        with cancelling_pool() as pool:
            for done, intact in enumerate(pool.map(self._is_intact, range(len(self))), start=1):
                if not intact:
                    damaged.append(Path(self.images[done - 1].path))
                if progress is not None:
                    progress(done, len(self))
        return damaged

    def forget(self) -> None:
        """Remove the index, so that the cache is rebuilt the next time it is opened.

        Raises:
            DataError: the index cannot be removed.
        """
        try:
            self._index_file.unlink(missing_ok=True)
        except OSError as error:
            raise DataError(
                f"{self._index_file}: check the permissions of the folder; the file cannot be "
                f"removed: {error.strerror}"
            ) from error

    def _is_intact(self, index: int) -> bool:
        image = self.images[index]
        return zlib.crc32(self[index].data) == image.crc32 and image.is_current(trust_time=False)

    def __reduce__(self) -> tuple[Any, ...]:
        return ImageCache, (self._data_file, self.images, self._index_file)


@contextlib.contextmanager
def cancelling_pool(workers: int | None = None) -> Iterator[ThreadPoolExecutor]:
    """A thread pool, by default a thread per processor; an error or Ctrl-C cancels waiting work.

    Work that has already started is finished.
    """
    pool = ThreadPoolExecutor(workers or usable_cpus())
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)

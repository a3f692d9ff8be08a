"""Decoded images in one memory-mapped file, so that a random crop is a slice.

``<name>-<content hash>.bin`` holds the images as raw ``(H, W, C)``, uint8 or uint16, one after
another; ``<name>.json`` beside it is the index: shape, depth, offset, checksum, and the size, time
and SHA-256 of each source file. The index names its data file by content and is replaced last, so
a reader never meets a half-written or outdated pair. A changed source means a new build.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import math
import os
import shutil
import threading
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from torch_sr.aliases import Array, Progress
from torch_sr.data.sources import Layout, describe, read_pixels, sum_up
from torch_sr.errors import DataError, ImageError
from torch_sr.files import atomic_write

"""Called with the images done and the images in all."""

_VERSION = 3
_ALIGNMENT = 16  # bytes, so that 16-bit samples lie where processors like them


@dataclass(frozen=True)
class _Entry:
    """One image: where it came from and where it lies in the data file."""

    path: str
    size: int
    mtime_ns: int
    sha256: str
    shape: tuple[int, int, int]
    depth: int
    offset: int
    crc32: int
    ctime_ns: int = 0  # of caches older than this field: not known
    losses: tuple[str, ...] = ()

    @property
    def layout(self) -> Layout:
        return Layout(self.shape, self.depth)

    def is_current(self, *, trust_time: bool = True) -> bool:
        """Whether the source is unchanged: same size and times, or else same content.

        The time of the last change of the file's entry shows a new content under the old time of
        modification, as ``cp -p`` and unpacking leave it.
        """
        try:
            status = Path(self.path).stat()
            if status.st_size != self.size:
                return False
            same = self.ctime_ns in (0, status.st_ctime_ns)
            if trust_time and same and status.st_mtime_ns == self.mtime_ns:
                return True
            return _sha256(Path(self.path)) == self.sha256
        except OSError:
            return False


class ImageCache:
    """Read-only decoded images: ``cache[i]`` is an ``(H, W, C)`` view, uint8 or uint16.

    Opened by :func:`open_cache`. It pickles as its path, so worker processes map the same pages.
    """

    def __init__(self, data_file: Path, entries: Sequence[_Entry], index_file: Path) -> None:
        self._data_file = data_file
        self._index_file = index_file
        self._entries = list(entries)
        # Slices of a memmap are memmaps, which take long to make.
        self._pixels = np.memmap(data_file, dtype=np.uint8, mode="r").view(np.ndarray)

    def __len__(self) -> int:
        return len(self._entries)

    def __getitem__(self, index: int) -> Array:
        entry = self._entries[index]
        pixels = self._pixels[entry.offset : entry.offset + entry.layout.num_bytes]
        if entry.depth == 16:
            pixels = pixels.view(np.uint16)
        return pixels.reshape(entry.shape)

    def layout(self, index: int) -> Layout:
        """Shape and depth of one image, without touching its pixels."""
        return self._entries[index].layout

    def digest(self, index: int) -> str:
        """SHA-256 of the file that one image comes from, as it was when it was decoded."""
        return self._entries[index].sha256

    @property
    def uncached_bytes(self) -> int:
        """None of the pixels are read from their files."""
        return 0

    @property
    def remarks(self) -> list[str]:
        """What the files hold and the images do not, a sentence each."""
        return sum_up([(Path(entry.path), entry.losses) for entry in self._entries])

    @property
    def num_bytes(self) -> int:
        """The size of the data file."""
        return self._pixels.size

    def find_damaged(self, progress: Progress | None = None) -> list[Path]:
        """The sources whose pixels here are not what was written, or that have changed since.

        Reads everything: the pixels and the source files.
        """
        damaged = []
        with _threads(os.cpu_count() or 1) as pool:
            for done, sound in enumerate(pool.map(self._is_sound, range(len(self))), start=1):
                if not sound:
                    damaged.append(Path(self._entries[done - 1].path))
                if progress is not None:
                    progress(done, len(self))
        return damaged

    def forget(self) -> None:
        """Remove the index, so that the next opening builds anew.

        Raises:
            DataError: when it cannot be removed.
        """
        try:
            self._index_file.unlink(missing_ok=True)
        except OSError as error:
            raise DataError(f"{self._index_file}: cannot be removed: {error.strerror}") from error

    def _is_sound(self, index: int) -> bool:
        entry = self._entries[index]
        return zlib.crc32(self[index].data) == entry.crc32 and entry.is_current(trust_time=False)

    def __reduce__(self) -> tuple[Any, ...]:
        return ImageCache, (self._data_file, self._entries, self._index_file)


def open_cache(
    name: str,
    paths: Sequence[Path],
    cache_dir: Path,
    *,
    channels: int | None = 3,
    shrink: int = 1,
    workers: int | None = None,
    progress: Progress | None = None,
) -> ImageCache:
    """Open the cache of some images; build it, in parallel, where it is missing or outdated.

    Args:
        name: what the files are called; different recipes get different files all the same.
        paths: the images, in the order they will have in the cache.
        cache_dir: where caches live; made if need be.
        channels: 1, 3 or 4, of every cached image; None keeps gray files gray and makes all
            others RGB.
        shrink: store the images downscaled by this factor (MATLAB's bicubic) in place of the
            originals.
        workers: threads; all cores by default.
        progress: called after each image of a build.

    Raises:
        DataError: when there are no images, one is too small to shrink, or the cache cannot be
            written.
        ImageError: when a source cannot be read.
    """
    if not paths:
        raise DataError(f"{name}: no images to cache; check the data set")
    cached = find_cache(name, paths, cache_dir, channels=channels, shrink=shrink, workers=workers)
    if cached is not None:
        return cached
    index_file, sources = _index_file(name, paths, cache_dir, channels, shrink)
    workers = workers or os.cpu_count() or 1
    try:
        cache_dir.mkdir(parents=True, exist_ok=True)
        return _Builder(channels, shrink, index_file, workers, progress).build(sources)
    except OSError as error:
        reason = error.strerror or error
        raise DataError(
            f"{cache_dir}: cannot write the image cache ({reason}); make room or name "
            "another folder with TORCH_SR_HOME"
        ) from error


def find_cache(
    name: str,
    paths: Sequence[Path],
    cache_dir: Path,
    *,
    channels: int | None = 3,
    shrink: int = 1,
    workers: int | None = None,
) -> ImageCache | None:
    """Like :func:`open_cache`, but None where the cache is missing or outdated."""
    index_file, sources = _index_file(name, paths, cache_dir, channels, shrink)
    return _open_current(index_file, sources, workers or os.cpu_count() or 1)


def _index_file(
    name: str, paths: Sequence[Path], cache_dir: Path, channels: int | None, shrink: int
) -> tuple[Path, list[str]]:
    """The index of a cache, and the sources by the names it gives them."""
    recipe = {"version": _VERSION, "channels": channels, "shrink": shrink}
    sources = [str(path.resolve()) for path in paths]
    key = _digest({"recipe": recipe, "sources": sources})[:12]
    return cache_dir / f"{name}-x{shrink}-{key}.json", sources


def _open_current(index_file: Path, sources: Sequence[str], workers: int) -> ImageCache | None:
    """Open a cache that is there, whole, and of just these sources, unchanged."""
    try:
        index = json.loads(index_file.read_text(encoding="utf-8"))
        entries = [
            _Entry(**{**e, "shape": tuple(e["shape"]), "losses": tuple(e.get("losses", ()))})
            for e in index["images"]
        ]
        data_file = index_file.with_name(index["data"])
        whole = data_file.stat().st_size == index["bytes"]
        if not whole or [entry.path for entry in entries] != list(sources):
            return None
        cache = ImageCache(data_file, entries, index_file)
    except (OSError, ValueError, KeyError, TypeError):
        return None  # missing or damaged: built anew
    with _threads(workers) as pool:
        return cache if all(pool.map(_Entry.is_current, entries)) else None


class _Builder:
    """Decode sources into one file, in parallel."""

    def __init__(
        self,
        channels: int | None,
        shrink: int,
        index_file: Path,
        workers: int,
        progress: Progress | None,
    ) -> None:
        self.channels = channels
        self.shrink = shrink
        self.index_file = index_file
        self.workers = workers
        self.progress = progress or (lambda done, total: None)

    def build(self, sources: Sequence[str]) -> ImageCache:
        with _threads(self.workers) as pool:
            entries, total = _lay_out(list(pool.map(self._describe, sources)))
        digest = _digest([(entry.sha256, entry.shape, entry.depth) for entry in entries])
        data_file = self.index_file.with_name(f"{self.index_file.stem}-{digest[:12]}.bin")
        with atomic_write(data_file) as temporary:
            entries = self._write_pixels(temporary, entries, total)
        self._write_index(data_file, entries, total)
        return ImageCache(data_file, entries, self.index_file)

    def _describe(self, source: str) -> _Entry:
        path = Path(source)
        described = describe(path, self.channels, self.shrink)
        layout = described.layout
        try:
            status = path.stat()
            known = source, status.st_size, status.st_mtime_ns, _sha256(path)
            return _Entry(
                *known,
                layout.shape,
                layout.depth,
                offset=0,
                crc32=0,
                ctime_ns=status.st_ctime_ns,
                losses=described.losses,
            )
        except OSError as error:
            raise ImageError(f"{path}: {error.strerror}; check the file") from error

    def _write_pixels(self, path: Path, entries: Sequence[_Entry], total: int) -> list[_Entry]:
        free = shutil.disk_usage(path.parent).free
        if free < total:  # now, not after an hour of decoding
            need = f"{total / 1e9:.1f} GB needed, {free / 1e9:.1f} GB free"
            raise OSError(errno.ENOSPC, need)
        lock = threading.Lock()
        written = []
        with path.open("wb") as file, _threads(self.workers) as pool:
            file.truncate(total)  # the last image may end before
            for entry in pool.map(lambda entry: self._decode(entry, file, lock), entries):
                written.append(entry)
                self.progress(len(written), len(entries))
        return written

    def _decode(self, entry: _Entry, file: BinaryIO, lock: threading.Lock) -> _Entry:
        pixels = read_pixels(Path(entry.path), entry.layout, self.shrink).tobytes()
        with lock:
            file.seek(entry.offset)
            file.write(pixels)
        return replace(entry, crc32=zlib.crc32(pixels))

    def _write_index(self, data_file: Path, entries: Sequence[_Entry], total: int) -> None:
        images = [asdict(entry) for entry in entries]
        index = {"data": data_file.name, "bytes": total, "images": images}
        with atomic_write(self.index_file) as temporary:
            temporary.write_text(json.dumps(index, indent=1), encoding="utf-8")
        for outdated in self.index_file.parent.glob(f"{self.index_file.stem}-*.bin"):
            if outdated != data_file:
                with contextlib.suppress(OSError):  # Windows keeps what is still mapped
                    outdated.unlink()


def _lay_out(entries: Sequence[_Entry]) -> tuple[list[_Entry], int]:
    """Give each image its offset in the data file, and tell the file's size."""
    offset, placed = 0, []
    for entry in entries:
        placed.append(replace(entry, offset=offset))
        offset += math.ceil(entry.layout.num_bytes / _ALIGNMENT) * _ALIGNMENT
    return placed, offset


@contextlib.contextmanager
def _threads(workers: int) -> Iterator[ThreadPoolExecutor]:
    """Threads that, on an error or Ctrl-C, drop what has not started and finish the rest."""
    pool = ThreadPoolExecutor(workers)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        digest = hashlib.sha256()
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()

"""Cache decoded images in one memory-mapped file.

``<name>-<content hash>.bin`` contains the images as raw ``(H, W, C)``, uint8 or uint16, one after
another, so that a random crop is a slice. ``<name>.json`` next to it is the index: the shape,
depth, offset and checksum of each image, and the size, times and SHA-256 of its source file. The
index names its data file by content and is replaced last, so a reader never sees a half-written or
mismatched pair. If a source file changes, the cache is rebuilt.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import threading
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import BinaryIO

from torch_sr.aliases import Progress
from torch_sr.data.cached_images import CachedImage, ImageCache, cancelling_pool
from torch_sr.data.sources import Images, SourceImages, describe, read_pixels
from torch_sr.errors import DataError, ImageError
from torch_sr.files import atomic_write, find_digest, home, require_room

_VERSION = 3
_ALIGNMENT = 16  # bytes, because processors read aligned 16-bit samples faster


def default_cache_dir() -> Path:
    """``$TORCH_SR_HOME/datasets``, or the user's cache folder."""
    return home() / "datasets"


@dataclass(frozen=True)
class CacheRecipe:
    """The images of a cache, and how they are stored.

    Args:
        name: prefix of the file names; different recipes never share a file.
        paths: the images, in the order of the cache.
        cache_dir: folder of the caches; created if needed.
        channels: 1, 3 or 4 for every image; None keeps gray files gray and makes all others RGB.
        shrink: factor by which the images are downscaled (MATLAB's bicubic) before they are stored.
    """

    name: str
    paths: tuple[Path, ...]
    cache_dir: Path
    channels: int | None = 3
    shrink: int = 1

    def open(self, progress: Progress | None = None, workers: int | None = None) -> ImageCache:
        """Open the cache; if it is missing or outdated, build it in parallel.

        Args:
            progress: called after each image while the cache is built.
            workers: threads; all cores by default.

        Raises:
            DataError: there are no images, one is too small to shrink, or the cache cannot be
                written.
            ImageError: a source file cannot be read.
        """
        if not self.paths:
            raise DataError(f"{self.name}: check the data set; it has no images to cache")
        return self.find(workers) or self._build(progress, workers)

    def find(self, workers: int | None = None) -> ImageCache | None:
        """The cache; None if it is missing, damaged or outdated."""
        cache = ImageCache.load(self.index_file)
        if cache is None or [image.path for image in cache.images] != self._sources:
            return None
        with cancelling_pool(workers) as pool:
            return cache if all(pool.map(CachedImage.is_current, cache.images)) else None

    def find_or_read(self) -> Images:
        """The cache if it is up to date, otherwise the source files."""
        return self.find() or self.read()

    def read(self) -> SourceImages:
        """The source files; reads their headers."""
        return SourceImages(self.paths, self.channels, self.shrink)

    @property
    def index_file(self) -> Path:
        """The index file; its name includes a hash of everything that determines the content."""
        recipe = {"version": _VERSION, "channels": self.channels, "shrink": self.shrink}
        key = _hash({"recipe": recipe, "sources": self._sources})[:12]
        return self.cache_dir / f"{self.name}-x{self.shrink}-{key}.json"

    @property
    def _sources(self) -> list[str]:
        """The source files as the index names them."""
        return [str(path.resolve()) for path in self.paths]

    def _build(self, progress: Progress | None, workers: int | None) -> ImageCache:
        """Decode the source files into a data file, in parallel, and write the index."""
        try:
            self.cache_dir.mkdir(parents=True, exist_ok=True)
            with cancelling_pool(workers) as pool:
                images, total = _assign_offsets(list(pool.map(self._describe, self._sources)))
            content = _hash([(image.sha256, image.shape, image.depth) for image in images])
            data_file = self.index_file.with_name(f"{self.index_file.stem}-{content[:12]}.bin")
            with atomic_write(data_file) as temporary:
                images = self._write_pixels(temporary, images, total, progress, workers)
            self._write_index(data_file, images, total)
        except OSError as error:
            raise DataError(
                f"{self.cache_dir}: make room or choose another folder with TORCH_SR_HOME; cannot "
                f"write the image cache ({error.strerror or error})"
            ) from error
        return ImageCache(data_file, images, self.index_file)

    def _describe(self, source: str) -> CachedImage:
        path = Path(source)
        described = describe(path, self.channels, self.shrink)
        try:
            status = path.stat()
            sha256 = find_digest(path)
        except OSError as error:
            raise ImageError(f"{path}: {error.strerror}; check the file") from error
        return CachedImage(
            source,
            status.st_size,
            status.st_mtime_ns,
            sha256,
            described.pixel_format.shape,
            described.pixel_format.depth,
            offset=0,
            crc32=0,
            ctime_ns=status.st_ctime_ns,
            losses=described.losses,
        )

    def _write_pixels(
        self,
        path: Path,
        images: Sequence[CachedImage],
        total: int,
        progress: Progress | None,
        workers: int | None,
    ) -> list[CachedImage]:
        require_room(path.parent, total)
        lock = threading.Lock()
        written = []
        with path.open("wb") as file, cancelling_pool(workers) as pool:
            file.truncate(total)  # the last image may end earlier
            for image in pool.map(lambda image: self._decode(image, file, lock), images):
                written.append(image)
                if progress is not None:
                    progress(len(written), len(images))
        return written

    def _decode(self, image: CachedImage, file: BinaryIO, lock: threading.Lock) -> CachedImage:
        pixels = read_pixels(Path(image.path), image.pixel_format, self.shrink).tobytes()
        with lock:
            file.seek(image.offset)
            file.write(pixels)
        return replace(image, crc32=zlib.crc32(pixels))

    def _write_index(self, data_file: Path, images: Sequence[CachedImage], total: int) -> None:
        entries = [asdict(image) for image in images]
        index = {"data": data_file.name, "bytes": total, "images": entries}
        with atomic_write(self.index_file) as temporary:
            temporary.write_text(json.dumps(index, indent=1), encoding="utf-8")
        for outdated in self.index_file.parent.glob(f"{self.index_file.stem}-*.bin"):
            if outdated != data_file:
                with contextlib.suppress(OSError):  # Windows does not delete mapped files
                    outdated.unlink()


def _assign_offsets(images: Sequence[CachedImage]) -> tuple[list[CachedImage], int]:
    """Assign each image an offset in the data file; also return the size of the file."""
    offset, placed = 0, []
    for image in images:
        placed.append(replace(image, offset=offset))
        offset += math.ceil(image.pixel_format.num_bytes / _ALIGNMENT) * _ALIGNMENT
    return placed, offset


def _hash(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()

"""The cache folder, and the data sets below the data root."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from torch_sr.data.sets.table import find_known
from torch_sr.files import home


@dataclass(frozen=True)
class Cache:
    """The folder of downloaded models and decoded data sets.

    Args:
        folder: its path.
        num_bytes: the size of its files.
        writable: whether files can be created there.
    """

    folder: Path
    num_bytes: int
    writable: bool


def measure_cache() -> Cache:
    """The cache folder, which need not exist yet."""
    folder = home()
    sizes = (_size(Path(place, name)) for place, _, names in os.walk(folder) for name in names)
    existing = next(each for each in (folder, *folder.absolute().parents) if each.exists())
    writable = existing.is_dir() and os.access(existing, os.W_OK | os.X_OK)
    return Cache(folder, sum(sizes), writable)


def find_datasets(data_root: Path) -> list[str]:
    """The names of the known data sets below a data root."""
    return list(dict.fromkeys(name.partition(":")[0] for name, _ in find_known(data_root)))


def _size(path: Path) -> int:
    try:
        return path.lstat().st_size
    except OSError:  # removed meanwhile
        return 0

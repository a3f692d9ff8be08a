"""The two sides of a data set that is not split itself: ``photos:train`` and ``photos:val``.

The split is by groups of similar images, as :mod:`torch_sr.data.photos.grouping` says, and the same
on every machine: it depends on the pictures alone. Finding it decodes every image once, so it is
recorded in the cache folder and found again as long as no file is added, removed or changed.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from torch_sr.data.inspection.findings import CheckedSet
from torch_sr.data.inspection.pair import inspect_pair
from torch_sr.data.photos.grouping import group_similar, split_groups
from torch_sr.data.sets.file_pairs import FilePair
from torch_sr.errors import DataError
from torch_sr.files import atomic_write, home

SIDES = ("train", "val")
_FRACTION = 0.1
_SEED = 0
_LEAST = 2
_VERSION = 1
_log = logging.getLogger(__name__)


def split_pairs(
    pairs: Sequence[FilePair], side: str, scale_factor: int, name: str
) -> list[FilePair]:
    """One side of a split: about a tenth of the images for ``val``, 20 at most.

    Args:
        pairs: of the whole data set.
        side: ``train`` or ``val``.
        scale_factor: between the two resolutions.
        name: of the data set, for messages.

    Raises:
        DataError: when there are fewer than two different images.
    """
    paths = list(dict.fromkeys(pair.hr for pair in pairs))
    record = _record_file(paths, scale_factor)
    sides = _read(record)
    if sides is None:
        sides = _find_sides(paths, scale_factor, name)
        _write(record, sides)
    wanted = {paths[number] for number in sides[side]}
    return [pair for pair in pairs if pair.hr in wanted]


def _find_sides(paths: Sequence[Path], scale_factor: int, name: str) -> dict[str, list[int]]:
    pairs = [FilePair(path.stem, path, None) for path in paths]
    dataset = CheckedSet(name, "train", pairs)
    _log.info("%s: comparing %d images to split them", name, len(paths))
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        looks = list(pool.map(lambda pair: inspect_pair(dataset, pair, scale_factor, None), pairs))
    readable = [look for look in looks if look.hashes is not None]
    if len(readable) < _LEAST:
        faults = [message for look in looks for _, message in look.faults]
        why = f": {faults[0]}" if faults else ""
        raise DataError(
            f"{name}: add images; {len(readable)} of {len(paths)} can be read and a split needs "
            f"{_LEAST}{why}"
        )
    split = split_groups(
        group_similar(readable),
        scale_factor=scale_factor,
        val_fraction=_FRACTION,
        seed=_SEED,
        name=name,
    )
    held = {look.pair.hr for look in (*split.validation, *split.spare)}
    return {
        # What cannot be read stays, to be reported when it is decoded.
        "train": [number for number, path in enumerate(paths) if path not in held],
        "val": [paths.index(look.pair.hr) for look in split.validation],
    }


def _record_file(paths: Sequence[Path], scale_factor: int) -> Path:
    files = []
    for path in paths:
        with suppress(OSError):
            status = path.stat()
            files.append((os.fspath(path.resolve()), status.st_size, status.st_mtime_ns))
    recipe = json.dumps([_VERSION, scale_factor, _FRACTION, _SEED, files])
    key = hashlib.sha256(recipe.encode()).hexdigest()[:24]
    return home() / "datasets" / "splits" / f"{key}.json"


def _read(record: Path) -> dict[str, list[int]] | None:
    try:
        sides = json.loads(record.read_text("utf-8"))
        return {side: [int(number) for number in sides[side]] for side in SIDES}
    except (OSError, ValueError, KeyError, TypeError):
        return None  # missing or damaged: found again


def _write(record: Path, sides: dict[str, list[int]]) -> None:
    with suppress(OSError):  # it is found again at the next use
        record.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(record) as temporary:
            temporary.write_text(json.dumps(sides), "utf-8")

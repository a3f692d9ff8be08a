"""Split a custom data set into two sides: ``photos:train`` and ``photos:val``.

Groups of similar images (:mod:`torch_sr.data.photos.grouping`) stay on one side. The split depends
only on the images, so it is the same on every machine. Because computing it decodes every image, it
is recorded in the cache folder, and reused until a file is added, removed or changed.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from torch_sr.data.inspection.findings import CheckedSet
from torch_sr.data.inspection.pair import inspect_all
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
    """Select one side of a split; ``val`` has about a tenth of the images, and 20 at most.

    Args:
        pairs: all pairs of the data set.
        side: ``train`` or ``val``.
        scale_factor: between the two resolutions.
        name: the data set, for messages.

    Raises:
        DataError: there are fewer than two different images.
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
    _log.info("%s: comparing %d images to split them", name, len(paths))
    images = inspect_all([CheckedSet(name, "train", pairs)], scale_factor, None)
    readable = [image for image in images if image.hashes is not None]
    if len(readable) < _LEAST:
        faults = [message for image in images for _, message in image.faults]
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
    unused = {image.pair.hr for image in (*split.validation, *split.spare)}
    return {
        # Images that cannot be read stay, to be reported when they are decoded.
        "train": [number for number, path in enumerate(paths) if path not in unused],
        "val": [paths.index(image.pair.hr) for image in split.validation],
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
        return None  # missing or damaged: recomputed


def _write(record: Path, sides: dict[str, list[int]]) -> None:
    with suppress(OSError):  # without a record, it is recomputed at the next use
        record.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(record) as temporary:
            temporary.write_text(json.dumps(sides), "utf-8")

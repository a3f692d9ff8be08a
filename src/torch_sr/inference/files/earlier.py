"""Find files that are results of earlier runs, and so not sources.

The evidence is the file's name, ``a_sr.png`` if there is also ``a.jpg``, and its size: a result
has the proportions of its source and another size. Nothing is written into results to
recognize them, since they keep exactly the metadata of their sources; and the source
must be there, so that a folder that has only results can be upscaled again.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

from torch_sr.errors import TorchSRError
from torch_sr.images import is_image_name, read_size

DEFAULT_SUFFIX = "_sr"
SHEET = "_sheet"


def find_earlier(found: Mapping[Path, Path], suffix: str = DEFAULT_SUFFIX) -> set[Path]:
    """Those files that are results of others among them, no matter where new results go.

    A source is searched for next to the file, and, since results may be in a folder below their
    sources, in the same place without one or more of the folders between.

    Args:
        found: each file, and the folder that was searched for it.
        suffix: appended to the names of results in this run; ``_sr`` is always checked too.
    """
    by_stem: dict[tuple[Path, str], list[Path]] = defaultdict(list)
    for file in found:
        by_stem[file.parent, file.stem].append(file)

    def sources(file: Path, ending: str) -> Iterator[Path]:
        if ending and file.stem.endswith(ending):
            for folder in _places(file.parent, found[file]):
                yield from by_stem.get((folder, file.stem.removesuffix(ending)), ())

    def is_earlier(file: Path) -> bool:
        return any(
            any(_is_enlarged(source, file) for source in sources(file, mark))
            or (bool(mark) and any(True for _ in sources(file, mark + SHEET)))
            for mark in {suffix, DEFAULT_SUFFIX}
        )

    return {file for file in found if is_earlier(file)}


def _places(folder: Path, root: Path) -> list[Path]:
    """The folder itself, then its path without each run of consecutive parts."""
    try:
        parts = folder.relative_to(root).parts
    except ValueError:
        return [folder]
    ends = range(len(parts) + 1)
    shorter = (
        root.joinpath(*parts[:first], *parts[last:])
        for first in ends
        for last in ends
        if first < last
    )
    return list(dict.fromkeys([folder, *shorter]))


def _is_enlarged(source: Path, file: Path) -> bool:
    """Whether a file may be the result of a source, by its size, if that can be read.

    Rounding to whole pixels changes the proportions a little.
    """
    if is_image_name(source) != is_image_name(file):
        return False
    if not is_image_name(file):  # a video: opening all of them would take long
        return True
    try:
        (height, width), (other_height, other_width) = read_size(source), read_size(file)
    except TorchSRError:
        return True
    rounding = 0.5 / height + 0.5 / width
    similar = abs(other_height / height - other_width / width) <= rounding + 1e-9
    return similar and (height, width) != (other_height, other_width)

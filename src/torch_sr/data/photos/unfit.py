"""Images that would spoil a training on photographs, each with a plain reason.

Left out are results of earlier upscaling, images that are damaged, too small, animated or blank,
pictures of the published benchmarks, and all copies of a picture but the largest.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from torch_sr.aliases import Array
from torch_sr.data.inspection.pair import FLAT, InspectedPair
from torch_sr.data.inspection.perceptual_hashes import find_matches, known_benchmarks
from torch_sr.data.sets.table import DATASETS
from torch_sr.images import display_name

SAME_PICTURE = 32
"""Differing signs of a fingerprint up to which one picture is a copy of another: re-encoded,
resized or turned. JPEG of quality 30 changes 7, shrinking by 4 changes 8. Shots of a burst differ
by more as soon as something moves, and stay."""
_RESULT = "_sr"  # what torch-sr upscale appends to a name


def find_unfit(looks: Sequence[InspectedPair], folder: Path) -> dict[Path, str]:
    """Images that would spoil a training, and why.

    Args:
        looks: all images of a folder, with fingerprints of all their turns.
        folder: which names in the reasons are relative to.

    Returns:
        one reason each, without the image's own name.
    """
    reasons: dict[Path, str] = {}
    for find in (_results, _faulty, _animated, _blank, _benchmarks, _copies):
        left = [look for look in looks if look.pair.hr not in reasons]
        reasons |= dict(find(left, folder))
    return reasons


def _results(looks: Sequence[InspectedPair], folder: Path) -> Iterator[tuple[Path, str]]:
    """``photo_sr.png`` beside ``photo.jpg``, or larger than it in another folder.

    What a network made is no photograph.
    """
    by_stem: dict[str, list[InspectedPair]] = defaultdict(list)
    for look in looks:
        by_stem[look.pair.hr.stem].append(look)
    for look in looks:
        path = look.pair.hr
        if not path.stem.endswith(_RESULT):
            continue
        for source in by_stem.get(path.stem.removesuffix(_RESULT), ()):
            if source.pair.hr.parent == path.parent or _is_enlarged(source, look):
                yield path, f"upscaled from {_shown(source.pair.hr, folder)}"
                break


def _is_enlarged(source: InspectedPair, look: InspectedPair) -> bool:
    """Whether an image is larger than another one, and has its proportions."""
    if 0 in source.size or look.size <= source.size:
        return False
    (height, width), (larger_height, larger_width) = source.size, look.size
    rounding = 0.5 / height + 0.5 / width
    return abs(larger_height / height - larger_width / width) <= rounding


def _faulty(looks: Sequence[InspectedPair], folder: Path) -> Iterator[tuple[Path, str]]:
    for look in looks:
        for check, message in look.faults[:1]:
            reason = f"{_size(look)} pixels are smaller than the crop"
            if check != "size":
                reason = message.removeprefix(f"{display_name(look.pair.hr)}: ")
            yield look.pair.hr, reason


def _animated(looks: Sequence[InspectedPair], folder: Path) -> Iterator[tuple[Path, str]]:
    for look in looks:
        if look.frames > 1:
            text = f"{look.frames} frames or pages; save those to train on as single images"
            yield look.pair.hr, text


def _blank(looks: Sequence[InspectedPair], folder: Path) -> Iterator[tuple[Path, str]]:
    for look in looks:
        if look.contrast < FLAT:
            yield look.pair.hr, f"nearly blank: its contrast is {look.contrast:.1f} levels of 255"


def _benchmarks(looks: Sequence[InspectedPair], folder: Path) -> Iterator[tuple[Path, str]]:
    if not looks:
        return
    for name, known in known_benchmarks().items():
        for number in {mine for mine, *_ in find_matches(_hashes(looks), known)}:
            title = DATASETS[name].title
            yield looks[number].pair.hr, f"a picture of {title}, which models are tested on"


def _copies(looks: Sequence[InspectedPair], folder: Path) -> Iterator[tuple[Path, str]]:
    """All but the largest of what is one picture."""
    if not looks:
        return
    ranked = sorted(looks, key=lambda look: (-_pixels(look), -_bytes(look), look.pair.hr))
    hashes = _hashes(ranked)
    same: dict[int, list[int]] = defaultdict(list)
    for later, earlier, _ in find_matches(hashes, hashes[:, 0], SAME_PICTURE):
        if earlier < later:
            same[later].append(earlier)
    left: set[int] = set()
    for later in sorted(same):
        original = next((number for number in sorted(same[later]) if number not in left), None)
        if original is not None:
            left.add(later)
            yield ranked[later].pair.hr, _copy_of(ranked[later], ranked[original], folder)


def _copy_of(look: InspectedPair, original: InspectedPair, folder: Path) -> str:
    name = _shown(original.pair.hr, folder)
    if _pixels(look) == _pixels(original):
        return f"the same picture as {name}"
    return f"a smaller copy of {name} ({_size(look)} of {_size(original)} pixels)"


def _hashes(looks: Sequence[InspectedPair]) -> Array:
    return np.stack([look.hashes for look in looks if look.hashes is not None])


def _pixels(look: InspectedPair) -> int:
    return math.prod(look.size)


def _bytes(look: InspectedPair) -> int:
    try:
        return look.pair.hr.stat().st_size
    except OSError:
        return 0


def _size(look: InspectedPair) -> str:
    return f"{look.size[1]}x{look.size[0]}"


def _shown(path: Path, folder: Path) -> str:
    return display_name(path.relative_to(folder).as_posix())

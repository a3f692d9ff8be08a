"""Find images that are unfit for a training, each with a reason.

These are results of earlier upscaling, images that are damaged, too small, animated or blank,
images of the published benchmarks, and all copies of an image but the largest.
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

SAME_IMAGE = 32
"""Largest number of differing signs of a perceptual hash at which one image is a copy of another:
re-encoded, resized or rotated. JPEG of quality 30 changes 7, shrinking by 4 changes 8. The images
of a burst differ by more as soon as something moves, and are not copies."""
_RESULT = "_sr"  # what torch-sr upscale appends to a name


def find_unfit(images: Sequence[InspectedPair], folder: Path) -> dict[Path, str]:
    """Find images that are unfit for a training, and why.

    Args:
        images: all images of a folder, with the hashes of all flips and rotations.
        folder: names in the reasons are relative to this folder.

    Returns:
        a reason for each unfit image, without its name.
    """
    reasons: dict[Path, str] = {}
    for find in (_results, _faulty, _animated, _blank, _benchmarks, _copies):
        left = [image for image in images if image.pair.hr not in reasons]
        reasons |= dict(find(left, folder))
    return reasons


def _results(images: Sequence[InspectedPair], folder: Path) -> Iterator[tuple[Path, str]]:
    """Find ``photo_sr.png`` next to ``photo.jpg``, or in another folder and larger than it.

    The output of a network is not a photograph.
    """
    by_stem: dict[str, list[InspectedPair]] = defaultdict(list)
    for image in images:
        by_stem[image.pair.hr.stem].append(image)
    for image in images:
        path = image.pair.hr
        if not path.stem.endswith(_RESULT):
            continue
        for source in by_stem.get(path.stem.removesuffix(_RESULT), ()):
            if source.pair.hr.parent == path.parent or _is_enlarged(source, image):
                yield path, f"upscaled from {_shown(source.pair.hr, folder)}"
                break


def _is_enlarged(source: InspectedPair, image: InspectedPair) -> bool:
    """Whether an image is larger than another one and has the same proportions."""
    if 0 in source.size or image.size <= source.size:
        return False
    (height, width), (larger_height, larger_width) = source.size, image.size
    rounding = 0.5 / height + 0.5 / width
    return abs(larger_height / height - larger_width / width) <= rounding


def _faulty(images: Sequence[InspectedPair], folder: Path) -> Iterator[tuple[Path, str]]:
    for image in images:
        for check, message in image.faults[:1]:
            reason = f"{_size(image)} pixels are smaller than the crop"
            if check != "size":
                reason = message.removeprefix(f"{display_name(image.pair.hr)}: ")
            yield image.pair.hr, reason


def _animated(images: Sequence[InspectedPair], folder: Path) -> Iterator[tuple[Path, str]]:
    for image in images:
        if image.frames > 1:
            text = f"{image.frames} frames or pages; save the ones to train on as single images"
            yield image.pair.hr, text


def _blank(images: Sequence[InspectedPair], folder: Path) -> Iterator[tuple[Path, str]]:
    for image in images:
        if image.contrast < FLAT:
            yield image.pair.hr, f"nearly blank: its contrast is {image.contrast:.1f} levels of 255"


def _benchmarks(images: Sequence[InspectedPair], folder: Path) -> Iterator[tuple[Path, str]]:
    if not images:
        return
    for name, known in known_benchmarks().items():
        for number in {mine for mine, *_ in find_matches(_hashes(images), known)}:
            title = DATASETS[name].title
            yield images[number].pair.hr, f"an image of {title}, which models are tested on"


def _copies(images: Sequence[InspectedPair], folder: Path) -> Iterator[tuple[Path, str]]:
    """Find the copies of each image but the largest one."""
    if not images:
        return
    ranked = sorted(images, key=lambda image: (-_pixels(image), -_bytes(image), image.pair.hr))
    hashes = _hashes(ranked)
    same: dict[int, list[int]] = defaultdict(list)
    for later, earlier, _ in find_matches(hashes, hashes[:, 0], SAME_IMAGE):
        if earlier < later:
            same[later].append(earlier)
    left: set[int] = set()
    for later in sorted(same):
        original = next((number for number in sorted(same[later]) if number not in left), None)
        if original is not None:
            left.add(later)
            yield ranked[later].pair.hr, _copy_of(ranked[later], ranked[original], folder)


def _copy_of(image: InspectedPair, original: InspectedPair, folder: Path) -> str:
    name = _shown(original.pair.hr, folder)
    if _pixels(image) == _pixels(original):
        return f"the same image as {name}"
    return f"a smaller copy of {name} ({_size(image)} of {_size(original)} pixels)"


def _hashes(images: Sequence[InspectedPair]) -> Array:
    return np.stack([image.hashes for image in images if image.hashes is not None])


def _pixels(image: InspectedPair) -> int:
    return math.prod(image.size)


def _bytes(image: InspectedPair) -> int:
    try:
        return image.pair.hr.stat().st_size
    except OSError:
        return 0


def _size(image: InspectedPair) -> str:
    return f"{image.size[1]}x{image.size[0]}"


def _shown(path: Path, folder: Path) -> str:
    return display_name(path.relative_to(folder).as_posix())

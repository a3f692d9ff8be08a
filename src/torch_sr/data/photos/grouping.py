"""Group images of the same scene, and choose whole groups for validation.

Two photographs of one scene, one for training and one for validation, would make a model look
better than it is. Images with similar perceptual hashes are therefore kept together; see
:mod:`torch_sr.data.inspection.perceptual_hashes`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from torch_sr.aliases import Array
from torch_sr.data.inspection.pair import InspectedPair
from torch_sr.data.inspection.perceptual_hashes import find_matches
from torch_sr.data.ssim_size import smallest_side
from torch_sr.errors import DataError

SAME_SCENE = 80
"""Largest number of differing signs, of 255, at which two images are kept together. Unrelated
images differ by 85 or more; a few extra pairs in a group do no harm."""
MOST = 20
"""Largest number of validation images: more would take time and hardly change the mean."""
BURST = 3.0
"""Longest time between two photographs of a burst, in seconds."""
SAME_BURST = 105
"""Largest number of differing signs at which images of a burst are kept together; unrelated
images have 127 on average."""
LARGE = 4_000_000
"""Pixels above which validation on an image is slow; smaller images are preferred."""

Group = list[InspectedPair]


@dataclass(frozen=True)
class Split:
    """Images by purpose; ``spare`` images are not used, because they resemble validation images."""

    training: Group
    validation: Group
    spare: Group


def group_similar(images: Sequence[InspectedPair]) -> list[Group]:
    """Group images that show the same scene, independently of their order.

    Args:
        images: images with perceptual hashes.
    """
    if not images:
        return []
    hashes = np.stack([image.hashes for image in images if image.hashes is not None])
    root = list(range(len(images)))

    def find(number: int) -> int:
        while root[number] != number:
            root[number] = root[root[number]]
            number = root[number]
        return number

    alike = ((some, other) for some, other, _ in find_matches(hashes, hashes[:, 0], SAME_SCENE))
    for some, other in (*alike, *_bursts(images, hashes[:, 0])):
        root[find(some)] = find(other)
    groups: dict[int, Group] = {}
    for number, image in enumerate(images):
        groups.setdefault(find(number), []).append(image)
    return list(groups.values())


def _bursts(images: Sequence[InspectedPair], hashes: Array) -> Iterator[tuple[int, int]]:
    """Pairs of similar images that one camera took within a short time."""
    taken = sorted(
        (image.camera, image.moment, number)
        for number, image in enumerate(images)
        if image.moment is not None
    )
    for (camera, moment, number), (next_camera, next_moment, following) in pairwise(taken):
        near = camera == next_camera and next_moment - moment <= BURST
        if near and (hashes[number] != hashes[following]).sum() <= SAME_BURST:
            yield number, following


def split_groups(
    groups: Sequence[Group], *, scale_factor: int, val_fraction: float, seed: int, name: str
) -> Split:
    """Choose whole groups for validation, at random: small groups of images of moderate size.

    Args:
        groups: see :func:`group_similar`.
        scale_factor: the scale factor of the training.
        val_fraction: share of the images for validation: at least 1 image, at most :data:`MOST`.
        seed: determines the choice, which does not depend on the file names.
        name: the data set, for messages.

    Raises:
        DataError: all images show one scene, or are too small for validation.
    """
    total = sum(map(len, groups))
    if len(groups) < 2:
        raise DataError(
            f"{name}: add images of other scenes; all {total} usable images show the same scene, "
            "so none is left for validation"
        )
    least = smallest_side(scale_factor)
    fit = [group for group in groups if all(min(image.size) >= least for image in group)]
    if not fit:
        raise DataError(
            f"{name}: add larger images; none has the {least}x{least} pixels that validation at "
            f"x{scale_factor} needs"
        )
    ranked = sorted(fit, key=lambda group: (_is_large(group), _random_key(group, seed)))
    wanted = min(MOST, max(1, round(total * val_fraction)), total - 1)
    validation = list(_pick(ranked, wanted))
    spare: Group = []
    if not validation:  # all groups are larger than the validation set
        smallest = min(ranked, key=len)
        first = min(smallest, key=lambda image: _random_key([image], seed))
        validation, spare = [[first]], [image for image in smallest if image is not first]
    chosen = {id(image) for group in (*validation, spare) for image in group}
    training = [image for group in groups for image in group if id(image) not in chosen]
    return Split(training, [image for group in validation for image in group], spare)


def _pick(groups: Sequence[Group], wanted: int) -> Iterator[Group]:
    for group in groups:
        if len(group) <= wanted:
            wanted -= len(group)
            yield group


def _is_large(group: Group) -> bool:
    return any(image.size[0] * image.size[1] > LARGE for image in group)


def _random_key(group: Group, seed: int) -> str:
    """A key that sorts groups at random, depending only on the pixels and the seed."""
    words = [
        hashlib.sha256(f"{seed} {image.size}".encode() + image.hashes.tobytes()).hexdigest()
        for image in group
        if image.hashes is not None
    ]
    return min(words)

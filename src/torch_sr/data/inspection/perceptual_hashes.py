"""Find copies of images by perceptual hashes, even if resized.

An image is averaged to 32x32 luma and transformed by a cosine transform; the signs of its low
frequencies are the hash, after Zauner 2010, "Implementation and Benchmarking of Perceptual Image
Hash Functions", section 3.2.1. ``benchmarks.json`` holds the hashes of Set5, Set14 and B100, so
that their images are recognized even if these data sets are not installed;
``python -m torch_sr.data.inspection.perceptual_hashes DATA_ROOT`` prints that file.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from importlib.resources import files
from pathlib import Path

import numpy as np
import numpy.typing as npt

from torch_sr.aliases import Array
from torch_sr.images.compositing import LUMA

Hash = npt.NDArray[np.int8]
"""``(255,)`` of -1 and 1."""

LIMIT = 64
"""Largest number of differing signs, of 255, at which two images count as copies. Among the 599
images of BSDS500, SunHays80, Set5 and Set14, in all orientations, two different images differ in 85
or more; JPEG of quality 30 changes 7, shrinking by 4 changes 8, cropping 5 % changes 60."""
BENCHMARKS = ("set5", "set14", "b100")
_SIDE = 32
_FREQUENCIES = 16
_LUMA = np.array(LUMA)
_CHUNK = 4096


def perceptual_hash(image: Array) -> Hash:
    """The hash of an image ``(H, W, 1 or 3)`` of any depth."""
    return _hash(_thumbnail(image))


def turned_hashes(image: Array) -> npt.NDArray[np.int8]:
    """The hashes of the eight flips and rotations of an image, ``(8, 255)``, upright first."""
    thumbnail = _thumbnail(image)
    turned = [np.rot90(side, turns) for side in (thumbnail, thumbnail.T) for turns in range(4)]
    return np.stack([_hash(side) for side in turned])


def find_matches(
    some: npt.NDArray[np.int8], others: npt.NDArray[np.int8], limit: int = LIMIT
) -> Iterator[tuple[int, int, int]]:
    """Find pairs of images that are copies of each other.

    Args:
        some: hashes ``(N, 255)``, or ``(N, 8, 255)`` with all flips and rotations.
        others: hashes ``(M, 255)``.
        limit: largest number of differing signs.

    Yields:
        index in ``some``, index in ``others``, and the number of differing signs.
    """
    turned = some if some.ndim == 3 else some[:, None]
    bits = turned.shape[2]
    right = others.astype(np.float32).T
    for start in range(0, len(turned), _CHUNK):
        left = turned[start : start + _CHUNK].astype(np.float32)
        agreement = np.full((len(left), right.shape[1]), -np.inf, np.float32)
        for turn in range(left.shape[1]):
            # The dot product of signs is the number of equal signs minus that of different signs.
            np.maximum(agreement, left[:, turn] @ right, out=agreement)
        distances = (bits - agreement) / 2
        for row, column in np.argwhere(distances <= limit):
            yield start + int(row), int(column), int(distances[row, column])


def known_benchmarks() -> dict[str, npt.NDArray[np.int8]]:
    """The shipped hashes ``(N, 255)``, by the names of the benchmarks."""
    text = files("torch_sr.data.inspection").joinpath("benchmarks.json").read_text("utf-8")
    return {
        name: np.stack([_unpack(word) for word in words])
        for name, words in json.loads(text).items()
    }


def block_means(image: Array, least: int = 512) -> Array:
    """Shrink an image to the means of square blocks of whole pixels.

    This is faster than a sum over all pixels in float64: 25 ms for 12 megapixels of 8 bits.

    Args:
        image: ``(H, W, C)`` of any type.
        least: minimum of the shorter side of the result; images with less than twice this are
            returned unchanged.

    Returns:
        float32 ``(h, w, C)`` in the image's own range, or the image itself.
    """
    side = min(image.shape[:2]) // least
    if side < 2:
        return image
    height, width, channels = image.shape[0] // side, image.shape[1] // side, image.shape[2]
    fits = image.dtype == np.uint8 and side <= 257  # the sum is at most 65535
    rows = np.zeros((height, width * side, channels), np.uint16 if fits else np.float32)
    for row in range(side):
        rows += image[row : height * side : side, : width * side]
    blocks = rows.reshape(height, width, side, channels)
    means: Array = blocks.sum(axis=2, dtype=np.float32) / np.float32(side**2)
    return means


def luma(image: Array) -> Array:
    """ITU-R BT.601 luma ``(H, W)`` of an image ``(H, W, 1 or 3)``, in its own range."""
    return image.astype(np.float32) @ _LUMA if image.shape[2] == 3 else image[..., 0]


def _thumbnail(image: Array) -> Array:
    image = block_means(image)
    return _average(_average(luma(image).astype(np.float64), 0), 1)


def _average(image: Array, axis: int) -> Array:
    """Means of 32 equal parts of an axis; a pixel on a border is divided between both parts."""
    size = image.shape[axis]
    edges = np.linspace(0, size, _SIDE + 1)
    total = np.concatenate([np.zeros_like(image.take([0], axis)), image.cumsum(axis)], axis)
    whole = np.minimum(edges.astype(int), size - 1)
    shape = [1, 1]
    shape[axis] = _SIDE + 1
    share = (edges - whole).reshape(shape)
    below, above = total.take(whole, axis), total.take(whole + 1, axis)
    means: Array = np.diff(below + share * (above - below), axis=axis) * (_SIDE / size)
    return means


def _hash(thumbnail: Array) -> Hash:
    positions = np.arange(_SIDE) + 0.5
    cosines = np.cos(np.pi / _SIDE * np.outer(np.arange(_FREQUENCIES), positions))
    spectrum = cosines @ (thumbnail - thumbnail.mean()) @ cosines.T
    return np.where(spectrum.ravel()[1:] >= 0, 1, -1).astype(np.int8)


def _pack(signs: Hash) -> str:
    return np.packbits(signs > 0).tobytes().hex()


def _unpack(word: str) -> Hash:
    bits = np.unpackbits(np.frombuffer(bytes.fromhex(word), np.uint8))
    return np.where(bits[: _FREQUENCIES**2 - 1] > 0, 1, -1).astype(np.int8)


def _describe_benchmarks(data_root: Path) -> str:
    """The text of ``benchmarks.json`` for the benchmarks below a data root."""
    from torch_sr.data.sets.resolve import resolve
    from torch_sr.images import read_samples

    def words(name: str) -> list[str]:
        pairs = resolve(name, data_root, 4, "test")
        return [_pack(perceptual_hash(read_samples(pair.hr))) for pair in pairs]

    return json.dumps({name: words(name) for name in BENCHMARKS}, indent=0)


def _main(arguments: Sequence[str]) -> None:
    sys.stdout.write(_describe_benchmarks(Path(arguments[0])) + "\n")


if __name__ == "__main__":
    _main(sys.argv[1:])

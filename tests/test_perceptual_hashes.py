"""Perceptual hashes recognize copies of an image, and no others, also in real data."""

import io

import numpy as np
import pytest
from PIL import Image as PillowImage

from torch_sr.data.inspection.perceptual_hashes import (
    BENCHMARKS,
    LIMIT,
    block_means,
    find_matches,
    known_benchmarks,
    perceptual_hash,
    turned_hashes,
)


@pytest.fixture
def scene():
    """Make smooth, unrelated images: ``scene(height, width, seed)``."""

    def make(height, width, seed=0):
        coarse = np.random.default_rng(seed).integers(0, 256, (9, 12, 3), np.uint8)
        return np.asarray(PillowImage.fromarray(coarse).resize((width, height)))

    return make


def distance(some, others):
    return int((perceptual_hash(some) != perceptual_hash(others)).sum())


def jpeg(image, quality):
    buffer = io.BytesIO()
    PillowImage.fromarray(image).save(buffer, "JPEG", quality=quality)
    return np.asarray(PillowImage.open(buffer))


def resized(image, factor):
    height, width = (round(size * factor) for size in image.shape[:2])
    return np.asarray(PillowImage.fromarray(image).resize((width, height)))


CHANGES = {
    "re-encoded": lambda image: jpeg(image, 30),
    "halved": lambda image: resized(image, 0.5),
    "quartered": lambda image: resized(image, 0.25),
    "enlarged": lambda image: resized(image, 1.7),
    "cropped": lambda image: image[2:-3, 4:-4],
    "gray": lambda image: np.asarray(PillowImage.fromarray(image).convert("L"))[..., None],
    "brighter": lambda image: np.clip(image.astype(int) + 20, 0, 255).astype(np.uint8),
    "16 bits": lambda image: image.astype(np.uint16) * 257,
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_image_is_the_same(scene, change):
    for seed in range(4):
        image = scene(240, 320, seed)
        assert distance(image, CHANGES[change](image)) <= LIMIT


def test_other_images_are_others(scene):
    images = [scene(120, 160, seed) for seed in range(12)]
    hashes = np.stack([turned_hashes(image) for image in images])
    assert [(a, b) for a, b, _ in find_matches(hashes, hashes[:, 0]) if a != b] == []
    assert [d for a, b, d in find_matches(hashes, hashes[:, 0]) if a == b] == [0] * 12


@pytest.mark.parametrize("turns", range(4))
@pytest.mark.parametrize("flipped", [False, True])
def test_turned_images_are_found(scene, turns, flipped):
    image = scene(120, 160)
    turned = np.rot90(image.transpose(1, 0, 2) if flipped else image, turns)
    found = list(find_matches(turned_hashes(turned)[None], perceptual_hash(image)[None]))
    assert found
    assert found[0][2] <= 2
    upright = list(find_matches(perceptual_hash(turned)[None], perceptual_hash(image)[None]))
    assert bool(upright) == (turns == 0 and not flipped)


def test_matches_agree_with_counting(scene):
    hashes = np.stack([perceptual_hash(scene(40, 40, seed)) for seed in range(9)])
    expected = {
        (a, b, int((hashes[a] != hashes[b]).sum()))
        for a in range(9)
        for b in range(9)
        if (hashes[a] != hashes[b]).sum() <= 120
    }
    assert set(find_matches(hashes, hashes, limit=120)) == expected
    assert 9 < len(expected) < 81


@pytest.mark.parametrize("size", [(1, 1, 3), (2, 500, 3), (31, 33, 1)])
def test_odd_sizes_have_a_hash(photo, size):
    assert perceptual_hash(photo(*size)).shape == (255,)


def test_thumbnails_are_means(photo):
    from torch_sr.data.inspection.perceptual_hashes import _average

    image = photo(64, 96, 1)[..., 0].astype(float)
    means = _average(_average(image, 0), 1)
    np.testing.assert_allclose(means, image.reshape(32, 2, 32, 3).mean(axis=(1, 3)), atol=1e-9)
    assert _average(image[:50], 0).mean() == pytest.approx(image[:50].mean())


def test_shipped_hashes():
    known = known_benchmarks()
    assert {name: len(hashes) for name, hashes in known.items()} == {
        "set5": 5,
        "set14": 14,
        "b100": 100,
    }
    assert set(known) == set(BENCHMARKS)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_large_images_are_shrunk_to_means_of_blocks(dtype):
    image = np.random.default_rng(0).integers(0, 256, (43, 67, 3)).astype(dtype)
    blocks = image[:42, :66].astype(np.float64).reshape(14, 3, 22, 3, 3)
    np.testing.assert_allclose(block_means(image, 14), blocks.mean(axis=(1, 3)), rtol=1e-5)
    assert block_means(image, 22) is image


def test_a_large_image_has_the_hash_of_its_small_copy(scene):
    assert distance(scene(1100, 1500), scene(220, 300)) <= 12

"""Random crops: aligned, complete, reproducible, and independent of the number of workers."""

import warnings

import numpy as np
import pytest
import torch
from skimage.io import imread, imsave

from torch_sr.config import DegradationConfig
from torch_sr.data.cache import CacheRecipe
from torch_sr.data.crops.random_crops import RandomCrops, to_float, training_loader
from torch_sr.data.crops.sampler import EpochSampler
from torch_sr.data.degradation import Degradation
from torch_sr.data.image_pairs import ImagePairs, open_pairs
from torch_sr.errors import DataError

SCALE = 4
SIZES = ((10, 14), (13, 9), (12, 12))  # of the low-resolution images


def coordinates(height, width, number):
    """An image whose pixels encode their row, their column and the image's number."""
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([y, x, np.full_like(y, number)], axis=2).astype(np.uint8)


def write(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    imsave(path, pixels, check_contrast=False)


@pytest.fixture
def pairs(tmp_path):
    """Pairs in which LR pixel (y, x) covers the HR block of the rows 4y.. and columns 4x.."""
    for number, (height, width) in enumerate(SIZES):
        hr = coordinates(height * SCALE, width * SCALE, number)
        write(tmp_path / f"set/HR/{number}.png", hr)
        write(tmp_path / f"set/LR/{number}.png", hr[::SCALE, ::SCALE])
    return open_pairs(
        ["set"],
        data_root=tmp_path,
        scale_factor=SCALE,
        purpose="train",
        cache_dir=tmp_path / "cache",
    )


def check_aligned(lr, hr):
    """Every LR pixel, repeated, names the block that the HR pixels under it belong to."""
    repeated = lr.repeat_interleave(SCALE, 1).repeat_interleave(SCALE, 2)
    np.testing.assert_array_equal(hr[:2] // SCALE * SCALE, repeated[:2])
    np.testing.assert_array_equal(hr[2], repeated[2])


def orientation(hr):
    """How row and column numbers change along the crop's columns and rows: 8 possibilities."""
    hr = hr.int()
    steps = (*(hr[:2, 0, 1] - hr[:2, 0, 0]), *(hr[:2, 1, 0] - hr[:2, 0, 0]))
    return tuple(int(step) for step in steps)


@pytest.mark.parametrize("crop_size", [(24, 24), (16, 32), (36, 20)])
def test_crops_are_aligned_of_one_shape_and_in_all_orientations(pairs, crop_size):
    crops = RandomCrops(pairs, crop_size, seed=1)
    seen = set()
    for epoch in range(40):
        for index in range(len(crops)):
            lr, hr = crops[epoch, index]
            assert hr.dtype == lr.dtype == torch.uint8
            assert hr.shape == (3, *crop_size)
            assert lr.shape == (3, crop_size[0] // SCALE, crop_size[1] // SCALE)
            assert int(hr[2].max()) == int(hr[2].min()) == index
            check_aligned(lr, hr)
            seen.add(orientation(hr))
    turns = {(0, a, b, 0) for a in (-1, 1) for b in (-1, 1)}
    turns |= {(a, 0, 0, b) for a in (-1, 1) for b in (-1, 1)}
    assert seen == turns


def test_every_place_is_cropped(pairs):
    crops = RandomCrops(pairs, (36, 36))
    corners = {int(crops[epoch, 0][0][0].min()) for epoch in range(60)}
    columns = {int(crops[epoch, 0][0][1].min()) for epoch in range(60)}
    assert corners == {0, 4}
    assert columns == {4 * x for x in range(6)}


def test_a_sample_is_a_function_of_seed_epoch_and_index(pairs):
    def sample(seed, epoch, index):
        return RandomCrops(pairs, (16, 16), seed)[epoch, index][1]

    torch.manual_seed(1)
    first = sample(5, 2, 1)
    torch.manual_seed(2)
    np.random.seed(3)  # noqa: NPY002 -- to show that it does not matter
    assert torch.equal(first, sample(5, 2, 1))
    assert not torch.equal(first, sample(5, 3, 1))
    assert not torch.equal(first, sample(6, 2, 1))


def test_whole_images_are_not_reoriented(pairs):
    crops = RandomCrops(pairs, None)
    for index, (height, width) in enumerate(SIZES):
        for epoch in range(3):
            lr, hr = crops[epoch, index]
            expected = coordinates(height * SCALE, width * SCALE, index).transpose(2, 0, 1)
            np.testing.assert_array_equal(hr, expected)
            check_aligned(lr, hr)


def test_too_small_images_are_named(pairs):
    RandomCrops(pairs, (36, 36))
    for crop_size, needed in (
        ((40, 40), "crop 40x40;"),
        ((40, 16), "40x40 that a crop of 16x40 needs to be transposed;"),
        ((16, 40), "40x40 that a crop of 40x16 needs to be transposed;"),
    ):
        with pytest.raises(DataError) as caught:
            RandomCrops(pairs, crop_size)
        assert f"set/1: 36x52 pixels are fewer than the {needed}" in str(caught.value)
    RandomCrops(pairs, (16, 36), spatial="none")


def test_an_image_one_pixel_short_of_the_crop_is_refused_with_its_true_size(tmp_path, save_photo):
    save_photo(tmp_path / "a.png", height=79, width=96)
    hr = CacheRecipe("a", (tmp_path / "a.png",), tmp_path / "cache", channels=3).open()
    lr = CacheRecipe("a", (tmp_path / "a.png",), tmp_path / "cache", channels=3, shrink=4).open()
    pairs = ImagePairs([lr], [hr], 4, ["a"])
    with pytest.raises(DataError, match="a: 96x79 pixels are fewer than the crop 96x80; lower"):
        RandomCrops(pairs, (80, 96), spatial="none")
    with pytest.raises(DataError, match="a: 96x79 pixels are fewer than the 96x96 that a crop"):
        RandomCrops(pairs, (80, 96))


def test_gray_tensors_are_writable_copies(tmp_path, save_photo):
    save_photo(tmp_path / "a.png", 16, 16)
    cache = CacheRecipe("gray", (tmp_path / "a.png",), tmp_path / "cache", channels=1).open()
    small = CacheRecipe(
        "gray", (tmp_path / "a.png",), tmp_path / "cache", channels=1, shrink=4
    ).open()
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # torch warns of read-only memory
        lr, hr = RandomCrops(ImagePairs([small], [cache], 4, ["a"]), None)[0, 0]
    assert (lr.shape, hr.shape) == ((1, 4, 4), (1, 16, 16))
    hr += 1


def test_sixteen_bits_reach_the_network(tmp_path, save_photo, photo):
    save_photo(tmp_path / "set/a.png", 16, 16)
    deep = photo(16, 16, 1, np.uint16)
    imsave(tmp_path / "set/b.png", deep[..., 0])
    pairs = open_pairs(
        ["set"], data_root=tmp_path, scale_factor=2, purpose="train", cache_dir=tmp_path / "cache"
    )
    assert pairs.depth == 16
    crops = RandomCrops(pairs, (16, 16), spatial="none")
    loader, _ = training_loader(crops, batch_size=2)
    ((_, hr),) = loader
    floats = sorted(to_float(hr), key=lambda image: bool((image[0] != image[1]).any()))
    np.testing.assert_allclose(floats[0][0], deep[..., 0] / 65535, atol=1e-6)
    np.testing.assert_allclose(
        floats[1], imread(tmp_path / "set/a.png").transpose(2, 0, 1) / 255, atol=1e-6
    )
    spoilt, _ = RandomCrops(pairs, (16, 16), compression=1.0)[0, 1]
    assert spoilt.dtype == torch.uint16


# --- Order --------------------------------------------------------------------------------------


def test_an_epoch_is_a_permutation_without_its_incomplete_batch():
    sampler = EpochSampler(length=10, seed=3, batch_size=4)
    assert (sampler.batches, len(sampler)) == (2, 8)
    keys = list(sampler)
    assert len(keys) == 8
    assert {epoch for epoch, _ in keys} == {0}
    assert len({index for _, index in keys}) == 8
    assert keys == list(sampler)
    sampler.epoch = 1
    assert [index for _, index in sampler] != [index for _, index in keys]
    assert {epoch for epoch, _ in sampler} == {1}


def test_all_images_are_seen_over_epochs():
    sampler = EpochSampler(length=5, seed=0, batch_size=4)
    seen = set()
    for sampler.epoch in range(20):
        seen |= {index for _, index in sampler}
    assert seen == set(range(5))


def test_fewer_images_than_a_batch_make_one_batch():
    sampler = EpochSampler(length=3, seed=0, batch_size=16)
    assert (sampler.batch_size, sampler.batches, len(sampler)) == (3, 1, 3)
    assert sorted(index for _, index in sampler) == [0, 1, 2]


@pytest.mark.parametrize("done", [0, 1, 2, 3])
def test_an_epoch_resumes_where_it_stopped(done):
    sampler = EpochSampler(length=13, seed=7, batch_size=4)
    sampler.epoch = 5
    whole = list(sampler)
    sampler.skip_batches = done
    assert list(sampler) == whole[4 * done :]
    assert len(sampler) == 12 - 4 * done


# --- Batches ------------------------------------------------------------------------------------


def batches(pairs, num_workers, epochs=(0,), skip=0, degradation=None):
    crops = RandomCrops(pairs, (16, 24), seed=2, degradation=degradation)
    loader, sampler = training_loader(crops, 2, num_workers)
    result = []
    for sampler.epoch in epochs:
        sampler.skip_batches = skip
        result += [torch.cat([lr.flatten(), hr.flatten()]) for lr, hr in loader]
    return result


@pytest.fixture
def many(pairs):
    """The pairs thrice over: four mini-batches of two, and one image left."""
    return ImagePairs(pairs._lr * 3, pairs._hr * 3, SCALE, pairs.names * 3, [True] * 9)


def test_number_of_workers_changes_nothing(many):
    options = {"epochs": (0, 1), "degradation": Degradation(DegradationConfig(probability=0.5), 4)}
    alone = batches(many, num_workers=0, **options)
    assert len(alone) == 8
    shared = batches(many, num_workers=2, **options)
    assert all(torch.equal(a, b) for a, b in zip(alone, shared, strict=True))
    assert not torch.equal(alone[0], alone[4])


def test_resumed_batches_are_those_that_were_left(many):
    whole = batches(many, num_workers=0, epochs=(3,))
    rest = batches(many, num_workers=0, epochs=(3,), skip=1)
    assert len(rest) == 3
    assert all(torch.equal(a, b) for a, b in zip(whole[1:], rest, strict=True))


def test_loading_leaves_the_global_generator_alone(many):
    before = torch.get_rng_state()
    batches(many, num_workers=0)
    assert torch.equal(torch.get_rng_state(), before)


def test_batch_shapes(many):
    loader, sampler = training_loader(RandomCrops(many, (16, 24)), batch_size=4)
    assert len(loader) == sampler.batches == 2
    for lr, hr in loader:
        assert lr.shape == (4, 3, 4, 6)
        assert hr.shape == (4, 3, 16, 24)
        for pair in zip(lr, hr, strict=True):
            check_aligned(*pair)


def test_to_float():
    image = torch.arange(256, dtype=torch.uint8)
    assert to_float(image).dtype == torch.float32
    assert torch.equal((to_float(image) * 255).round().to(torch.uint8), image)
    assert to_float(image)[[0, 255]].tolist() == [0, 1]


def test_processes_share_the_samples_of_one_process():
    whole = EpochSampler(length=23, seed=5, batch_size=6)
    shares = [EpochSampler(23, 5, 3, processes=2, rank=rank) for rank in range(2)]
    assert [share.batches for share in shares] == [whole.batches] * 2
    for sampler in (whole, *shares):
        sampler.epoch, sampler.skip_batches = 4, 1
    parts = [np.array(list(sampler)).reshape(-1, 3, 2) for sampler in shares]
    together = np.concatenate(parts, axis=1).reshape(-1, 2)
    assert together.tolist() == [list(key) for key in whole]
    with pytest.raises(DataError, match=r"start fewer processes: 7 .* too few for 8"):
        EpochSampler(7, 0, 1, processes=8)

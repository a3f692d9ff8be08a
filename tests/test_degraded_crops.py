"""Degraded training crops: which ones, where they are cut, and that samples are reproducible."""

import pickle

import numpy as np
import pytest
import torch
from PIL import Image as PillowImage
from skimage.data import chelsea

from torch_sr.config import DegradationConfig, RoundConfig, SecondRoundConfig, parse_config
from torch_sr.data.crops.augmentation import orient, restore
from torch_sr.data.crops.geometry import CONTEXT, GRID, Place, draw_place
from torch_sr.data.crops.random_crops import RandomCrops, training_loader
from torch_sr.data.degradation import Degradation, sharpen
from torch_sr.data.image_pairs import ImagePairs, open_pairs
from torch_sr.data.resize import downscale
from torch_sr.data.sources import PixelFormat
from torch_sr.images import Image, write_image
from torch_sr.training.stage_data import open_crops

SCALE = 4
OFF = {"noise_probability": 0.0, "jpeg_probability": 0.0, "resize_probabilities": (0.0, 0.0, 1.0)}


class Arrays:
    """Images in memory."""

    warnings = ()
    uncached_bytes = 0

    def __init__(self, images):
        self.images = [image.view() for image in images]
        for image in self.images:
            image.flags.writeable = False  # as a cache is

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        return self.images[index]

    def pixel_format(self, index):
        return PixelFormat(self[index].shape, self[index].dtype.itemsize * 8)


def photographs(channels=3, dtype=np.uint8):
    cat = chelsea()
    images = [cat[:200, :240], cat[100:260, 150:410]]
    images = [np.concatenate([image, image[..., :1]], axis=2)[..., :channels] for image in images]
    return [(image.astype(dtype) * (np.iinfo(dtype).max // 255)) for image in images]


def make_pairs(made=True, **options):
    hr = photographs(**options)
    lr = [downscale(image, SCALE) for image in hr]
    return ImagePairs([Arrays(lr)], [Arrays(hr)], SCALE, ["a", "b"], [made] * 2)


def degradation(**changes):
    return Degradation(DegradationConfig(**{"probability": 1.0, **changes}), SCALE)


def no_degradation(**changes):
    """One that only shrinks."""
    blur = {"probability": 0.0}
    first, second = RoundConfig(blur=blur, **OFF), SecondRoundConfig(blur=blur, **OFF)
    return degradation(first=first, second=second, final_sinc_probability=0.0, **changes)


def samples(crops, epochs=3):
    return [crops[epoch, index] for epoch in range(epochs) for index in range(len(crops))]


def are_equal(one, other):
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


# --- which crops --------------------------------------------------------------------------------


@pytest.mark.parametrize("crop_size", [(64, 64), (32, 96), None])
@pytest.mark.parametrize("degrade", [degradation(probability=0.0), degradation()])
def test_crops_that_are_not_degraded_are_unchanged(crop_size, degrade):
    """Where nothing is degraded, neither the crops nor what spoils them change."""
    hard = {"compression": 0.5, "coarse_dropout": 0.5}
    pairs = make_pairs(made=not degrade.config.probability)
    before = RandomCrops(pairs, crop_size, seed=3, **hard)
    crops = RandomCrops(pairs, crop_size, seed=3, **hard, degradation=degrade)
    for expected, got in zip(samples(before), samples(crops), strict=True):
        assert are_equal(expected, got)


@pytest.mark.parametrize("probability", [0.3, 1.0])
def test_the_configured_share_of_crops_is_degraded(probability):
    pairs = make_pairs()
    before = RandomCrops(pairs, (16, 16), seed=1)
    degrade = no_degradation(probability=probability)
    crops = RandomCrops(pairs, (16, 16), seed=1, degradation=degrade)
    count = 0
    for (lr, hr), (new_lr, new_hr) in zip(samples(before, 150), samples(crops, 150), strict=True):
        assert torch.equal(hr, new_hr)  # the place does not depend on it
        count += not torch.equal(lr, new_lr)
    allowed = 4 * (300 * probability * (1 - probability)) ** 0.5
    assert abs(count - 300 * probability) <= allowed


def test_pairs_with_and_without_their_own_lr_mix(tmp_path):
    for folder in ("made", "given/HR", "given/LR"):
        (tmp_path / folder).mkdir(parents=True)
    for number, image in enumerate(photographs()):
        write_image(tmp_path / f"made/{number}.png", Image.from_array(image))
        write_image(tmp_path / f"given/HR/{number}.png", Image.from_array(image))
        dark = downscale(image, SCALE) // 8
        write_image(tmp_path / f"given/LR/{number}.png", Image.from_array(dark))
    pairs = open_pairs(
        ["given", "made"],
        data_root=tmp_path,
        scale_factor=SCALE,
        purpose="train",
        cache_dir=tmp_path / "cache",
    )
    assert [pairs.lr_is_made(index) for index in range(4)] == [False, False, True, True]
    assert pairs.num_made == 2
    crops = RandomCrops(pairs, (64, 64), degradation=degradation())
    plain = RandomCrops(pairs, (64, 64))
    for index in (0, 1):
        assert are_equal(crops[0, index], plain[0, index])
        assert not are_equal(crops[0, index + 2], plain[0, index + 2])


# --- where they are cut -------------------------------------------------------------------------


@pytest.mark.parametrize("rows", [False, True])
@pytest.mark.parametrize("columns", [False, True])
@pytest.mark.parametrize("transpose", [False, True])
def test_restoring_undoes_every_orientation(rows, columns, transpose):
    image = np.arange(24).reshape(2, 4, 3)
    turned = orient(image, (rows, columns, transpose))
    np.testing.assert_array_equal(restore(turned, (rows, columns, transpose)), image)


def test_the_surroundings_are_random_where_the_image_has_them():
    rng, size = np.random.default_rng(0), (100, 120)
    offsets = set()
    for _ in range(300):
        place = draw_place(size, (20, 30), "none", rng)
        larger, inner = place.widen(size, rng)
        assert (larger.top + inner.top, larger.left + inner.left) == (place.top, place.left)
        assert (inner.height, inner.width) == (place.height, place.width)
        assert larger.top + larger.height == min(100, place.top + place.height + CONTEXT)
        assert larger.left + larger.width == min(120, place.left + place.width + CONTEXT)
        assert CONTEXT <= inner.top < CONTEXT + GRID or larger.top == 0
        assert CONTEXT <= inner.left < CONTEXT + GRID or larger.left == 0
        if larger.top:
            offsets.add(inner.top % GRID)
    assert offsets == set(range(GRID))


@pytest.mark.parametrize("rows", [False, True])
@pytest.mark.parametrize("columns", [False, True])
@pytest.mark.parametrize("transpose", [False, True])
def test_the_grid_starts_at_a_random_place_in_every_orientation(rows, columns, transpose):
    image = np.arange(100 * 120).reshape(100, 120, 1)
    place = Place(40, 50, 12, 8, (rows, columns, transpose))
    rng = np.random.default_rng(0)
    tops, lefts = set(), set()
    for _ in range(200):
        larger, inner = place.widen((100, 120), rng)
        turned = larger.cut(image)
        crop = inner.cut_oriented(turned)
        np.testing.assert_array_equal(crop, place.cut(image))
        ((top, left),) = np.argwhere(turned[..., 0] == crop[0, 0, 0])
        tops.add(top - CONTEXT)
        lefts.add(left - CONTEXT)
    assert tops == lefts == set(range(GRID))


@pytest.mark.parametrize("spatial", ["flip_or_transpose", "dihedral", "none"])
def test_a_crop_is_cut_from_the_degraded_surroundings_as_from_the_image(spatial):
    """Row and column numbers of an image show where every pixel of LR and HR is from."""
    rng = np.random.default_rng(0)
    lr = np.stack(np.mgrid[:40, :50], axis=2)
    hr = lr.repeat(SCALE, axis=0).repeat(SCALE, axis=1)
    for _ in range(100):
        place = draw_place((40, 50), (9, 14), spatial, rng)
        larger, inner = place.widen((40, 50), rng)
        for image, scale in ((lr, 1), (hr, SCALE)):
            surroundings = larger.cut(image, scale)
            cut = inner.cut_oriented(surroundings, scale)
            assert cut.shape[:2] == (9 * scale, 14 * scale)
            np.testing.assert_array_equal(cut, place.cut(image, scale))
            assert np.shares_memory(cut, image)


@pytest.mark.parametrize("crop_size", [(64, 64), (32, 96), None])
def test_degraded_lr_is_aligned_with_its_hr(crop_size):
    crops = RandomCrops(make_pairs(), crop_size, spatial="dihedral", degradation=no_degradation())
    moves = [(0, 0), (0, 1), (0, -1), (1, 0), (-1, 0)]
    errors = dict.fromkeys(moves, 0.0)
    for lr, hr in samples(crops, 8):
        assert (lr.shape[1] * SCALE, lr.shape[2] * SCALE) == hr.shape[1:]
        bicubic = downscale(hr.permute(1, 2, 0).numpy(), SCALE).astype(float)
        for move in moves:
            moved = np.roll(bicubic, move, axis=(0, 1)) - lr.permute(1, 2, 0).numpy()
            errors[move] += np.abs(moved).mean()
    aligned = errors.pop((0, 0))  # not 0, as the filters differ
    assert aligned < 0.7 * min(errors.values())


def test_the_grid_of_jpeg_is_not_tied_to_the_crop():
    blur = {"probability": 0.0}
    jpeg = {**OFF, "jpeg_probability": 1.0, "jpeg_range": (5, 5)}
    degrade = degradation(
        first=RoundConfig(blur=blur, **OFF),
        second=SecondRoundConfig(blur=blur, **jpeg),
        final_sinc_probability=0.0,
    )
    crops = RandomCrops(make_pairs(), (96, 96), spatial="none", degradation=degrade)
    places = set()
    for lr, _ in samples(crops, 40):
        steps = np.abs(np.diff(lr.numpy().astype(float), axis=2)).mean(axis=(0, 1))
        places.add(int(np.argmax([steps[start::8].mean() for start in range(8)])))
    assert len(places) >= 6


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_every_kind_of_image_is_degraded(channels, dtype):
    pairs = make_pairs(channels=channels, dtype=dtype)
    crops = RandomCrops(pairs, (64, 64), compression=0.5, degradation=degradation())
    for lr, hr in samples(crops):
        assert (lr.shape, hr.shape) == ((channels, 16, 16), (channels, 64, 64))
        assert lr.dtype == hr.dtype == (torch.uint16 if dtype == np.uint16 else torch.uint8)
        assert lr.float().mean() > 0.2 * torch.iinfo(lr.dtype).max


def test_only_targets_of_degraded_crops_are_sharpened():
    pairs = make_pairs()
    options = {"sharpen_targets": True, "probability": 0.5}
    crops = RandomCrops(pairs, (64, 64), spatial="none", degradation=no_degradation(**options))
    plain = RandomCrops(pairs, (64, 64), spatial="none")
    seen = set()
    for (lr, hr), (plain_lr, plain_hr) in zip(samples(crops, 10), samples(plain, 10), strict=True):
        sharpened = not torch.equal(hr, plain_hr)
        assert sharpened == (not torch.equal(lr, plain_lr))
        assert not sharpened or hr.float().std() > plain_hr.float().std()
        seen.add(sharpened)
    assert seen == {False, True}


def test_whole_images_are_degraded_and_sharpened_whole():
    pairs = make_pairs()
    crops = RandomCrops(pairs, None, degradation=degradation(sharpen_targets=True))
    for index in range(2):
        _, hr = crops[0, index]
        np.testing.assert_array_equal(hr.permute(1, 2, 0), sharpen(pairs[index][1]))


def test_a_crop_at_a_corner_has_smaller_margins():
    larger, inner = Place(0, 3, 8, 5).widen((10, 9), np.random.default_rng(0))
    assert larger == Place(0, 0, 10, 9)
    assert inner == Place(0, 3, 8, 5)


# --- replayable ---------------------------------------------------------------------------------


def test_a_sample_is_a_function_of_seed_epoch_and_index():
    def crops(seed=5):
        return RandomCrops(make_pairs(), (64, 64), seed, degradation=degradation())

    first = crops()[2, 1]
    torch.manual_seed(2)
    np.random.seed(3)  # noqa: NPY002 -- to show that it does not matter
    again = crops()
    again[0, 0]
    assert are_equal(first, again[2, 1])
    assert are_equal(first, pickle.loads(pickle.dumps(again))[2, 1])
    for other in (crops()[3, 1], crops(6)[2, 1]):
        assert not torch.equal(first[0], other[0])


def test_an_epoch_resumed_in_its_middle_sees_the_same_crops():
    crops = RandomCrops(make_pairs(), (32, 32), 4, compression=0.5, degradation=degradation())
    loader, sampler = training_loader(crops, 1)
    sampler.epoch = 7
    whole = list(loader)
    sampler.skip_batches = 1
    (resumed,) = loader
    assert are_equal(whole[1], resumed)


# --- from a configuration -----------------------------------------------------------------------


def stage_crops(settings, *overrides):
    config = parse_config(
        {"pretraining": {"train_datasets": ["photos"], "cr_patch_size": [32, 32]}},
        overrides=overrides,
    )
    return open_crops("pretraining", config, settings)


def test_a_configuration_degrades_the_crops_of_a_stage(settings):
    plain = stage_crops(settings)
    crops = stage_crops(settings, "degradation.probability=1")
    assert plain.degradation is None
    assert crops.degradation.config.probability == 1
    assert crops.degradation.scale_factor == 4
    assert not torch.equal(plain[0, 0][0], crops[0, 0][0])
    assert torch.equal(plain[0, 0][1], crops[0, 0][1])


@pytest.mark.parametrize(
    ("hr", "lr", "bicubic"),
    [
        ("DIV2K_train_HR", "DIV2K_train_LR_bicubic/X4", True),
        ("HR", "LR_bicubic/X4", True),
        ("GTmod12", "LRbicx4", True),
        ("HR", "LR/X4", False),
        ("GT", "LQ", False),
    ],
)
def test_lr_that_is_published_as_bicubic_is_degraded(tmp_path, hr, lr, bicubic):
    image = photographs()[0]
    for folder, pixels in ((hr, image), (lr, downscale(image, SCALE))):
        (tmp_path / "set" / folder).mkdir(parents=True)
        write_image(tmp_path / "set" / folder / "0001.png", Image.from_array(pixels))
    pairs = open_pairs(
        [f"set/{hr}"],
        data_root=tmp_path,
        scale_factor=SCALE,
        purpose="train",
        cache_dir=tmp_path / "cache",
        decode=False,
    )
    assert pairs.lr_is_made(0) == bicubic
    crops = RandomCrops(pairs, (64, 64), degradation=no_degradation())
    plain = RandomCrops(pairs, (64, 64))
    assert torch.equal(crops[0, 0][0], plain[0, 0][0]) != bicubic


def test_images_with_their_own_lr_are_reported_and_hr_can_be_named_alone(
    settings, data_root, tmp_path, caplog
):
    for folder in ("both/HR", "both/LR"):
        (tmp_path / folder).mkdir(parents=True)
    for file in (data_root / "photos").iterdir():
        image = np.asarray(PillowImage.open(file))
        write_image(tmp_path / "both/HR" / file.name, Image.from_array(image))
        write_image(tmp_path / "both/LR" / file.name, Image.from_array(downscale(image, 4)))
    train = [f'pretraining.train_datasets=["{tmp_path}/both"]', "degradation.probability=1"]
    stage_crops(settings, *train)
    assert "4 of 4 training images have their own low resolution" in caplog.text
    caplog.clear()
    crops = stage_crops(settings, train[0].replace("both", "both:HR"), train[1])
    assert crops.pairs.num_made == 4  # the fifth is for the validation
    assert not caplog.records

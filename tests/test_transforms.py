"""augmentation.py: probabilities, the same orientation for LR and HR, reproducible samples."""

import hashlib
import io
import json
import os
import subprocess
import sys
from math import sqrt

import numpy as np
import pytest
import torch
from PIL import Image as PillowImage

from torch_sr.data.crops.augmentation import JPEG_QUALITY, HardTransforms, draw_orientation, orient
from torch_sr.data.crops.random_crops import RandomCrops, training_loader
from torch_sr.errors import ConfigError

SCALE = 4
HARD = {"compression": 0.25, "coarse_dropout": 0.25}


class Pairs:
    """Two images, without files: HR is noise, LR is every fourth pixel of it."""

    scale_factor = SCALE
    names = ("a", "b")
    depth = 8

    def __init__(self, channels=3, sizes=((40, 48), (33, 62)), low=0):
        self._images = []
        for number, (height, width) in enumerate(sizes):
            rng = np.random.default_rng(number)
            size = (height * SCALE, width * SCALE, channels)
            self._images.append(rng.integers(low, 256, size, dtype=np.uint8))

    def __len__(self):
        return len(self._images)

    def lr_size(self, index):
        return self[index][0].shape[:2]

    def __getitem__(self, index):
        hr = self._images[index].view()
        hr.flags.writeable = False  # as a cache is
        return hr[::SCALE, ::SCALE], hr


def samples(crops, epochs):
    for epoch in range(epochs):
        for index in range(len(crops)):
            yield crops[epoch, index]


def assert_frequency(count, total, probability):
    """Within 4 standard deviations of the binomial distribution."""
    assert abs(count - total * probability) <= 4 * sqrt(total * probability * (1 - probability))


# --- spatial ------------------------------------------------------------------------------------

CORNERS = np.array([[1, 2, 3], [4, 5, 6]])
"""Read row by row, each of the eight orientations of it is another sequence."""
DESCRIBED = {
    "1 2 3 4 5 6": 0.5,
    "4 5 6 1 2 3": 0.5 * 0.25 / 3,
    "3 2 1 6 5 4": 0.5 * 0.25 / 3,
    "6 5 4 3 2 1": 0.5 * 0.25 / 3,
    "1 4 2 5 3 6": 0.5 * 0.75,
}
DIHEDRAL = dict.fromkeys([*DESCRIBED, "4 1 5 2 6 3", "3 6 2 5 1 4", "6 3 5 2 4 1"], 1 / 8)


@pytest.mark.parametrize(
    ("spatial", "expected"),
    [("flip_or_transpose", DESCRIBED), ("dihedral", DIHEDRAL), ("none", {"1 2 3 4 5 6": 1})],
)
def test_orientations_are_as_frequent_as_described(spatial, expected):
    rng = np.random.default_rng(0)
    seen = dict.fromkeys(expected, 0)
    for _ in range(4000):
        turned = orient(CORNERS[..., None], draw_orientation(spatial, rng))
        seen[" ".join(map(str, turned.ravel()))] += 1
    for name, probability in expected.items():
        assert_frequency(seen[name], 4000, probability)


@pytest.mark.parametrize("crop_size", [(64, 64), (32, 96)])
@pytest.mark.parametrize("spatial", ["flip_or_transpose", "dihedral", "none"])
def test_both_images_get_the_same_orientation_and_shape(spatial, crop_size):
    crops = RandomCrops(Pairs(), crop_size, spatial=spatial)
    for lr, hr in samples(crops, 20):
        assert hr.shape == (3, *crop_size)
        assert lr.shape == (3, crop_size[0] // SCALE, crop_size[1] // SCALE)
        # the LR pixel is in a corner of its HR block, in one corner for the whole crop
        corners = [hr[:, y::SCALE, x::SCALE] for y in (0, SCALE - 1) for x in (0, SCALE - 1)]
        assert sum(torch.equal(lr, corner) for corner in corners) == 1


def test_crops_that_are_not_transposed_need_no_extra_room():
    RandomCrops(Pairs(sizes=[(8, 30)] * 2), (32, 120), spatial="none")


@pytest.mark.parametrize(
    ("crop_size", "expected"), [((32, 32), "7620e931f913101f"), ((48, 64), "6195d3bd87913797")]
)
def test_dihedral_crops_stay_those_of_the_shipped_models_training(crop_size, expected):
    class Fixed(Pairs):
        def __getitem__(self, index):
            height, width = ((20, 24), (17, 31))[index]
            lr = np.arange(height * width * 3) * (7 + index) % 251
            hr = np.arange(height * width * 48) * (11 + index) % 241
            lr = lr.astype(np.uint8).reshape(height, width, 3)
            return lr, hr.astype(np.uint8).reshape(4 * height, 4 * width, 3)

    digest = hashlib.sha256()
    for lr, hr in samples(RandomCrops(Fixed(), crop_size, seed=5, spatial="dihedral"), 6):
        digest.update(lr.numpy().tobytes() + hr.numpy().tobytes())
    assert digest.hexdigest()[:16] == expected


# --- hard ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_compression_and_dropout_are_independent_and_only_change_lr(channels):
    pairs = Pairs(channels, low=160)  # so that a black pixel is a dropped one
    crops = RandomCrops(pairs, (80, 80), spatial="none", **HARD)
    clean = RandomCrops(pairs, (80, 80), spatial="none")
    seen = {(compressed, dropped): 0 for compressed in (0, 1) for dropped in (0, 1)}
    for (lr, hr), (clean_lr, clean_hr) in zip(
        samples(crops, 2000), samples(clean, 2000), strict=True
    ):
        assert torch.equal(hr, clean_hr)
        assert (lr.shape, lr.dtype) == (clean_lr.shape, torch.uint8)
        dropped = (lr == 0).all(0)
        others = ~dropped.expand_as(lr)
        compressed = not torch.equal(lr[others], clean_lr[others])
        if channels == 4:
            assert torch.equal(lr[3][~dropped], clean_lr[3][~dropped])
        assert dropped.sum() <= 8 * 2 * 2
        seen[compressed, int(dropped.any())] += 1
    for (compressed, dropped), count in seen.items():
        expected = (0.25 if compressed else 0.75) * (0.25 if dropped else 0.75)
        assert_frequency(count, 4000, expected)


def test_compression_is_that_of_a_jpeg_file(photo):
    image = photo(48, 64)[..., ::-1] // 2 + np.array([120, 40, 0], np.uint8)
    spoilt = HardTransforms(compression=1.0)(image, np.random.default_rng(0))
    distances = []
    for quality in range(JPEG_QUALITY[0], JPEG_QUALITY[1] + 1):
        file = io.BytesIO()
        PillowImage.fromarray(image).save(file, "JPEG", quality=quality)
        distances.append(np.abs(np.asarray(PillowImage.open(file)) - spoilt.astype(int)).mean())
    assert min(distances) < 0.1
    assert np.abs(spoilt.astype(int) - image).mean() > 1


def test_whole_images_are_degraded_but_not_reoriented():
    crops = RandomCrops(Pairs(), None, spatial="flip_or_transpose", compression=1.0)
    lr, hr = crops[0, 1]
    clean_lr, clean_hr = Pairs()[1]
    np.testing.assert_array_equal(hr.permute(1, 2, 0), clean_hr)
    assert lr.shape == (3, 33, 62)
    assert not np.array_equal(lr.permute(1, 2, 0), clean_lr)


def noise_file(tmp_path):
    import albumentations

    path = tmp_path / "noise.json"
    albumentations.save(albumentations.Compose([albumentations.GaussNoise(p=0.5)]), path)
    return str(path)


def test_a_sample_is_a_function_of_its_key(tmp_path):
    options = {**HARD, "spatial": "flip_or_transpose", "pipeline": noise_file(tmp_path)}
    crops = RandomCrops(Pairs(), (64, 64), seed=1, **options)
    first = [lr for lr, _ in samples(crops, 8)]
    np.random.seed(1)  # noqa: NPY002 -- to show that it does not matter
    again = RandomCrops(Pairs(), (64, 64), seed=1, **options)
    backwards = [again[epoch, index][0] for epoch in range(7, -1, -1) for index in (1, 0)]
    assert all(torch.equal(a, b) for a, b in zip(first, reversed(backwards), strict=True))
    assert len({lr.numpy().tobytes() for lr in first}) == len(first)


def test_number_of_workers_changes_nothing():
    def batches(num_workers):
        crops = RandomCrops(
            Pairs(sizes=[(30, 30)] * 6), (64, 64), spatial="flip_or_transpose", compression=0.5,
            coarse_dropout=0.5,
        )  # fmt: skip
        loader, sampler = training_loader(crops, 2, num_workers)
        found = []
        for sampler.epoch in (0, 1):
            found += [lr for lr, _ in loader]
        return found

    alone, shared = batches(0), batches(2)
    assert len(alone) == 6
    assert all(torch.equal(a, b) for a, b in zip(alone, shared, strict=True))


def test_albumentations_is_imported_only_where_it_is_needed_and_asks_no_internet():
    code = (
        "import os, sys\n"
        "from torch_sr.data.crops.augmentation import HardTransforms\n"
        "assert not HardTransforms(), 'nothing to do'\n"
        "assert 'albumentations' not in sys.modules\n"
        "assert HardTransforms(coarse_dropout=1)\n"
        "assert 'albumentations' in sys.modules\n"
        "assert os.environ['NO_ALBUMENTATIONS_UPDATE'] == '1'\n"
    )
    environment = {k: v for k, v in os.environ.items() if k != "NO_ALBUMENTATIONS_UPDATE"}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)


# --- a user's own pipeline ----------------------------------------------------------------------


@pytest.mark.parametrize("data_format", ["json", "yaml"])
@pytest.mark.parametrize("composed", [True, False])
def test_a_saved_pipeline_is_applied_to_lr(tmp_path, data_format, composed):
    import albumentations

    transform = albumentations.InvertImg(p=1.0)
    if composed:
        transform = albumentations.Compose([albumentations.OneOf([transform], p=1.0)])
    path = tmp_path / f"own.{data_format}"
    albumentations.save(transform, path, data_format=data_format)
    crops = RandomCrops(Pairs(), (64, 64), spatial="none", pipeline=str(path))
    clean = RandomCrops(Pairs(), (64, 64), spatial="none")
    for (lr, hr), (clean_lr, clean_hr) in zip(samples(crops, 3), samples(clean, 3), strict=True):
        assert torch.equal(lr, 255 - clean_lr)
        assert torch.equal(hr, clean_hr)


def saved(*transforms):
    listed = [{"p": 1.0, **transform} for transform in transforms]
    composed = {"__class_fullname__": "Compose", "p": 1.0, "transforms": listed}
    return json.dumps({"__version__": "2.0.8", "transform": composed})


def named(full_name, **arguments):
    return {"__class_fullname__": full_name, **arguments}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (None, "cannot be read: No such file or directory"),
        (b"\xff\xfe", "is not UTF-8 text"),
        ("{", "JSONDecodeError: Expecting property name"),
        ("[1]", "was not written by albumentations.save"),
        ("{}", "KeyError: 'transform'"),
        (saved(named("Blurr")), "Blurr is not a transform of Albumentations"),
        (saved(named("Lambda", name="mine")), "Lambda is not a transform of Albumentations"),
        (saved(named("builtins.exec")), "builtins.exec is not a transform of Albumentations"),
        (saved(named("BboxParams", format="coco")), "BboxParams is not a transform of"),
        (saved(named("OneOf", transforms=[named("os.system")])), "os.system is not a transform of"),
        (saved(named("test_transforms.Mine")), "test_transforms.Mine is not a transform of"),
        (saved(named("Blur", blur_limit="x")), "blur_limit"),
        (saved(named("InvertImg", strength=3)), "strength"),
        (
            saved(named("Resize", height=5, width=5)),
            "must keep shape and type; it turns 16x16x3 uint8 into 5x5x3 uint8",
        ),
        (
            saved(named("ToFloat")),
            "must keep shape and type; it turns 16x16x3 uint8 into 16x16x3 float32",
        ),
        (saved(named("RandomCrop", height=99, width=99)), "fails on 16x16x3 uint8: "),
    ],
)
def test_a_bad_pipeline_is_refused_in_one_line_before_the_training(tmp_path, text, reason):
    from albumentations import ImageOnlyTransform

    class Mine(ImageOnlyTransform):  # registers itself, under a name that a file may contain
        pass

    path = tmp_path / "own.json"
    if text is not None:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ConfigError) as caught:
        RandomCrops(Pairs(), (64, 64), pipeline=str(path))
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    assert message.startswith(f"augmentation pipeline {path}: ")
    assert reason in message


def test_yaml_makes_no_objects(tmp_path):
    path = tmp_path / "own.yaml"
    path.write_text("transform: !!python/object/apply:os.system ['exit 1']\n")
    with pytest.raises(ConfigError, match="ConstructorError"):
        HardTransforms(pipeline=str(path))

"""``torch-sr train --check`` describes how crops are degraded, and draws degradations."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest
from PIL import Image as PillowImage
from skimage.io import imread
from training_kit import TINY, make_settings

from torch_sr.config import parse_config
from torch_sr.data.crops.random_crops import RandomCrops
from torch_sr.data.degradation import Degradation, sharpen
from torch_sr.data.image_pairs import open_pairs
from torch_sr.data.resize import downscale
from torch_sr.images import Image, write_image
from torch_sr.training.preflight.check import check_training
from torch_sr.training.preflight.crop_sheet import Drawn, draw_crops
from torch_sr.training.preflight.degradation import describe_degradation

GENTLE = {
    "blur": {"probability": 0.0},
    "resize_probabilities": [0.3, 0.3, 0.4],
    "resize_range": [0.9, 1.2],
    "noise_probability": 0.0,
    "jpeg_probability": 0.0,
}


def degradation_of(probability, *, sharpen_targets=False, **part):
    part = {"probability": probability, "sharpen_targets": sharpen_targets, **part}
    return Degradation(parse_config({"degradation": part}).degradation, 2)


def said_of_degradation(config, settings, count):
    """The first findings about degradations; what is slow comes after them."""
    findings = check_training(config, settings)
    return list(islice((f for f in findings if "degradation" in f.subject), count))


def open_photos(root, spec="photos"):
    return open_pairs([spec], data_root=root, scale_factor=2, purpose="train", decode=False)


@pytest.mark.parametrize("sharpened", [False, True])
def test_several_degradations_of_a_crop_are_drawn(data_root, tmp_path, sharpened):
    part = {"first": GENTLE, "second": GENTLE, "final_sinc_probability": 0.0}
    rare = degradation_of(1e-9, sharpen_targets=sharpened, **part)
    pairs = open_photos(data_root)
    crops = RandomCrops(pairs, (24, 24), seed=3, degradation=rare)
    assert draw_crops(tmp_path / "a.png", crops, seed=3) == Drawn(crops=5, degraded=4)
    image = imread(tmp_path / "a.png")
    above = 3 * (24 + 4)
    assert image.shape == (above + 4 * (24 + 4) - 4, 4 * 24 + 4, 3)
    plain = RandomCrops(pairs, (24, 24), seed=3)
    assert draw_crops(tmp_path / "b.png", plain, seed=3) == Drawn(crops=5, degraded=0)
    np.testing.assert_array_equal(image[: above - 4], imread(tmp_path / "b.png"))

    order = np.random.default_rng(3).permutation(5)
    for row in range(4):
        tiles = np.split(image[above + row * 28 : above + row * 28 + 24, : 4 * 24], 4, axis=1)
        *drawn, hr = tiles
        source = pairs.hr(int(order[row]))
        windows = np.lib.stride_tricks.sliding_window_view(source, (24, 24, 3))[..., 0, :, :, :]
        assert bool((windows == hr).all(axis=(2, 3, 4)).any()) != sharpened
        assert all(np.array_equal(tile[::2, ::2], tile[1::2, 1::2]) for tile in drawn)
        assert len({tile.tobytes() for tile in drawn}) > 1
        reference = downscale(hr, 2).astype(float).ravel()
        for tile in drawn:  # in place, as nothing but the interpolation differs
            assert np.corrcoef(tile[::2, ::2].ravel(), reference)[0, 1] > 0.97


def test_sharpened_targets_are_drawn(data_root, tmp_path):
    pairs = open_photos(data_root)
    crops = RandomCrops(pairs, None, degradation=degradation_of(0.5, sharpen_targets=True))
    draw_crops(tmp_path / "a.png", crops, seed=0)
    hr = imread(tmp_path / "a.png")[-48:, 3 * 64 : 4 * 64]
    sharpened = [sharpen(pairs.hr(index)) for index in range(5)]
    assert any(np.array_equal(hr, image) for image in sharpened)


def test_deep_images_are_drawn_in_8_bits(tmp_path, photo):
    (tmp_path / "photos").mkdir()
    write_image(tmp_path / "photos/a.png", Image.from_array(photo(32, 40, dtype=np.uint16)))
    crops = RandomCrops(open_photos(tmp_path), (16, 16), degradation=degradation_of(1))
    draw_crops(tmp_path / "a.png", crops, seed=0)
    image = imread(tmp_path / "a.png")
    _, hr = crops[0, 0]
    eight = np.round(hr.permute(1, 2, 0).numpy() / 257).astype(int)
    assert image.dtype == np.uint8
    assert np.abs(image[:16, 16:32].astype(int) - eight).max() <= 1


def test_the_check_describes_the_degradation_and_notes_mistakes(settings):
    config = parse_config(TINY, overrides=["degradation.probability=0.75"])
    message, note = said_of_degradation(config, settings, 2)
    assert message.text == (
        "75 % of the crops have LR made by two rounds of blur, resizing, noise and JPEG "
        "(quality 30 to 95)"
    )
    assert (message.verdict, note.verdict) == ("ok", "note")
    assert "5 validation images are not degraded; write degraded ones" in note.text
    assert "torch-sr data degrade" in note.text


def test_images_with_their_own_low_resolution_are_counted_separately(data_root, tmp_path):
    for number in range(5):
        image = np.asarray(PillowImage.open(data_root / "photos" / f"{number}.png"))
        for folder, pixels in (("HR", image), ("LR", downscale(image, 2))):
            (tmp_path / "pairs" / folder).mkdir(parents=True, exist_ok=True)
            PillowImage.fromarray(pixels).save(tmp_path / "pairs" / folder / f"{number}.png")
    overrides = ["degradation.probability=1", "train_datasets=pairs", "val_datasets=pairs"]
    config = parse_config(TINY, overrides=overrides)
    settings = make_settings(tmp_path, tmp_path / "out")
    (note,) = said_of_degradation(config, settings, 1)
    assert note.verdict == "note"
    assert "no crop is degraded, because all images have LR" in note.text

    pairs = open_pairs(
        ["pairs", str(data_root / "photos")],
        data_root=tmp_path,
        scale_factor=2,
        purpose="train",
        decode=False,
    )
    crops = RandomCrops(pairs, (16, 16), degradation=degradation_of(1))
    assert draw_crops(tmp_path / "a.png", crops, seed=0) == Drawn(crops=8, degraded=4)
    text = describe_degradation(crops.degradation.config, pairs)
    assert text.startswith("100 % of the crops of 5 images (the others have LR of their own) have")


@pytest.mark.parametrize(
    ("second", "words"),
    [
        ({"probability": 0}, "one round of blur, resizing, noise and JPEG (quality 30 to 95)"),
        ({"probability": 0.5, "jpeg_range": [20, 60]}, "one or two rounds of "),
        ({"probability": 0.5, "jpeg_range": [20, 60]}, "(quality 20 to 95)"),
    ],
)
def test_rounds_and_qualities_are_those_of_the_configuration(data_root, second, words):
    config = degradation_of(1, second=second, sharpen_targets=True).config
    text = describe_degradation(config, open_photos(data_root))
    assert words in text
    assert text.endswith("; targets are sharpened")

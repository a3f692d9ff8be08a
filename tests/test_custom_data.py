"""Custom data in a training and in the commands: what is chosen, refused and reported."""

import json
import logging

import numpy as np
import pytest
from PIL import Image as PillowImage
from typer.testing import CliRunner

from torch_sr.cli.main import app
from torch_sr.config import parse_config
from torch_sr.data.sets.resolve import train_and_val_specs
from torch_sr.errors import DataError
from torch_sr.training.stage_data import open_crops, open_validation

from training_kit import make_settings  # isort: skip


def scene(seed, height=48, width=60):
    coarse = np.random.default_rng(seed).integers(20, 236, (9, 12, 3), np.uint8)
    return PillowImage.fromarray(coarse).resize((width, height))


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A data root with a folder of 8 photographs, and its own home folder."""
    monkeypatch.setenv("TORCH_SR_HOME", str(tmp_path / "home"))
    (tmp_path / "data/photos").mkdir(parents=True)
    for seed in range(8):
        scene(seed).save(tmp_path / f"data/photos/{seed}.png")
    return tmp_path / "data"


def config_for(train, **section):
    given = {"train_datasets": train, "cr_patch_size": [16, 16], **section}
    return parse_config({"scale_factor": 4, "pretraining": given, "training": {"num_epoch": 0}})


@pytest.mark.parametrize(
    ("given", "sides"),
    [
        ({}, (["div2k"], ["div2k"])),
        ({"train_datasets": ["photos"]}, (["photos:train"], ["photos:val"])),
        ({"train_datasets": ["photos:train"]}, (["photos:train"], ["photos:val"])),
        (
            {"train_datasets": ["a:GT<LQ", "b"]},
            (["a:GT<LQ:train", "b:train"], ["a:GT<LQ:val", "b:val"]),
        ),
        ({"train_datasets": ["div2k", "photos"]}, (["div2k", "photos"], ["div2k"])),
        ({"train_datasets": ["photos"], "val_datasets": ["div2k"]}, (["photos"], ["div2k"])),
    ],
)
def test_custom_images_are_split_without_validation_data(given, sides):
    found = train_and_val_specs(parse_config({"pretraining": given}).pretraining)
    assert tuple(map(list, found)) == sides


def test_a_training_reports_that_it_validates_on_a_part_of_custom_images(root, tmp_path, caplog):
    config, settings = config_for(["photos"]), make_settings(root, tmp_path)
    crops = open_crops("pretraining", config, settings)
    with caplog.at_level(logging.WARNING):
        validation = open_validation("pretraining", config, settings)
    assert (len(crops), len(validation)) == (7, 1)
    assert not set(crops.pairs.names) & set(validation.names)
    (record,) = caplog.records
    assert record.getMessage().startswith("val_datasets is not set: validating on photos:val,")


@pytest.mark.parametrize("decode", [True, False])
def test_a_validation_image_too_small_for_ssim_is_refused_by_name(root, tmp_path, decode):
    (root / "val").mkdir()
    scene(20, 20, 20).save(root / "val/good.png")
    scene(21, 19, 40).save(root / "val/small.png")
    config, settings = config_for(["photos"], val_datasets=["val"]), make_settings(root, tmp_path)
    with pytest.raises(DataError, match=r"val/small: leave .* 20x20 pixels, and it has 40x16$"):
        open_validation("pretraining", config, settings, decode=decode)


def test_unused_files_are_reported_at_the_start(root, tmp_path, caplog):
    (root / "photos/more").mkdir()
    scene(30).save(root / "photos/more/x.png")
    scene(31).convert("RGBA").save(root / "photos/alpha.png")
    config, settings = (
        config_for(["photos"], val_datasets=["photos"]),
        make_settings(root, tmp_path),
    )
    with caplog.at_level(logging.WARNING):
        open_crops("pretraining", config, settings)
    text = "\n".join(record.getMessage() for record in caplog.records)
    assert "name the sub-folders" in text
    assert "more (1)" in text
    assert "alpha.png: the alpha channel is left out" in text


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_check_of_a_configuration_uses_the_same_sides(root, tmp_path):
    file = tmp_path / "config.json"
    file.write_text(
        json.dumps({"pretraining": {"train_datasets": ["photos"]}, "training": {"num_epoch": 0}})
    )
    result = run("data", "check", file, "--data-root", root, "--crop", 16, "--json")
    datasets = json.loads(result.stdout)["datasets"]
    assert [(s["label"], s["purpose"], s["images"]) for s in datasets] == [
        ("photos:train", "train", 7),
        ("photos:val", "val", 1),
    ]
    assert result.exit_code == 0


@pytest.mark.parametrize("target", ["photos:val", "list.txt", "photos:train"])
def test_check_takes_parts_and_lists_below_the_root_or_here(root, tmp_path, monkeypatch, target):
    (root / "list.txt").write_text("photos/1.png\nphotos/2.png\n")
    monkeypatch.chdir(tmp_path)
    below = json.loads(run("data", "check", target, "--data-root", root, "--json").stdout)
    monkeypatch.chdir(root)
    here = json.loads(run("data", "check", target, "--data-root", tmp_path, "--json").stdout)
    assert below["datasets"] == here["datasets"]
    assert here["datasets"][0]["label"] == target


def test_check_names_low_resolution_that_would_be_ignored(root):
    for seed in range(3):
        (root / "set/HR").mkdir(parents=True, exist_ok=True)
        (root / "set/phone").mkdir(exist_ok=True)
        scene(seed).save(root / f"set/HR/{seed}.png")
        scene(seed, 12, 15).save(root / f"set/phone/{seed}.png")
    result = run("data", "check", root / "set", "--json")
    assert result.exit_code == 1
    assert "set:HR<phone" in json.loads(result.stdout)["findings"][0]["message"]


def test_a_test_image_too_small_for_ssim_is_refused_by_name(root):
    (root / "one, two").mkdir()
    scene(1).save(root / "one, two/good.png")
    scene(2, 19, 40).save(root / "one, two/small.png")
    result = run(
        *("test", "compact-x4", "--data-root", root, "--datasets", "one, two", "--device", "cpu")
    )
    assert result.exit_code == 1
    assert "small: leave the image out of the data set; SSIM at x4 needs 20x20" in str(
        result.exception or result.stderr
    )

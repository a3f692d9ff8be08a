"""teacher_targets.py: training targets from a larger model."""

import runpy
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from torch_sr.images import Image, read_image, write_image
from torch_sr.models.files.writing import save_generator
from torch_sr.networks.rrdb import RRDBNet

SCRIPT = str(Path(__file__).parents[1] / "scripts" / "teacher_targets.py")


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Run the script on a pair, with a tiny teacher."""
    torch.manual_seed(0)
    network = RRDBNet(rrdb_channels=4, growth_channels=2, num_basic_blocks=1)
    save_generator(tmp_path / "teacher.safetensors", network)
    rng = np.random.default_rng(0)
    for folder, side in (("LR", 16), ("HR", 64)):
        (tmp_path / "pairs" / folder).mkdir(parents=True)
        pixels = rng.integers(0, 256, (side, side, 3), dtype=np.uint8)
        write_image(tmp_path / "pairs" / folder / "a.png", Image.from_array(pixels))

    def run(*options):
        arguments = [str(tmp_path / "pairs"), str(tmp_path / "out"), *options]
        model = ["--model", str(tmp_path / "teacher.safetensors")]
        monkeypatch.setattr("sys.argv", ["teacher_targets", *arguments, *model])
        runpy.run_path(SCRIPT, run_name="__main__")

    return run


def test_targets_have_the_colors_of_the_original_and_are_made_once(run, tmp_path, capsys):
    run("--shard", "1/1")
    target = tmp_path / "out" / "HR" / "a.png"
    assert capsys.readouterr().out.strip() == str(target)
    assert (tmp_path / "out" / "LR" / "a.png").read_bytes() == (
        tmp_path / "pairs" / "LR" / "a.png"
    ).read_bytes()
    made, original = (read_image(file).color for file in (target, tmp_path / "pairs/HR/a.png"))
    assert np.abs(made.mean((0, 1)) - original.mean((0, 1))).max() < 3
    run()
    assert capsys.readouterr().out == ""


def test_low_frequency_colors_are_replaced_and_details_kept():
    mix = runpy.run_path(SCRIPT)["with_colors_of"]
    rng = np.random.default_rng(1)
    image, original = (rng.integers(60, 190, (48, 40, 3)).astype(np.uint8) for _ in range(2))
    difference = original.astype(float) - image
    wide = gaussian_filter(difference, (12, 12, 0), mode="reflect", truncate=4)
    np.testing.assert_allclose(mix(image, original), image + wide, atol=0.6)


def test_a_folder_without_pairs_is_refused(run, tmp_path, capsys):
    (tmp_path / "pairs" / "LR" / "a.png").unlink()
    with pytest.raises(SystemExit):
        run()
    assert "LR: no PNG files" in capsys.readouterr().err


@pytest.mark.parametrize("shard", ["0/2", "3/2", "half", "1/"])
def test_an_invalid_shard_is_refused(run, shard, capsys):
    with pytest.raises(SystemExit):
        run("--shard", shard)
    assert f"{shard!r}: write I/N" in capsys.readouterr().err


def test_an_original_of_another_size_is_refused_before_anything_is_written(run, tmp_path, capsys):
    write_image(tmp_path / "pairs/HR/a.png", Image.from_array(np.zeros((60, 64, 3), np.uint8)))
    with pytest.raises(SystemExit):
        run()
    assert "its size is not that of the teacher's" in capsys.readouterr().err
    assert not list((tmp_path / "out").rglob("*.png"))

"""``torch-sr train --images``: a folder of photographs becomes a trained model."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image as Pillow

from torch_sr.cli import main
from torch_sr.config import load_config
from torch_sr.data.lists import read_list
from torch_sr.errors import ConfigError, DataError, ModelError
from torch_sr.models.loading import load_generator
from torch_sr.models.rrdb import RRDBNet
from torch_sr.models.saving import save_generator
from torch_sr.training import first
from torch_sr.training.pace import Pace
from torch_sr.training.settings import Every, RunSettings
from torch_sr.training.sketch import choose_crop

TINY = {"rrdb_channels": 4, "growth_channels": 4, "num_basic_blocks": 1}
PACE = Pace({"pretraining": 0.5}, 2.0)


@pytest.fixture
def photos(tmp_path):
    """Eight pictures with nothing in common."""
    folder = tmp_path / "my photos"
    folder.mkdir()
    for seed in range(8):
        coarse = np.random.default_rng(seed).integers(20, 236, (9, 12, 3), np.uint8)
        Pillow.fromarray(coarse).resize((100, 72)).save(folder / f"{seed}.png")
    return folder


@pytest.fixture
def start(tmp_path):
    """A tiny model to start from, by its path."""
    torch.manual_seed(0)
    path = tmp_path / "start.safetensors"
    save_generator(path, RRDBNet(**TINY), stage="pretraining")
    return str(path)


@pytest.fixture
def settings(tmp_path):
    return RunSettings(out_dir=tmp_path / "run1", device="cpu")


@pytest.fixture
def paced(monkeypatch):
    """A machine whose pace is always the same."""
    monkeypatch.setattr(first, "measure_pace", lambda *arguments, **options: PACE)


def test_steps_fill_the_time(photos, settings, start, paced):
    planned = first.plan_first_training(photos, settings, start=start, minutes=10)
    section = planned.config.pretraining
    # 95 % of ten minutes, less eleven validations of 2 s, in steps of 0.5 s.
    assert section.num_steps == int((0.95 * 600 - 11 * 2) / 0.5)
    batches = len(planned.chosen.training) // planned.config.batch_size
    assert section.num_epoch * batches >= section.num_steps
    assert planned.settings.intervals.validate == Every(section.num_steps // 10, "steps")
    assert planned.config.training.num_epoch == 0
    assert section.scheduler == "cosine"


def test_slow_validation_is_done_less_often(photos, settings, start, monkeypatch):
    slow = Pace({"pretraining": 0.5}, 60.0)
    monkeypatch.setattr(first, "measure_pace", lambda *arguments, **options: slow)
    planned = first.plan_first_training(photos, settings, start=start, minutes=10)
    steps = planned.config.pretraining.num_steps
    assert planned.settings.intervals.validate == Every(steps, "steps")


def test_the_model_gives_the_sizes_and_starts_the_pretraining(photos, settings, start, paced):
    planned = first.plan_first_training(photos, settings, start=start)
    assert planned.config.generator.rrdb_channels == 4
    assert planned.settings.resume == Path(start)
    assert planned.settings.start_stage == "pretraining"
    assert planned.minutes == 15


def test_from_scratch_takes_the_sizes_of_the_shipped_model(photos, settings, paced):
    planned = first.plan_first_training(photos, settings, start=None)
    shipped = load_generator(first.find_model("compact-x4")).network.hparams
    assert planned.config.generator_kwargs == shipped
    assert planned.settings.resume is None
    assert planned.minutes == 60
    assert planned.config.pretraining.lr > 5e-4


def test_what_the_person_sets_stays(photos, settings, start, paced):
    planned = first.plan_first_training(
        photos,
        settings,
        start=start,
        overrides=["batch_size=2", "pretraining.lr=3e-5", "pretraining.cr_patch_size=[64,68]"],
    )
    assert planned.config.batch_size == 2
    assert planned.config.pretraining.lr == 3e-5
    assert planned.config.pretraining.cr_patch_size == (64, 68)


def test_training_and_validation_are_written_down_and_disjoint(photos, settings, start, paced):
    planned = first.plan_first_training(photos, settings, start=start)
    planned.save()
    config = load_config(planned.config_file)
    assert config == planned.config
    lists = config.pretraining.train_datasets + config.pretraining.val_datasets
    training, validation = ({pair.hr for pair in read_list(Path(name))} for name in lists)
    assert not training & validation
    assert len(training | validation) == 8
    command = (settings.out_dir / "command.txt").read_text().splitlines()[-1]
    assert command == planned.command


def test_the_plan_says_everything(photos, settings, start, paced):
    (photos / "broken.jpg").write_bytes(b"\xff\xd8\xffnothing")
    save = Pillow.fromarray(np.full((90, 90, 3), 7, np.uint8))
    save.save(photos / "black.png")
    text = "\n".join(first.plan_first_training(photos, settings, start=start).describe())
    for words in ("broken.jpg", "black.png", "to validate on", "15 minutes", "run1", "--no-gan"):
        assert words in text
    assert "--gan" in text


def test_a_second_training_in_one_folder_is_refused(photos, settings, start, paced):
    first.plan_first_training(photos, settings, start=start).save()
    with pytest.raises(ConfigError, match="run1 holds a training already"):
        first.plan_first_training(photos, settings, start=start)


def test_a_model_of_another_scale_is_refused_by_name(photos, settings, start, paced):
    with pytest.raises(ConfigError, match=r"--from-scratch, or -l .* x2"):
        first.plan_first_training(photos, settings, start=start, overrides=["scale_factor=2"])


def test_missing_vgg_weights_say_how_to_leave_the_stage_out(photos, settings, start, paced):
    with pytest.raises(ModelError, match=r"^--no-gan leaves"):
        first.plan_first_training(
            photos,
            settings,
            start=start,
            gan=True,
            overrides=["perceptual_loss.weights=nowhere.pth"],
        )
    assert not settings.out_dir.exists()


def test_a_folder_without_photographs_leaves_nothing(tmp_path, settings, start, paced):
    with pytest.raises(DataError, match="no such folder"):
        first.plan_first_training(tmp_path / "none", settings, start=start)
    assert not settings.out_dir.exists()


@pytest.mark.parametrize(
    ("sides", "scale", "device", "crop"),
    [
        ([300] * 10, 4, "cuda", 192),
        ([300] * 10, 4, "cpu", 128),
        ([300] * 10, 3, "cpu", 126),
        ([300] * 8 + [70] * 2, 4, "cpu", 64),
        ([300] * 20 + [70], 4, "cpu", 128),
        ([100] * 10, 4, "cuda", 96),
    ],
)
def test_nine_tenths_of_the_images_hold_the_crop(tmp_path, sides, scale, device, crop):
    files = []
    for number, side in enumerate(sides):
        files.append(tmp_path / f"{number}.png")
        Pillow.new("L", (side, side + 3)).save(files[-1])
    assert choose_crop(files, scale, device) == crop


def test_images_that_do_not_hold_the_crop_are_left_out(photos, settings, start, paced):
    overrides = ["pretraining.cr_patch_size=[96,96]"]
    with pytest.raises(DataError, match="96x96"):
        first.plan_first_training(photos, settings, start=start, overrides=overrides)


def test_a_folder_and_nothing_else_gives_a_model_and_a_picture(
    photos, tmp_path, start, monkeypatch, capsys
):
    """The whole way of a person, with a tiny model, in a second of training."""
    monkeypatch.setenv("TORCH_SR_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    planned = {}

    def short(*arguments, **options):
        plan = real(*arguments, **options)
        section = plan.config.pretraining.model_copy(update={"num_steps": 4})
        config = plan.config.model_copy(update={"pretraining": section})
        intervals = replace(plan.settings.intervals, validate=Every(2, "steps"))
        planned["plan"] = replace(
            plan, config=config, settings=replace(plan.settings, intervals=intervals)
        )
        return planned["plan"]

    real = first.plan_first_training
    monkeypatch.setattr(first, "plan_first_training", short)
    words = ["train", "--images", str(photos), "--out-dir", "run1", "-l", start, "--device", "cpu"]
    main.app([*words, "--no-tensorboard"], standalone_mode=False)
    out, _ = capsys.readouterr()
    assert "start" in out
    assert "best" in out
    assert "last" in out
    sheet = tmp_path / "run1" / "before_after.png"
    assert out.splitlines()[-1] == str(Path("run1/before_after.png"))
    assert np.asarray(Pillow.open(sheet)).std() > 10
    config = json.loads((tmp_path / "run1/config.json").read_text())
    assert config["pretraining"]["num_steps"] == 4
    assert list((tmp_path / "run1/saved_models").glob("*_best_model.safetensors"))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["train"], "CONFIG"),
        (["train", "a.json", "--images", "photos"], "--images"),
        (["train", "--images", "photos", "--from-scratch", "-l", "compact-x4"], "--from-scratch"),
        (["train", "a.json", "--minutes", "3"], "--minutes"),
        (["train", "--images", "photos", "--minutes", "0"], "0"),
        (["train", "--images", "photos", "--devices", "2"], "--devices"),
    ],
)
def test_options_that_do_not_go_together_are_wrong_usage(words, message, capsys):
    with pytest.raises(SystemExit) as caught:
        main.app(words)
    assert caught.value.code == 2
    assert message in capsys.readouterr().err

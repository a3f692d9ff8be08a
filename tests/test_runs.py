"""Names of runs, automatic resuming, and that a run which fails early leaves nothing."""

from __future__ import annotations

import os
import threading
from dataclasses import replace

import pytest
import torch
from training_kit import TINY, Recorder, checkpoint_state

from torch_sr.cli.train.run import find_newest, run_training
from torch_sr.config import parse_config
from torch_sr.errors import CheckpointError, ConfigError, DataError, LogError, TorchSRError
from torch_sr.training.loggers.json_lines import JSONLinesLogger
from torch_sr.training.run import train_run
from torch_sr.training.runs import names as runs_module
from torch_sr.training.runs.checkpoints import save_checkpoint
from torch_sr.training.runs.names import find_checkpoint, reserved_run
from torch_sr.training.runs.starting_point import StartingPoint, read_start

NEW = StartingPoint()


def test_runs_of_the_same_second_have_different_names(settings, monkeypatch):
    monkeypatch.setattr(runs_module.time, "time", lambda: 1700000000.5)
    names, reserve = [], threading.Barrier(4)

    def start():
        reserve.wait()
        with reserved_run(settings, NEW) as name:
            names.append(name)
            reserve.wait()

    threads = [threading.Thread(target=start) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(names) == [f"170000000{number}" for number in range(4)]


def test_files_of_an_older_run_take_its_name_too(settings, monkeypatch):
    monkeypatch.setattr(runs_module.time, "time", lambda: 5.0)
    settings.models_dir.mkdir()
    (settings.models_dir / "5_RRDB_PSNR_x2_model.safetensors").touch()
    (settings.models_dir / "6_7_RRDB_PSNR_x2_model.safetensors").touch()
    with reserved_run(settings, NEW) as name:
        assert name == "6"


def test_a_name_is_used_for_files_and_logs_and_refused_if_taken(settings):
    named = replace(settings, name="first-try", tensorboard=False)
    config = parse_config(TINY)
    result = run_training(config, named)
    assert result.model.name == "first-try_RRDB_PSNR_x2_model.safetensors"
    assert (settings.out_dir / "logs/first-try/metrics.jsonl").is_file()
    with pytest.raises(CheckpointError, match="--name first-try: choose another"):
        run_training(config, named)
    with pytest.raises(CheckpointError, match="--name other: leave it out"):
        run_training(config, replace(named, name="other", resume=result.checkpoint))
    assert run_training(config, replace(named, resume=result.checkpoint)) == result


@pytest.mark.parametrize("name", ["", ".", "../x", "a/b", "a b", "-x", "x" * 101, "a:b"])
def test_impossible_names_are_refused(settings, name):
    with (
        pytest.raises(ConfigError, match="--name"),
        reserved_run(replace(settings, name=name), NEW),
    ):
        pass


@pytest.mark.parametrize("folder", [".", "new/folder"])
def test_what_fails_before_its_first_step_leaves_nothing(settings, tmp_path, folder):
    """Even with all loggers there."""
    out = tmp_path / "out"
    out.mkdir()
    config = parse_config(TINY, overrides=['pretraining.train_datasets=["nowhere"]'])
    with pytest.raises(DataError):
        run_training(config, replace(settings, out_dir=out / folder))
    assert not list(out.rglob("*"))[1:]
    assert not [path for path in out.rglob("*") if path.name in ("logs", "saved_models")]


def test_logs_that_cannot_be_written_are_reported_in_one_line(settings, tmp_path):
    (tmp_path / "logs").write_text("a file")
    with pytest.raises(LogError, match="cannot write logs") as refusal:
        run_training(parse_config(TINY), settings)
    assert "\n" not in str(refusal.value)


def save(settings, run, what, step, age):
    path = settings.models_dir / f"{run}_RRDB_{what}"
    save_checkpoint(path, checkpoint_state(run=run, step=step))
    os.utime(path, (1000 - age, 1000 - age))
    return path


def test_the_newest_intact_checkpoint_is_found(settings, caplog):
    assert find_checkpoint(settings.models_dir) is None
    old = save(settings, "a", "PSNR_x2_checkpoint.pth", 1, age=50)
    new = save(settings, "a", "ESRGAN_x2_checkpoint.pth", 2, age=30)
    before = save(settings, "a", "ESRGAN_x2_checkpoint_1.pth", 1, age=40)
    save(settings, "a", "ESRGAN_x2_best_checkpoint.pth", 3, age=1)
    other = save(settings, "a_RRDB_b", "PSNR_x2_checkpoint.pth", 3, age=10)
    assert find_checkpoint(settings.models_dir) == other
    assert find_checkpoint(settings.models_dir, "a") == new
    assert not caplog.text
    content = bytearray(new.read_bytes())
    content[len(content) // 2] ^= 1
    new.write_bytes(content)
    assert find_checkpoint(settings.models_dir, "a") == before
    assert str(new) in caplog.text
    before.write_bytes(b"")
    assert find_checkpoint(settings.models_dir, "a") == old
    assert find_checkpoint(settings.models_dir, "b") is None


def test_auto_resumes_or_starts_a_new_run_and_reports_which(settings, capsys):
    auto = replace(settings, name="job", resume_auto=True, tensorboard=False)
    config = parse_config(TINY, overrides=["pretraining.num_epoch=1"])
    assert find_newest(auto).resume is None
    assert "no checkpoint of the run job" in capsys.readouterr().err
    auto.logs_dir("job").mkdir(parents=True)  # as left by a kill before the first checkpoint
    first = run_training(config, find_newest(auto))
    capsys.readouterr()
    again = find_newest(replace(auto, start_stage="pretraining", partial=True))
    assert (again.resume, again.start_stage, again.partial) == (first.checkpoint, None, False)
    assert capsys.readouterr().err == f"resuming {first.checkpoint}\n"
    longer = run_training(parse_config(TINY), again)
    assert longer.last.epoch == 3
    assert longer.model == first.model


def test_a_name_whose_checkpoints_are_all_damaged_is_not_overwritten(settings):
    save(settings, "job", "PSNR_x2_checkpoint.pth", 1, age=1).write_bytes(b"damaged")
    auto = find_newest(replace(settings, name="job", resume_auto=True))
    with pytest.raises(CheckpointError, match="none of its checkpoints can be resumed"):
        run_training(parse_config(TINY), auto)


def test_checkpoints_of_other_versions_and_fields_are_named(tmp_path, settings, caplog):
    path = tmp_path / "a.pth"
    for state, words in (
        ({"format": "torch-sr-checkpoint-1"}, "its format is torch-sr-checkpoint-1, and this"),
        ({"format": "torch-sr-checkpoint-2", "run": "1"}, "the fields stage, hparams"),
        (checkpoint_state(format="torch-sr-checkpoint-2", progress=3), "progress .* type int"),
        (checkpoint_state(format="torch-sr-checkpoint-2", stage="x"), "no stage 'x'"),
    ):
        torch.save(state, path)
        with pytest.raises(CheckpointError, match=words):
            read_start(path)


@pytest.mark.parametrize("field", ["progress", "stage_state", "watch", "sums"])
def test_a_field_that_cannot_be_read_is_reported_in_one_line(settings, tmp_path, field):
    config = parse_config(TINY, overrides=["pretraining.num_epoch=1"])
    result = train_run(config, settings, run="1")
    state = torch.load(result.checkpoint, weights_only=True)
    torch.save({**state, field: {"other": 1}}, tmp_path / "a.pth")
    with pytest.raises(CheckpointError, match=r"a\.pth") as refusal:
        train_run(config, replace(settings, resume=tmp_path / "a.pth"), run="1")
    assert "\n" not in str(refusal.value)


def test_a_checkpoint_saved_again_is_resumed_with_a_warning(settings, tmp_path, caplog):
    config = parse_config(TINY)
    result = train_run(config, settings, run="1")
    torch.save(torch.load(result.checkpoint, weights_only=True), tmp_path / "again.pth")
    start = read_start(tmp_path / "again.pth")
    assert start.checkpoint["progress"]["step"] == 6
    assert "again.pth: has no hash" in caplog.text


def test_a_model_next_to_a_numbered_file_is_a_model(settings, tmp_path):
    result = train_run(parse_config(TINY), settings, run="1")
    from torch_sr.models.conversion import convert

    convert(result.model, tmp_path / "net.pth")
    (tmp_path / "net_1.pth").write_bytes(result.checkpoint.read_bytes())
    assert read_start(tmp_path / "net.pth").model is not None


def test_a_torn_line_of_the_log_is_not_continued(tmp_path):
    (tmp_path / "metrics.jsonl").write_text('{"stage": "pretr')
    logger = JSONLinesLogger(tmp_path)
    logger.on_start({"stage": "training"})
    logger.on_epoch(1, 2, {})
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert lines[1] == '{"stage": "training", "epoch": 1, "step": 2}'


def test_unknown_validation_metrics_are_refused_by_name(settings):
    for names, words in ((("psnr",), "always measured"), (("vmaf",), "choose from")):
        with pytest.raises(ConfigError, match=f"--val-metrics {names[0]}: .*{words}|{words}"):
            train_run(parse_config(TINY), replace(settings, val_metrics=names), run="1")


def test_a_metric_without_weights_is_refused_before_the_start(settings, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(settings.out_dir / "nowhere"))
    recorder = Recorder()
    with pytest.raises(TorchSRError, match=r"lpips"):
        train_run(
            parse_config(TINY),
            replace(settings, val_metrics=("lpips",)),
            run="1",
            loggers=[recorder],
        )
    assert not recorder.stages


def test_the_perceptual_loss_is_measured_on_request(settings, vgg_file):
    config = parse_config(
        TINY,
        overrides=[
            "pretraining.num_epoch=1", "perceptual_loss.vgg_type=vgg11",
            'perceptual_loss.layer_weights={"conv1_1": 1}', f"perceptual_loss.weights={vgg_file}",
        ],
    )  # fmt: skip
    plain, asked = Recorder(), Recorder()
    train_run(config, settings, run="1", loggers=[plain])
    train_run(
        config,
        replace(settings, val_metrics=("perceptual_loss",)),
        run="2",
        loggers=[asked],
    )
    assert sum("val/perceptual_loss is not measured" in text for text in plain.messages) == 1
    assert "val/perceptual_loss" not in plain.epochs[-1][2]
    assert asked.epochs[-1][2]["val/perceptual_loss"] > 0
    assert not any("not measured" in text for text in asked.messages)

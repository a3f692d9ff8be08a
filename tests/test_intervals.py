"""Intervals in epochs and steps; what a run says and returns at its end."""

from __future__ import annotations

import json
import os
import signal
from dataclasses import replace

import pytest
import torch
from training_kit import TINY, Recorder, weights_of

from torch_sr.config import parse_config
from torch_sr.errors import ConfigError
from torch_sr.training.loggers.json_lines import JSONLinesLogger
from torch_sr.training.run import train_run
from torch_sr.training.runs.checkpoints import load_checkpoint
from torch_sr.training.settings import Every, Intervals

LONGER = ["batch_size=1", "pretraining.num_epoch=2"]  # five steps an epoch


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("3", Every(3)),
        ("2 epochs", Every(2)),
        ("1 epoch", Every(1)),
        ("500 steps", Every(500, "steps")),
        (" 1Step ", Every(1, "steps")),
    ],
)
def test_intervals_are_read(text, expected):
    assert Every.parse(text) == expected
    assert Every.parse(str(expected)) == expected


@pytest.mark.parametrize("text", ["", "0", "0 steps", "-1", "1.5 epochs", "steps", "5 minutes"])
def test_what_is_no_interval_is_refused(text):
    with pytest.raises(ConfigError, match=r"500 steps|1 or more"):
        Every.parse(text)


def test_a_validation_inside_an_epoch_changes_nothing_but_the_log(settings):
    config = parse_config(TINY, overrides=LONGER)
    plain, often = Recorder(), Recorder()
    expected = weights_of(train_run(config, settings, run="1", loggers=[plain]).model)
    intervals = Intervals(
        validate=Every(2, "steps"), checkpoint=Every(3, "steps"), store_model=Every(4, "steps")
    )
    found = train_run(config, replace(settings, intervals=intervals), run="2", loggers=[often])
    assert [(epoch, step) for epoch, step, _ in often.validations] == [
        (0, 2),
        (0, 4),
        (1, 6),
        (1, 8),
    ]
    assert often.losses == plain.losses
    trained = [
        [{k: v for k, v in m.items() if k.startswith("train/")} for _, _, m in recorder.epochs]
        for recorder in (plain, often)
    ]
    assert trained[0] == trained[1]
    assert ["val/PSNR" in metrics for _, _, metrics in often.epochs] == [False, True]
    weights = weights_of(found.model)
    assert all(torch.equal(weights[key], expected[key]) for key in expected)
    models = {path.name.partition("x2_")[2] for path in settings.models_dir.glob("2_*.safetensors")}
    assert models == {f"step_{n}_model.safetensors" for n in (4, 8, 10)} | {
        "model.safetensors", "best_model.safetensors"
    }  # fmt: skip


@pytest.mark.parametrize("at_step", [1, 2, 3, 4, 5, 6])
def test_a_run_in_steps_resumes_exactly(settings, tmp_path, at_step):
    config = parse_config(TINY, overrides=LONGER)
    intervals = Intervals(validate=Every(2, "steps"), checkpoint=Every(3, "steps"))
    settings = replace(settings, intervals=intervals)
    whole = [Recorder(), JSONLinesLogger(tmp_path / "whole")]
    expected = weights_of(train_run(config, settings, run="whole", loggers=whole).model)

    def stop():
        os.kill(os.getpid(), signal.SIGTERM)

    parts = [Recorder(at_step, stop), JSONLinesLogger(tmp_path / "parts")]
    stopped = train_run(config, settings, run="parts", loggers=parts)
    assert (stopped.finished, stopped.last_model) == (False, None)
    assert load_checkpoint(stopped.checkpoint)["progress"]["step"] == at_step
    resumed = replace(settings, resume=stopped.checkpoint)
    rest = [Recorder(), JSONLinesLogger(tmp_path / "parts")]
    result = train_run(config, resumed, run="parts", loggers=rest)
    found = weights_of(result.model)
    assert all(torch.equal(found[key], expected[key]) for key in expected)
    assert parts[0].losses + rest[0].losses == whole[0].losses
    lines = [(tmp_path / name / "metrics.jsonl").read_text() for name in ("parts", "whole")]
    assert lines[0] == lines[1]
    one, other = (
        load_checkpoint(settings.models_dir / f"{name}_RRDB_PSNR_x2_best_checkpoint.pth")
        for name in ("parts", "whole")
    )
    assert one["progress"] == other["progress"]


def test_the_result_has_best_and_last_with_their_figures(settings):
    recorder = Recorder()
    result = train_run(parse_config(TINY), settings, run="1", loggers=[recorder])
    assert result.start is None  # a fresh network
    assert not recorder.validations
    assert result.last_model == settings.models_dir / "1_RRDB_PSNR_x2_model.safetensors"
    assert result.best_model == settings.models_dir / "1_RRDB_PSNR_x2_best_model.safetensors"
    assert (result.last.epoch, result.last.step) == (3, 6)
    figures = {step: (m["val/PSNR"], m["val/SSIM"]) for _, step, m in recorder.epochs}
    assert (result.last.psnr, result.last.ssim) == figures[6]
    assert (result.best.psnr, result.best.ssim) == figures[result.best.step]
    again = train_run(parse_config(TINY), replace(settings, resume=result.checkpoint), run="1")
    assert again == result


def test_a_model_is_measured_before_it_is_trained(settings, tmp_path):
    config = parse_config(TINY)
    model = train_run(config, settings, run="1")
    ruined = parse_config(TINY, overrides=["pretraining.lr=0.5", "watch.psnr_drop=null"])
    ruined = parse_config(ruined.to_dict(), overrides=["watch.color_drift=null"])
    loggers = [Recorder(), JSONLinesLogger(tmp_path)]
    result = train_run(ruined, replace(settings, resume=model.model), run="2", loggers=loggers)
    assert result.start.step == 0
    assert result.start.psnr == pytest.approx(model.last.psnr)
    assert not result.best.beats(result.start)
    (start,) = loggers[0].validations
    assert start == (0, 0, result.start.metrics)
    first = json.loads((tmp_path / "metrics.jsonl").read_text().splitlines()[-4])
    assert (first["step"], first["val/PSNR"]) == (0, result.start.psnr)


def test_the_second_stage_starts_with_the_figures_of_the_first(settings, both_stages):
    result = train_run(both_stages, settings, run="1")
    first, second = result.stages
    assert first.start is None
    assert second.start.psnr == pytest.approx(first.last.psnr)
    assert result.last == second.last

"""Trainings that go wrong are noticed, and go back or stop."""

from __future__ import annotations

import pytest
from training_kit import TINY, Recorder

from torch_sr.config import WatchConfig, parse_config
from torch_sr.errors import TrainingError
from torch_sr.evaluation.tiled_network import TiledNetwork
from torch_sr.training.loop.divergence import Divergence, DivergenceDetector
from torch_sr.training.run import train_run
from torch_sr.training.stages import PSNRStage

NAN = float("nan")


def validation(psnr, shift=0.01):
    return {"val/PSNR": psnr, "val/color_shift": shift}


def test_skipped_steps_are_borne_up_to_a_number():
    watch = DivergenceDetector(WatchConfig(max_skipped=3))
    watch.check_steps(2)
    with pytest.raises(Divergence, match="3 mini-batches in a row"):
        watch.check_steps(3)


@pytest.mark.parametrize(
    ("before", "now", "words"),
    [
        (validation(30), validation(23.9), "23.90 dB, the best was 30.00"),
        (validation(30), validation(NAN), "nan dB"),
        (validation(float("inf")), validation(30), "30.00 dB, the best was 100.00"),
        (validation(20, 0.02), validation(30, 0.08), "off by 0.080, the least was 0.020"),
        (validation(20, 0.02), validation(30, NAN), "off by nan"),
    ],
)
def test_a_collapse_is_noticed(before, now, words):
    watch = DivergenceDetector(WatchConfig())
    watch.check_validation(before)
    with pytest.raises(Divergence, match=words):
        watch.check_validation(now)


def test_what_is_no_collapse_passes():
    watch = DivergenceDetector(WatchConfig())
    for metrics in (validation(30, 0.2), validation(24.1, 0.02), validation(29, 0.06), {}):
        watch.check_validation(metrics)
    blind = DivergenceDetector(WatchConfig(psnr_drop=None, color_drift=None))
    for metrics in (validation(30), validation(NAN, NAN)):
        blind.check_validation(metrics)


def test_a_watch_goes_on_where_it_was():
    watch, other = (
        DivergenceDetector(WatchConfig(lr_factor=0.1)),
        DivergenceDetector(WatchConfig(lr_factor=0.1)),
    )
    watch.check_validation(validation(30))
    watch.rollbacks = 2
    other.load_state_dict(watch.state_dict())
    assert other.lr_scale == pytest.approx(0.01)
    with pytest.raises(Divergence):
        other.check_validation(validation(20))


@pytest.fixture
def spoil_steps(monkeypatch):
    """Make the images of some calls of the training step not finite, counted from 1."""

    def spoil(numbers):
        step, calls = PSNRStage.train_step, []

        def spoilt(self, lr, hr):
            calls.append(1)
            return step(self, lr, hr * NAN if len(calls) in numbers else hr)

        monkeypatch.setattr(PSNRStage, "train_step", spoilt)

    return spoil


def test_one_bad_step_is_skipped_and_counted(settings, spoil_steps):
    spoil_steps({3})
    recorder = Recorder()
    assert train_run(parse_config(TINY), settings, run="1", loggers=[recorder]).finished
    skipped = [metrics.get("train/skipped_steps") for _, _, metrics in recorder.epochs]
    assert skipped == [None, 1, None]
    assert all(metrics["train/content_loss"] < 1 for _, _, metrics in recorder.epochs)
    assert not [text for text in recorder.messages if "not finite" in text]


def test_after_too_many_bad_steps_the_run_goes_back(settings, spoil_steps):
    spoil_steps({4, 5})
    recorder = Recorder()
    config = parse_config(TINY, overrides=["watch.max_skipped=2"])
    assert train_run(config, settings, run="1", loggers=[recorder]).finished
    message = recorder.messages[-1]
    assert sum("rolled back" in text for text in recorder.messages) == 1
    assert message == (
        "pretraining, epoch 3, step 5: losses or gradients were not finite in 2 mini-batches in a "
        "row; rolled back to epoch 2, step 4, with the learning rates times 0.5"
    )
    assert [step for step, _ in recorder.losses] == [1, 2, 3, 4, 5, 5, 6]
    assert recorder.epochs[-1][2]["train/lr"] == pytest.approx(TINY["pretraining"]["lr"] / 2)


def test_a_run_that_goes_wrong_again_and_again_is_stopped(settings, spoil_steps):
    spoil_steps(range(3, 99))
    recorder = Recorder()
    overrides = ["watch.max_skipped=1", "watch.max_rollbacks=2", "watch.lr_factor=0.1"]
    config = parse_config(TINY, overrides=overrides)
    with pytest.raises(TrainingError, match=r"epoch 2, step 3.*stopped after 2 rollbacks") as error:
        train_run(config, settings, run="1", loggers=[recorder])
    assert "\n" not in str(error.value)
    back = [message for message in recorder.messages if "rolled back" in message]
    assert [message.rpartition(" ")[2] for message in back] == ["0.1", "0.01"]


def test_a_run_may_be_told_to_stop_at_once(settings, spoil_steps):
    spoil_steps({1})
    config = parse_config(TINY, overrides=["watch.max_skipped=1", "watch.action=stop"])
    with pytest.raises(TrainingError, match="not finite in 1 mini-batches in a row; stopped:"):
        train_run(config, settings, run="1")


def test_a_collapse_of_the_validation_goes_back(settings, monkeypatch):
    super_resolve, seen = TiledNetwork.super_resolve, []

    def collapsed(self, lr):
        sr = super_resolve(self, lr)
        seen.append(1)
        # The five images of the second epoch.
        return 0 * sr - 1 if 5 < len(seen) <= 10 else sr

    monkeypatch.setattr(TiledNetwork, "super_resolve", collapsed)
    recorder = Recorder()
    assert train_run(parse_config(TINY), settings, run="1", loggers=[recorder]).finished
    message = recorder.messages[-1]
    assert sum("rolled back" in text for text in recorder.messages) == 1
    assert "the validation" in message
    assert "rolled back to epoch 1, step 2" in message
    assert [epoch for epoch, _, _ in recorder.epochs] == [1, 2, 2, 3]

"""The progress of a training: bars on a terminal, otherwise a line per epoch."""

from __future__ import annotations

import io

import pytest
import torch
from rich.console import Console

from torch_sr.cli.train import terminal as progress_module
from torch_sr.cli.train.terminal import ConsoleLogger

RUN = {
    "stage": "pretraining", "num_epochs": 3, "num_steps": None, "steps_per_epoch": 4,
    "total_steps": 12, "steps_per_validation": 4,
    "batch_size": 8, "epoch": 0, "step": 0, "device": "cpu",
}  # fmt: skip
METRICS = {"train/content_loss": 0.25, "val/PSNR": 30.0}


@pytest.fixture
def clock(monkeypatch):
    """Seconds that pass only when they are added to."""
    now = [100.0]
    monkeypatch.setattr(progress_module.time, "monotonic", lambda: now[0])
    return now


def make_logger(clock, *, terminal):
    console = Console(
        file=io.StringIO(), force_terminal=terminal, width=100, get_time=lambda: clock[0]
    )
    logger = ConsoleLogger(console)
    logger._bars.get_time = lambda: clock[0]
    return logger, console.file


def train(logger, clock, steps, seconds=0.5):
    for step in steps:
        clock[0] += seconds
        logger.on_step((step - 1) // 4, step, {"content_loss": torch.tensor(step / 10)})


def test_without_a_terminal_a_line_per_epoch(clock):
    logger, shown = make_logger(clock, terminal=False)
    logger.on_start(RUN)
    train(logger, clock, range(1, 5))
    logger.on_epoch(1, 4, METRICS)
    logger.close()
    start, epoch = shown.getvalue().splitlines()
    assert start == "pretraining: 12 steps of 8 crops, 4 steps per epoch, on cpu"
    # Two steps a second, eight left.
    assert epoch == (
        "pretraining epoch 1/3 step 4  16.0 images/s  0:00:04 left  train/content_loss 0.25  "
        "val/PSNR 30"
    )


def test_on_a_terminal_bars_of_epoch_and_run(clock):
    logger, shown = make_logger(clock, terminal=True)
    logger.on_start(RUN)
    train(logger, clock, range(1, 7))
    logger.on_epoch(1, 4, {"train/content_loss": 0.25})  # the bar says enough
    logger.close()
    last = shown.getvalue().rpartition("epoch 2/3")[2]
    assert "2/4" in last
    assert "6/12" in last
    assert "16.0 images/s  0:00:03 left" in last
    assert "content_loss 0." in last
    assert "train/content_loss" not in shown.getvalue()


def test_losses_are_read_once_a_second_at_most(clock, monkeypatch):
    """To read one waits for the device."""
    logger, _ = make_logger(clock, terminal=True)
    read = []
    monkeypatch.setattr(torch.Tensor, "__float__", lambda self: read.append(1) or 0.0)
    logger.on_start(RUN)
    train(logger, clock, range(1, 13), seconds=0.25)
    logger.close()
    assert len(read) == 3


def test_after_a_rollback_it_counts_from_where_the_run_went_back_to(clock):
    logger, shown = make_logger(clock, terminal=False)
    logger.on_start(RUN)
    train(logger, clock, range(1, 7))
    logger.on_message("gone back [to epoch 1]")
    logger.on_start({**RUN, "epoch": 1, "step": 4})
    train(logger, clock, range(5, 9))
    logger.on_epoch(2, 8, METRICS)
    logger.close()
    _, message, again, epoch = shown.getvalue().splitlines()
    assert message == "gone back [to epoch 1]"
    assert again.endswith("on cpu; resuming after step 4")
    assert "0:00:02 left" in epoch


def test_speed_is_of_training_alone_and_validation_is_in_the_time_left(clock):
    logger, shown = make_logger(clock, terminal=False)
    logger.on_start(RUN)
    for epoch in (1, 2):
        train(logger, clock, range(4 * epoch - 3, 4 * epoch + 1))
        logger.on_activity("validate", 0, 5)
        clock[0] += 60
        logger.on_activity("validate", 5, 5)
        logger.on_activity("train", 0, 0)
        logger.on_epoch(epoch, 4 * epoch, METRICS)
    logger.close()
    lines = [line for line in shown.getvalue().splitlines() if "images/s" in line]
    assert "16.0 images/s  0:02:04 left" in lines[0]  # eight steps, two validations
    assert "16.0 images/s  0:01:02 left" in lines[1]


def test_the_duration_is_reported_after_some_timed_steps(clock):
    run = {**RUN, "num_epochs": 1000, "total_steps": 4000}
    logger, shown = make_logger(clock, terminal=False)
    logger.on_start(run)
    for epoch in range(1, 5):
        train(logger, clock, range(4 * epoch - 3, 4 * epoch + 1), seconds=3)
        logger.on_activity("validate", 0, 5)
        clock[0] += 2
        logger.on_activity("train", 0, 0)
        logger.on_epoch(epoch, 4 * epoch, METRICS)
    logger.close()
    lines = [line for line in shown.getvalue().splitlines() if "on this machine" in line]
    # 3993 steps of 3 s, and 999 validations of 2 s
    assert lines == [
        "pretraining: about 3 h 52 min left on this machine, 33 min 18 s of it for validation"
    ]


def test_a_stop_is_announced_and_a_start_shown(clock):
    logger, shown = make_logger(clock, terminal=False)
    logger.on_start(RUN)
    logger.on_validation(0, 0, {"val/PSNR": 30.0})
    logger.on_stop()
    logger.close()
    _, start, stop = shown.getvalue().splitlines()
    assert start == "pretraining start  val/PSNR 30"
    assert stop.startswith("stopping: the checkpoint is stored first; press Ctrl-C again")


def test_closing_before_the_start_is_fine(clock):
    make_logger(clock, terminal=True)[0].close()

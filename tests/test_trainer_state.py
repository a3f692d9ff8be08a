"""What is due after a step, and the state of a stage, without a training."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from lightning_fabric import Fabric

from torch_sr.config import WatchConfig
from torch_sr.training.loop.stage_schedule import StageSchedule
from torch_sr.training.loop.state import Progress, TrainerState
from torch_sr.training.runs.result import Scores
from torch_sr.training.settings import Every, Intervals, StageLimits

STEPS_PER_EPOCH = 5


def after(step):
    """The progress after a number of mini-batches."""
    return Progress(step // STEPS_PER_EPOCH, step % STEPS_PER_EPOCH, step)


def schedule_of(epochs=4, steps=None, *, has_validation=True, **intervals):
    return StageSchedule(
        StageLimits(epochs, steps), Intervals(**intervals), STEPS_PER_EPOCH, has_validation
    )


def steps_with(needs):
    return [step for step in range(21) if needs(after(step))]


@pytest.mark.parametrize(
    ("every", "limit", "due"),
    [
        (Every(1), None, [5, 10, 15, 20]),
        (Every(3), None, [15, 20]),
        (Every(7, "steps"), None, [7, 14, 20]),
        (Every(5, "steps"), None, [5, 10, 15, 20]),
        (Every(99), None, [20]),
        (Every(1), 15, [5, 10, 15, 20]),
    ],
)
def test_everything_is_due_at_its_intervals_and_at_the_end(every, limit, due):
    schedule = schedule_of(steps=limit, checkpoint=every, validate=every, store_model=every)
    assert steps_with(schedule.needs_checkpoint) == due
    assert steps_with(schedule.needs_validation) == due
    assert steps_with(schedule.needs_model) == due
    assert steps_with(schedule.needs_anything) == due


def test_a_limit_inside_an_epoch_ends_the_stage():
    in_steps = schedule_of(steps=12, checkpoint=Every(10, "steps"))
    assert [step for step in range(13) if in_steps.is_over(after(step))] == [12]
    assert in_steps.needs_checkpoint(after(12))
    assert not in_steps.needs_validation(after(12))  # it waits for the end of the epoch
    assert in_steps.needs_validation(replace(after(12), epoch=3, batch=0))


def test_without_validation_images_no_validation_is_due():
    schedule = schedule_of(has_validation=False, validate=Every(2, "steps"), checkpoint=Every(99))
    assert not steps_with(schedule.needs_validation)
    assert steps_with(schedule.needs_anything) == [20]
    assert schedule.steps_per_validation is None
    assert schedule_of(validate=Every(2)).steps_per_validation == 10


def test_images_are_due_once_in_an_interval():
    schedule = schedule_of(images=Every(7, "steps"))
    shown, at = [], 0
    for step in range(0, 20, 2):
        if schedule.needs_images(after(step), at):
            shown.append(step)
            at = step
    assert shown == [0, 8, 14]
    assert schedule.needs_images(after(20), 20)


def test_a_best_model_is_stored_after_its_warm_up():
    assert steps_with(schedule_of().allows_best)[0] == 1
    assert steps_with(schedule_of(best_warmup=2).allows_best)[0] == 11


def test_models_are_named_after_the_unit_of_their_interval():
    assert schedule_of(store_model=Every(500, "steps")).model_name(after(10)) == "step_10"
    assert schedule_of(store_model=Every(1)).model_name(after(10)) == "epoch_2"


@pytest.fixture
def state():
    fabric = Fabric(accelerator="cpu", devices=1)
    return TrainerState(fabric, WatchConfig(), validation_due=True)


def validated(psnr, ssim):
    return {"val/PSNR": psnr, "val/SSIM": ssim, "val/color_shift": 0.0}


def train_epoch(state, *losses):
    for loss in losses:
        state.count_step({"content_loss": torch.tensor(loss)}, torch.tensor(0.0))
    state.close_epoch({"lr": 0.1})


def test_a_validation_before_the_first_step_scores_the_start(state):
    state.add_validation(validated(20, 0.5))
    assert not state.validation_due
    assert state.start == Scores(0, 0, validated(20, 0.5))
    assert state.scores() is None


def test_an_epoch_has_its_mean_losses_and_the_latest_validation(state):
    train_epoch(state, 1.0, 3.0)
    assert state.metrics == {"train/content_loss": 2.0, "train/lr": 0.1}
    state.add_validation(validated(20, 0.5))
    state.add_validation(validated(21, 0.6))
    assert state.metrics == {"train/content_loss": 2.0, "train/lr": 0.1, **validated(21, 0.6)}
    assert state.scores() == Scores(1, 2, validated(21, 0.6))
    train_epoch(state, 1.0)
    assert state.metrics == {"train/content_loss": 1.0, "train/lr": 0.1}
    assert state.scores() is None


def test_the_best_is_better_in_both_metrics(state):
    found = []
    for psnr, ssim in ((20, 0.5), (21, 0.5), (20, 0.6), (21, 0.6), (float("nan"), 0.7)):
        train_epoch(state, 1.0)
        state.add_validation(validated(psnr, ssim))
        found.append(state.mark_best())
    assert found == [True, False, False, True, False]
    assert state.best == Scores(4, 4, validated(21, 0.6))
    assert (state.progress.best_psnr, state.progress.best_ssim) == (21, 0.6)


def test_the_state_is_restored_exactly(state):
    state.add_validation(validated(20, 0.5))
    train_epoch(state, 1.0)
    state.add_validation(validated(21, 0.6))
    state.mark_best()
    state.watch.rollbacks, state.shown_at, state.validation_due = 2, 1, True
    state.count_step({"content_loss": torch.tensor(5.0)}, torch.tensor(0.0))
    stored = state.state_dict()
    other = TrainerState(Fabric(accelerator="cpu", devices=1), WatchConfig())
    other.load_state_dict(stored)
    assert other.state_dict() == stored
    assert other.sums.means() == {"content_loss": 5.0}


def test_fields_that_older_checkpoints_do_not_have_get_their_defaults(state):
    stored = state.state_dict()
    for name in ("start", "best", "validates", "shown_at"):
        del stored[name]
    state.load_state_dict(stored)
    assert (state.start, state.best, state.validation_due, state.shown_at) == (None, None, False, 0)

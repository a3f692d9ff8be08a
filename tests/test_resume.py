"""A killed run ends with exactly the same weights; what cannot be resumed is refused."""

from __future__ import annotations

import multiprocessing
import os
import shlex
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from training_kit import (
    TINY,
    Recorder,
    checkpoint_state,
    make_both_stages,
    make_settings,
    weights_of,
)

from torch_sr.config import parse_config
from torch_sr.errors import CheckpointError
from torch_sr.training.loggers.base import Logger
from torch_sr.training.run import train_run
from torch_sr.training.runs.checkpoints import (
    load_checkpoint,
    load_last_good,
    load_newest,
    save_checkpoint,
)
from torch_sr.training.runs.starting_point import read_start
from torch_sr.training.settings import Intervals


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[key], expected[key]) for key in expected)


@pytest.mark.parametrize("at_step", [1, 2, 3, 5])
def test_interrupted_run_ends_at_the_very_same_weights(settings, whole_run, at_step):
    config = parse_config(TINY, overrides=["pretraining.scheduler=cosine"])
    whole = whole_run(config)
    interrupt = Recorder(at_step, lambda: os.kill(os.getpid(), signal.SIGTERM))
    stopped = train_run(config, settings, run="stopped", loggers=[interrupt])
    assert not stopped.finished
    assert interrupt.losses[-1][0] == at_step
    resumed = replace(settings, resume=stopped.checkpoint)
    assert read_start(stopped.checkpoint).checkpoint["run"] == "stopped"
    rest = Recorder()
    model = train_run(config, resumed, run="stopped", loggers=[rest]).model

    assert interrupt.losses + rest.losses == whole.losses
    assert interrupt.epochs + rest.epochs == whole.epochs
    assert_same(weights_of(model), whole.weights)


@pytest.mark.parametrize("at_step", [2, 3])
def test_another_optimizer_with_weight_decay_is_resumed_exactly(settings, whole_run, at_step):
    overrides = ["pretraining.optimizer=adamw", "pretraining.weight_decay=0.1"]
    config = parse_config(TINY, overrides=overrides)
    expected = whole_run(config).weights
    interrupt = Recorder(at_step, lambda: os.kill(os.getpid(), signal.SIGTERM))
    stopped = train_run(config, settings, run="stopped", loggers=[interrupt])
    resumed = replace(settings, resume=stopped.checkpoint)
    assert_same(weights_of(train_run(config, resumed, run="stopped").model), expected)
    plain = whole_run(parse_config(TINY)).weights
    assert not all(torch.equal(plain[key], expected[key]) for key in expected)


def test_a_changed_optimizer_is_accepted_and_reported(settings):
    first = parse_config(TINY, overrides=["pretraining.num_epoch=1"])
    checkpoint = train_run(first, settings, run="1").checkpoint
    results = []
    for decay in ("0", "0.5"):
        overrides = ["pretraining.optimizer=adamw", f"pretraining.weight_decay={decay}"]
        recorder, resumed = Recorder(), replace(settings, resume=checkpoint)
        kept = checkpoint.read_bytes()
        config = parse_config(TINY, overrides=overrides)
        results.append(weights_of(train_run(config, resumed, run="1", loggers=[recorder]).model))
        checkpoint.write_bytes(kept)
        message = "changed since the checkpoint: pretraining.optimizer: adam, now adamw"
        assert message in recorder.messages
    assert not torch.equal(results[0]["conv_first.weight"], results[1]["conv_first.weight"])


def test_a_model_is_a_starting_point(settings):
    config = parse_config(TINY)
    model = train_run(config, settings, run="1").model
    again = replace(settings, resume=model)
    recorder = Recorder()
    train_run(config, again, run="2", loggers=[recorder])
    assert recorder.losses[0][0] == 1
    fresh = Recorder()
    train_run(config, settings, run="3", loggers=[fresh])
    assert recorder.losses[0][1] < fresh.losses[0][1]


def test_checkpoint_serves_as_model_by_its_average(settings):
    result = train_run(parse_config(TINY), settings, run="1")
    from_checkpoint, from_model = weights_of(result.checkpoint), weights_of(result.model)
    assert all(torch.equal(from_checkpoint[key], from_model[key]) for key in from_model)


def test_checkpoints_that_do_not_fit_are_refused(settings, tmp_path):
    result = train_run(parse_config(TINY), settings, run="1")
    again = replace(settings, resume=result.checkpoint)
    wider = parse_config(TINY, overrides=["generator.rrdb_channels=8"])
    with pytest.raises(CheckpointError, match="rrdb_channels"):
        train_run(wider, again, run="1")
    cut = tmp_path / "cut.pth"
    cut.write_bytes(result.checkpoint.read_bytes()[:5000])
    for path, words in (
        (cut, "truncated"),
        (tmp_path / "none.pth", "no such"),
        (result.model, "checkpoint"),
    ):
        with pytest.raises(CheckpointError, match=words):
            load_checkpoint(path)


def test_a_checkpoint_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "a.pth"
    save_checkpoint(path, checkpoint_state(value=1))

    def broken(state, file):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", broken)
    with pytest.raises(CheckpointError, match="the disk is full"):
        save_checkpoint(path, checkpoint_state(value=2))
    assert [file.name for file in tmp_path.iterdir()] == ["a.pth"]
    assert load_checkpoint(path)["value"] == 1


@pytest.mark.parametrize("at_step", [1, 4, 5, 6, 7])
def test_interrupted_anywhere_both_stages_end_at_the_same_weights(
    settings, both_stages, whole_run, at_step
):
    whole = whole_run(both_stages)
    interrupt = Recorder(at_step, lambda: os.kill(os.getpid(), signal.SIGTERM))
    stopped = train_run(both_stages, settings, run="stopped", loggers=[interrupt])
    assert not stopped.finished
    resumed = replace(settings, resume=stopped.checkpoint)
    rest = Recorder()
    found = weights_of(train_run(both_stages, resumed, run="stopped", loggers=[rest]).model)
    assert interrupt.losses + rest.losses == whole.losses
    assert interrupt.epochs + rest.epochs == whole.epochs
    assert_same(found, whole.weights)


def test_finished_pretraining_starts_the_gan_stage(settings, both_stages):
    whole = Recorder()
    expected = weights_of(train_run(both_stages, settings, run="1", loggers=[whole]).model)
    model = settings.models_dir / "1_RRDB_PSNR_x2_model.safetensors"
    again = replace(settings, resume=model)
    alone = Recorder()
    found = weights_of(train_run(both_stages, again, run="2", loggers=[alone]).model)
    assert alone.losses == whole.losses[4:]
    assert all(torch.equal(found[key], expected[key]) for key in expected)


def test_a_flipped_bit_is_detected_and_the_previous_checkpoint_is_used(tmp_path, caplog):
    path = tmp_path / "checkpoint.pth"
    for value in range(4):
        save_checkpoint(
            path, checkpoint_state(value=value, tensor=torch.full((1000,), value)), keep=2
        )
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        "checkpoint.pth", "checkpoint_1.pth", "checkpoint_2.pth"
    ]  # fmt: skip
    assert load_newest(path)["value"] == 3
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="hash is wrong"):
        load_checkpoint(path)
    assert load_newest(path)["value"] == 2
    assert "checkpoint_1.pth" in caplog.text
    alone = tmp_path / "alone" / "checkpoint.pth"
    alone.parent.mkdir()
    alone.write_bytes(content)
    with pytest.raises(CheckpointError, match="hash is wrong"):  # it is not taken for a model
        load_newest(alone)
    path.unlink()  # as when the power fails between two renames
    (tmp_path / "checkpoint_1.pth").write_bytes(b"")
    assert load_newest(path)["value"] == 1


# Imports PyTorch once; every process that a test kills is forked from it.
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["torch_sr.training.run"])


def train_until_killed(config, settings, moment):
    """Train in a process that dies at a moment, as by a power failure."""
    if moment.startswith("save"):
        torch.save = dying_save(torch.save, int(moment.removeprefix("save ")))
    train_run(config, settings, run="killed", loggers=[Killer(moment)])


class Killer(Logger):
    """Die at a step, counted over both stages, or between the stages."""

    def __init__(self, moment):
        self.steps, self.moment = 0, moment

    def on_start(self, run):
        if self.moment == "boundary" and run["stage"] == "training":
            die()

    def on_step(self, epoch, step, losses):
        self.steps += 1
        if self.moment == f"step {self.steps}":
            die()


def dying_save(save, at_call):
    """``torch.save``, except that one call writes half of the file and dies."""
    calls = []

    def half(state, file):
        calls.append(file)
        save(state, file)
        if len(calls) == at_call:
            Path(file).write_bytes(Path(file).read_bytes()[:1000])
            die()

    return half


def die():
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("moment", "num_workers", "stage"),
    [
        ("step 1", 0, "PSNR"),
        ("step 3", 2, "PSNR"),
        ("save 2", 0, "PSNR"),
        ("save 3", 0, "PSNR"),
        ("boundary", 0, "PSNR"),
        ("step 5", 0, "ESRGAN"),
        ("step 7", 2, "ESRGAN"),
    ],
)
def test_killed_at_any_moment_it_ends_at_the_very_same_weights(
    settings, both_stages, whole_run, moment, num_workers, stage
):
    arguments = (both_stages, replace(settings, num_workers=num_workers), moment)
    process = FORKS.Process(target=train_until_killed, args=arguments)
    process.start()
    process.join(timeout=100)
    assert process.exitcode == -signal.SIGKILL
    checkpoint = settings.models_dir / f"killed_RRDB_{stage}_x2_checkpoint.pth"
    found = weights_of(
        train_run(both_stages, replace(settings, resume=checkpoint), run="killed").model
    )
    assert_same(found, whole_run(both_stages).weights)


def test_changes_since_the_checkpoint_are_reported(settings, both_stages):
    result = train_run(both_stages, settings, run="1")
    overrides = ["training.g_lr=3e-5", "training.num_epoch=3", "perceptual_loss.criterion=l2"]
    recorder = Recorder()
    longer = parse_config(both_stages.to_dict(), overrides=overrides)
    train_run(longer, replace(settings, resume=result.checkpoint), run="1", loggers=[recorder])
    assert sorted(recorder.messages) == [
        "changed since the checkpoint: perceptual_loss.criterion: l1, now l2",
        "changed since the checkpoint: training.g_lr: 0.0001, now 3e-05",
        "changed since the checkpoint: training.num_epoch: 2, now 3",
    ]
    assert [epoch for epoch, _, _ in recorder.epochs] == [3]
    assert recorder.epochs[0][2]["train/g_lr"] == 3e-5 / 2


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("scale_factor=4", "scale_factor: 2, now 4"),
        ("generator.num_basic_blocks=2", "generator.num_basic_blocks: 1, now 2"),
        ("training.ema_decay=0", "training.ema_decay"),
        ("training.cr_patch_size=[24, 24]", "training.cr_patch_size"),
        ("discriminator.kind=unet", "discriminator.kind: vgg, now unet"),
        ("training.num_epoch=0", "set training.num_epoch above 0"),
    ],
)
def test_a_change_that_makes_no_sense_is_refused(
    settings, both_stages, finished_run, override, words
):
    changed = parse_config(both_stages.to_dict(), overrides=[override])
    with pytest.raises(CheckpointError, match=words) as refusal:
        train_run(changed, replace(settings, resume=finished_run), run="1")
    assert "\n" not in str(refusal.value)


@pytest.fixture(scope="module")
def finished_run(data_root, vgg_file, tmp_path_factory):
    """The last checkpoint of a run of both stages."""
    settings = make_settings(data_root, tmp_path_factory.mktemp("finished"))
    return train_run(make_both_stages(vgg_file), settings, run="1").checkpoint


def test_changes_that_do_not_fit_come_with_the_options_that_undo_them(
    settings, both_stages, finished_run
):
    overrides = ["training.cr_patch_size=24,24", "generator.num_basic_blocks=2", "batch_size=1"]
    changed = parse_config(both_stages.to_dict(), overrides=overrides)
    with pytest.raises(CheckpointError) as caught:
        read_start(finished_run).check(changed)
    message = str(caught.value).removeprefix(f"{finished_run}: add ")
    fixes = shlex.split(message.partition(" to resume")[0])
    assert fixes[::2] == ["--set", "--set"]
    assert "batch_size" not in message
    undone = parse_config(changed.to_dict(), overrides=fixes[1::2])
    assert read_start(finished_run).check(undone) == ["batch_size: 2, now 1"]


def test_other_samples_inside_an_epoch_are_refused(settings):
    config = parse_config(TINY)
    interrupt = Recorder(1, lambda: os.kill(os.getpid(), signal.SIGTERM))
    stopped = train_run(config, settings, run="1", loggers=[interrupt])
    resumed = replace(settings, resume=stopped.checkpoint)
    for override, words in (
        ("seed=4", "seed: 3, now 4"),
        ("batch_size=1", "batch_size x processes: 2, now 1"),
    ):
        with pytest.raises(CheckpointError, match=words):
            train_run(parse_config(TINY, overrides=[override]), resumed, run="1")
    assert train_run(config, resumed, run="1").finished


def test_between_epochs_the_batch_may_change(settings):
    stopped = train_run(
        parse_config(TINY, overrides=["pretraining.num_epoch=1"]), settings, run="1"
    )
    smaller = parse_config(TINY, overrides=["batch_size=1"])
    recorder = Recorder()
    train_run(smaller, replace(settings, resume=stopped.checkpoint), run="1", loggers=[recorder])
    assert [step for step, _ in recorder.losses] == [*range(3, 13)]


def test_a_checkpoint_from_before_there_were_degradations_is_resumed(settings):
    config = parse_config(TINY)
    interrupt = Recorder(2, lambda: os.kill(os.getpid(), signal.SIGTERM))
    stopped = train_run(config, settings, run="1", loggers=[interrupt])
    checkpoint = load_checkpoint(stopped.checkpoint)
    del checkpoint["hparams"]["degradation"]
    save_checkpoint(stopped.checkpoint, checkpoint)
    start = read_start(stopped.checkpoint)
    assert start.check(config) == []
    overrides = ["degradation.probability=0.5", 'degradation.first.blur.kernels={"iso":1}']
    probability, kernels = start.check(parse_config(TINY, overrides=overrides))
    assert probability == "degradation.probability: 0.0, now 0.5"
    assert kernels.startswith("degradation.first.blur.kernels: {'iso': 0.45, ")
    assert kernels.endswith(", now {'iso': 1.0}")
    resumed = Recorder()
    train_run(config, replace(settings, resume=stopped.checkpoint), run="1", loggers=[resumed])
    assert [step for step, _ in resumed.losses] == [3, 4, 5, 6]


@pytest.mark.parametrize("stage", ["pretraining", "training"])
def test_a_checkpoint_of_the_original_project_starts_its_stage(
    settings, both_stages, whole_run, tmp_path, stage
):
    path = tmp_path / "original.pth"
    torch.save(
        {
            "epoch_i": 7,
            "stage": stage,
            "g_model_state_dict": whole_run(both_stages).weights,
            "hparams": {"batch_size": 16},
        },
        path,
    )
    recorder = Recorder()
    train_run(both_stages, replace(settings, resume=path), run="1", loggers=[recorder])
    assert recorder.stages[0] == stage


def test_older_checkpoints_are_kept_as_configured(settings):
    intervals = Intervals(keep_checkpoints=2)
    train_run(parse_config(TINY), replace(settings, intervals=intervals), run="1")
    epochs = {
        path.name.partition("x2_")[2]: load_checkpoint(path)["progress"]["epoch"]
        for path in settings.models_dir.glob("*_x2_checkpoint*.pth")
    }
    assert epochs == {"checkpoint.pth": 3, "checkpoint_1.pth": 2, "checkpoint_2.pth": 1}


def test_the_last_good_checkpoint_is_found(tmp_path):
    path, best = tmp_path / "checkpoint.pth", tmp_path / "best.pth"
    with pytest.raises(CheckpointError, match="no checkpoint to roll back to"):
        load_last_good(path, best)
    save_checkpoint(best, checkpoint_state(value=0, good=True))
    for value in (1, 2):
        save_checkpoint(path, checkpoint_state(value=value, good=False), keep=1)
    assert load_last_good(path, best)["value"] == 0
    best.write_bytes(b"")
    assert load_last_good(path, best)["value"] == 2
    save_checkpoint(path, checkpoint_state(value=3, good=True), keep=1)
    save_checkpoint(path, checkpoint_state(value=4, good=False), keep=1)
    assert load_last_good(path, best)["value"] == 3

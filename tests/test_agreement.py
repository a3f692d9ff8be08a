"""Processes that do not agree on what they train are refused, all of them."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from training_kit import TINY, Recorder, checkpoint_state, weights_of

from torch_sr.config import parse_config
from torch_sr.data.crops.random_crops import RandomCrops
from torch_sr.errors import CheckpointError, ConfigError, DataError, TrainingError
from torch_sr.training import agreement
from torch_sr.training.agreement import check_same_images, check_same_run, share_start
from torch_sr.training.launch import explain_lost_process
from torch_sr.training.run import train_run
from torch_sr.training.runs.checkpoints import load_checkpoint, save_checkpoint
from torch_sr.training.runs.starting_point import StartingPoint
from torch_sr.training.settings import Every, Intervals, RunSettings


@pytest.fixture
def agree(monkeypatch):
    """Let two processes call a function, each with its own arguments: the results of both."""

    def agree(function, *both):
        seen = []

        def gather(gathered, mine):
            seen.append(mine)
            gathered[:] = seen if len(seen) == 2 else [mine, mine]

        monkeypatch.setattr(agreement.socket, "gethostname", lambda: f"host{len(seen)}")
        monkeypatch.setattr(torch.distributed, "all_gather_object", gather)
        sent = []
        for rank, arguments in enumerate(both):
            fabric = SimpleNamespace(
                world_size=2,
                is_global_zero=rank == 0,
                broadcast=lambda value: sent.append(value) or sent[0],
            )
            result = function(fabric, *arguments)
        return result

    return agree


def start_at(step, run="1", stage="pretraining", path="a.pth"):
    return StartingPoint(
        Path(path), checkpoint=checkpoint_state(run=run, stage=stage, progress={"step": step})
    )


def test_equal_processes_are_accepted(agree):
    config = parse_config(TINY)
    agree(check_same_run, (config, RunSettings()), (config, RunSettings(out_dir=Path("other"))))


@pytest.mark.parametrize(
    ("overrides", "settings", "words"),
    [
        (["pretraining.lr=0.5"], {}, "pretraining.lr is 0.5 in process 1 on host1, and 0.001"),
        ([], {"precision": "bf16"}, "--precision is bf16 in process 1"),
        ([], {"accumulate": 2}, "--accumulate is 2 in process 1"),
        ([], {"intervals": Intervals(validate=Every(3))}, "intervals is "),
    ],
)
def test_processes_with_other_options_are_refused(agree, overrides, settings, words):
    first = parse_config(TINY), RunSettings()
    other = parse_config(TINY, overrides=overrides), RunSettings(**settings)
    with pytest.raises(ConfigError, match=words):
        agree(check_same_run, first, other)


@pytest.mark.parametrize("other", [StartingPoint(), start_at(3, path="b.pth"), start_at(4)])
def test_all_processes_resume_the_checkpoint_of_the_first(agree, other):
    first = start_at(4)
    assert agree(share_start, (first,), (other,)) == first


def test_a_start_that_is_not_a_checkpoint_is_kept(agree):
    own = StartingPoint(partial=True)
    assert agree(share_start, (StartingPoint(),), (own,)) is own


@pytest.mark.parametrize(
    ("first", "other", "found"),
    [
        (StartingPoint(), start_at(4), "process 0 found no checkpoint"),
        (start_at(2), start_at(4), "found step 4 of pretraining of the run 1 .a.pth., and process"),
        (start_at(9), start_at(4, stage="training"), "process 0 found step 9 of pretraining"),
        (start_at(4), start_at(2, run="2"), "of the run 2"),
    ],
)
def test_a_newer_checkpoint_on_another_machine_is_not_lost(agree, first, other, found):
    with pytest.raises(CheckpointError, match=found):
        agree(share_start, (first,), (other,))


def images(names, fingerprint="a"):
    crops = object.__new__(RandomCrops)
    crops.pairs = type("Pairs", (), {"names": names, "__len__": lambda self: len(names)})()
    loader = SimpleNamespace(dataset=crops)
    return SimpleNamespace(loader=loader, notes={"data": {"fingerprint": fingerprint}})


@pytest.mark.parametrize(
    ("other", "words"),
    [
        ({"training": images("ab")}, "trains the stages training, and process 0 pretraining"),
        ({"pretraining": images("abc")}, "has 3 images .*process 0 has 2 images"),
        ({"pretraining": images("ba")}, "pretraining.train_datasets: copy the same files"),
        ({"pretraining": images("ab", "b")}, "pretraining.train_datasets: copy the same files"),
    ],
)
def test_processes_with_other_images_are_refused(agree, other, words):
    first = {"pretraining": images("ab")}
    agree(check_same_images, (first,), (first,))
    with pytest.raises(DataError, match=words):
        agree(check_same_images, (first,), (other,))


def test_one_process_agrees_with_itself():
    fabric = SimpleNamespace(world_size=1)
    start = start_at(1)
    assert share_start(fabric, start) is start
    check_same_run(fabric, parse_config(TINY), RunSettings())


def test_a_lost_process_is_explained():
    text = "[/src/gloo/transport/tcp/pair.cc:561] Connection closed by peer [10.0.0.1]:7\nframe #0"
    shown = r"reached \(Connection closed by peer .10.0.0.1.:7\)"
    with pytest.raises(TrainingError, match=shown), explain_lost_process():
        raise RuntimeError(text)
    with pytest.raises(RuntimeError, match="shapes"), explain_lost_process():
        raise RuntimeError("shapes differ")


def test_an_epoch_is_finished_by_another_number_of_processes(settings, whole_run):
    config = parse_config(TINY)
    interrupt = Recorder(1, lambda: os.kill(os.getpid(), signal.SIGTERM))
    checkpoint = train_run(config, settings, run="1", loggers=[interrupt]).checkpoint
    state = load_checkpoint(checkpoint)
    assert state["progress"]["batch"] == 1
    halves = {"batch_size": 1, "processes": 2}
    save_checkpoint(checkpoint, {**state, "samples": {**state["samples"], **halves}})
    found = weights_of(train_run(config, replace(settings, resume=checkpoint), run="1").model)
    expected = whole_run(config).weights
    assert all(torch.equal(found[key], expected[key]) for key in expected)
    halves = {"batch_size": 2, "processes": 2}
    save_checkpoint(checkpoint, {**state, "samples": {**state["samples"], **halves}})
    with pytest.raises(CheckpointError, match="batch_size x processes: 4, now 2"):
        train_run(config, replace(settings, resume=checkpoint), run="1")

"""The checkpoints and models of a stage: when they replace each other, and what they contain."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from lightning_fabric import Fabric
from training_kit import TINY, weights_of

from torch_sr.config import parse_config
from torch_sr.data.crops.sampler import EpochSampler
from torch_sr.errors import CheckpointError
from torch_sr.training.building import build_generator, build_stage
from torch_sr.training.context import RunContext
from torch_sr.training.loop.state import TrainerState
from torch_sr.training.loop.store import StageStore
from torch_sr.training.runs.checkpoints import load_checkpoint
from torch_sr.training.settings import RunSettings
from torch_sr.training.signals import Stop

KEYS = {
    "format", "run", "stage", "epoch_i", "hparams", "model_state_dict", "params_ema",
    "stage_state", "progress", "metrics", "start", "best", "validates", "shown_at", "notes", "sums",
    "watch", "samples", "scaler", "random", "good",
}  # fmt: skip


@pytest.fixture
def make_store(tmp_path):
    """Make stores of the same files, each with a network and state of its own."""

    def make(seed=3):
        config = parse_config(TINY, overrides=[f"seed={seed}"])
        fabric = Fabric(accelerator="cpu", devices=1)
        context = RunContext("1", fabric, config, RunSettings(out_dir=tmp_path, device="cpu"))
        generator = build_generator(config)
        stage = build_stage(
            "pretraining", context, generator=generator, perceptual=None, total_steps=6
        )
        data = SimpleNamespace(sampler=EpochSampler(5, seed, 2), notes={"license": "MIT"})
        state, stop = TrainerState(fabric, config.watch), Stop()
        store = StageStore(context, stage, data, state, stop)
        return SimpleNamespace(store=store, stage=stage, state=state, stop=stop)

    return make


def steps_on_disk(store):
    """The steps of the newest checkpoint and of the older ones."""
    path = store.checkpoint_file
    older = sorted(path.parent.glob(f"{path.stem}_*.pth"))
    return [load_checkpoint(file)["progress"]["step"] for file in (path, *older)]


def at_step(parts, step, *, validation_due=False):
    parts.state.progress.step, parts.state.validation_due = step, validation_due


def test_a_checkpoint_has_the_fields_that_other_versions_read(make_store):
    parts = make_store()
    parts.store.save_checkpoint(good=True)
    found = load_checkpoint(parts.store.checkpoint_file)
    assert found.keys() == KEYS
    assert (found["run"], found["stage"], found["good"]) == ("1", "pretraining", True)
    assert found["samples"] == {"images": 5, "seed": 3, "batch_size": 2, "processes": 1}


def test_a_checkpoint_after_its_validation_replaces_the_one_before_it(make_store):
    parts = make_store()
    at_step(parts, 2)
    parts.store.save_checkpoint(good=True)
    at_step(parts, 4, validation_due=True)
    parts.store.save_checkpoint()
    assert parts.store.awaits_validation
    assert steps_on_disk(parts.store) == [4, 2]
    at_step(parts, 4)
    parts.store.save_checkpoint(good=True)
    assert not parts.store.awaits_validation
    assert steps_on_disk(parts.store) == [4, 2]
    assert load_checkpoint(parts.store.checkpoint_file)["good"]


def test_a_checkpoint_whose_validation_failed_is_withdrawn(make_store):
    parts = make_store()
    at_step(parts, 2)
    parts.store.save_checkpoint(good=True)
    parts.store.withdraw_unvalidated()
    assert steps_on_disk(parts.store) == [2]
    at_step(parts, 4, validation_due=True)
    parts.store.save_checkpoint()
    parts.store.withdraw_unvalidated()
    assert steps_on_disk(parts.store) == [2]


def test_a_stop_stores_a_checkpoint_only_once(make_store):
    parts = make_store()
    for step, expected in ((1, [1]), (1, [1]), (2, [2, 1])):
        at_step(parts, step)
        parts.store.save_checkpoint_if_newer()
        assert steps_on_disk(parts.store) == expected


def test_a_second_request_to_stop_waits_for_the_whole_checkpoint(make_store, monkeypatch):
    parts, save = make_store(), torch.save

    def interrupted(state, file):
        parts.stop.request()
        parts.stop.request()
        save(state, file)

    monkeypatch.setattr(torch, "save", interrupted)
    with pytest.raises(KeyboardInterrupt):
        parts.store.save_checkpoint()
    assert steps_on_disk(parts.store) == [0]


def test_weights_and_state_are_restored(make_store):
    parts, other = make_store(), make_store(seed=4)
    at_step(parts, 4, validation_due=True)
    parts.store.save_checkpoint()
    other.store.restore(load_checkpoint(parts.store.checkpoint_file))
    assert other.state.progress.step == 4
    assert other.state.validation_due
    assert other.store.awaits_validation
    expected = parts.stage.generator.state_dict()
    found = other.stage.generator.state_dict()
    assert all(torch.equal(found[key], expected[key]) for key in expected)


def test_inside_an_epoch_other_samples_are_refused(make_store):
    parts = make_store()
    parts.state.progress.batch = 1
    parts.store.save_checkpoint()
    with pytest.raises(CheckpointError, match=r"finish epoch 1 .*\(seed: 3, now 4\)"):
        make_store(seed=4).store.restore(load_checkpoint(parts.store.checkpoint_file))


def test_a_rollback_restores_the_newest_good_checkpoint(make_store):
    parts = make_store()
    for step, good in ((2, True), (4, False)):
        at_step(parts, step)
        parts.store.save_checkpoint(good=good)
    parts.store.restore_last_good()
    assert parts.state.progress.step == 2


def test_models_are_stored_under_their_names(make_store):
    parts = make_store()
    parts.store.save_last_model()
    parts.store.save_numbered_model("step_4")
    parts.store.save_best(good=True)
    names = {path.name for path in parts.store.last_model.parent.iterdir()}
    assert names == {
        f"1_RRDB_PSNR_x2_{name}"
        for name in (
            "model.safetensors", "step_4_model.safetensors", "best_model.safetensors",
            "best_checkpoint.pth",
        )
    }  # fmt: skip
    found, expected = weights_of(parts.store.best_model), parts.stage.evaluated.state_dict()
    assert all(torch.equal(found[key], expected[key]) for key in expected)

"""A run that is interrupted or killed ends at the very same weights; what cannot go on is refused."""

from __future__ import annotations

import pytest


@pytest.mark.parametrize("at_step", [1, 2, 3, 5])
def test_interrupted_run_ends_at_the_very_same_weights(settings, at_step):
    config = parse_config(TINY, overrides=["pretraining.scheduler=cosine"])
    whole = Recorder()
    expected = weights_of(train(config, settings, run="whole", loggers=[whole]).model)

    interrupt = Recorder(at_step, lambda: os.kill(os.getpid(), signal.SIGTERM))
    stopped = train(config, settings, run="stopped", loggers=[interrupt])
    assert not stopped.finished
    assert interrupt.losses[-1][0] == at_step
    resumed = RunSettings(**{**vars(settings), "resume": stopped.checkpoint})
    assert read_start(stopped.checkpoint).checkpoint["run"] == "stopped"
    rest = Recorder()
    model = train(config, resumed, run="stopped", loggers=[rest]).model

    assert interrupt.losses + rest.losses == whole.losses
    assert interrupt.epochs + rest.epochs == whole.epochs
    found = weights_of(model)
    assert all(torch.equal(found[key], expected[key]) for key in expected)


def test_a_model_is_a_starting_point(settings):
    config = parse_config(TINY)
    model = train(config, settings, run="1").model
    again = RunSettings(**{**vars(settings), "resume": model})
    recorder = Recorder()
    train(config, again, run="2", loggers=[recorder])
    assert recorder.losses[0][0] == 1
    fresh = Recorder()
    train(config, settings, run="3", loggers=[fresh])
    assert recorder.losses[0][1] < fresh.losses[0][1]


def test_checkpoint_serves_as_model_by_its_average(settings):
    result = train(parse_config(TINY), settings, run="1")
    from_checkpoint, from_model = weights_of(result.checkpoint), weights_of(result.model)
    assert all(torch.equal(from_checkpoint[key], from_model[key]) for key in from_model)


def test_checkpoints_that_do_not_fit_are_refused(settings, tmp_path):
    result = train(parse_config(TINY), settings, run="1")
    again = RunSettings(**{**vars(settings), "resume": result.checkpoint})
    wider = parse_config(TINY, overrides=["generator.rrdb_channels=8"])
    with pytest.raises(CheckpointError, match="rrdb_channels"):
        train(wider, again, run="1")
    cut = tmp_path / "cut.pth"
    cut.write_bytes(result.checkpoint.read_bytes()[:5000])
    for path, words in (
        (cut, "cut short"),
        (tmp_path / "none.pth", "no such"),
        (result.model, "checkpoint"),
    ):
        with pytest.raises(CheckpointError, match=words):
            load_checkpoint(path)


def test_a_checkpoint_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "a.pth"
    save_checkpoint(path, {"value": 1})

    def broken(state, file):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", broken)
    with pytest.raises(CheckpointError, match="No space left"):
        save_checkpoint(path, {"value": 2})
    assert [file.name for file in tmp_path.iterdir()] == ["a.pth"]
    assert load_checkpoint(path)["value"] == 1


@pytest.mark.parametrize("at_step", [1, 4, 5, 6, 7])
def test_interrupted_anywhere_both_stages_end_at_the_same_weights(settings, both_stages, at_step):
    whole = Recorder()
    expected = weights_of(train(both_stages, settings, run="whole", loggers=[whole]).model)
    interrupt = Recorder(at_step, lambda: os.kill(os.getpid(), signal.SIGTERM))
    stopped = train(both_stages, settings, run="stopped", loggers=[interrupt])
    assert not stopped.finished
    resumed = RunSettings(**{**vars(settings), "resume": stopped.checkpoint})
    rest = Recorder()
    found = weights_of(train(both_stages, resumed, run="stopped", loggers=[rest]).model)
    assert interrupt.losses + rest.losses == whole.losses
    assert interrupt.epochs + rest.epochs == whole.epochs
    assert all(torch.equal(found[key], expected[key]) for key in expected)


def test_finished_pretraining_starts_the_gan_stage(settings, both_stages):
    whole = Recorder()
    expected = weights_of(train(both_stages, settings, run="1", loggers=[whole]).model)
    model = settings.models_dir / "1_RRDB_PSNR_x2_model.safetensors"
    again = RunSettings(**{**vars(settings), "resume": model})
    alone = Recorder()
    found = weights_of(train(both_stages, again, run="2", loggers=[alone]).model)
    assert alone.losses == whole.losses[4:]
    assert all(torch.equal(found[key], expected[key]) for key in expected)


def test_a_flipped_bit_is_noticed_and_the_one_before_serves(tmp_path, caplog):
    path = tmp_path / "checkpoint.pth"
    for value in range(4):
        save_checkpoint(path, {"value": value, "tensor": torch.full((1000,), value)}, keep=2)
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


KILLED = """
import os, signal, sys
from torch_sr.config import load_config
from torch_sr.training.loggers import Logger
from torch_sr.training.run import train
from torch_sr.training.settings import RunSettings
from pathlib import Path
config, root, out, moment = sys.argv[1:]

class Killer(Logger):
    steps = 0
    def on_step(self, epoch, step, losses):
        Killer.steps += 1
        if moment == str(Killer.steps):
            os.kill(os.getpid(), signal.SIGKILL)

if moment == "saving":
    import torch
    save, calls = torch.save, []
    def half(state, file):
        calls.append(1)
        save(state, file)
        if len(calls) == 3:
            Path(file).write_bytes(Path(file).read_bytes()[:1000])
            os.kill(os.getpid(), signal.SIGKILL)
    torch.save = half
settings = RunSettings(Path(root), Path(out), device="cpu", cache_dir=Path(root, "cache"))
train(load_config(config), settings, run="killed", loggers=[Killer()])
"""


@pytest.mark.parametrize("moment", ["3", "7", "saving"])
def test_killed_at_any_moment_it_ends_at_the_very_same_weights(
    settings, both_stages, tmp_path, moment
):
    expected = weights_of(train(both_stages, settings, run="whole").model)
    (tmp_path / "config.json").write_text(both_stages.to_json())
    arguments = [tmp_path / "config.json", settings.data_root, settings.out_dir, moment]
    killed = subprocess.run([sys.executable, "-c", KILLED, *map(str, arguments)], check=False)
    assert killed.returncode == -signal.SIGKILL
    stage = "ESRGAN" if moment == "7" else "PSNR"
    checkpoint = settings.models_dir / f"killed_RRDB_{stage}_x2_checkpoint.pth"
    resumed = RunSettings(**{**vars(settings), "resume": checkpoint})
    found = weights_of(train(both_stages, resumed, run="killed").model)
    assert all(torch.equal(found[key], expected[key]) for key in expected)

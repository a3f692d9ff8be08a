"""Models from training checkpoints."""

from __future__ import annotations

import json

import pytest
import torch
from training_kit import TINY, weights_of

from torch_sr.config import parse_config
from torch_sr.errors import CheckpointError, ModelError
from torch_sr.models.reading import read_model
from torch_sr.networks.rrdb import RRDBNet
from torch_sr.training.run import train_run
from torch_sr.training.runs.checkpoints import load_checkpoint
from torch_sr.training.runs.export import extract_model


def test_a_checkpoint_becomes_the_model_of_its_epoch(run, settings, tmp_path, monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "86400")  # they are written one after the other
    result = train_run(parse_config(TINY), settings, run="1")
    out = tmp_path / "models" / "a.safetensors"
    assert run("models", "extract", result.checkpoint, out)[:2] == (0, f"{out}\n")
    stored, extracted = read_model(result.model), read_model(out)
    assert extracted.info.metadata == stored.info.metadata
    assert result.model.read_bytes() == out.read_bytes()
    assert json.loads(extracted.info.metadata["data"])["images"] == 5
    assert extracted.info.stage == "pretraining"
    assert json.loads(extracted.info.metadata["metrics"])["val/PSNR"] > 5
    for name, weight in weights_of(out).items():
        assert torch.equal(weight, weights_of(result.model)[name])


def test_raw_takes_the_weights_in_training(settings, tmp_path):
    checkpoint = train_run(parse_config(TINY), settings, run="1").checkpoint
    extract_model(checkpoint, tmp_path / "raw.pth", raw=True)
    trained = load_checkpoint(checkpoint)["model_state_dict"]
    found = weights_of(tmp_path / "raw.pth")
    assert all(torch.equal(found[name], trained[name]) for name in trained)
    assert not torch.equal(
        found["conv_first.weight"], load_checkpoint(checkpoint)["params_ema"]["conv_first.weight"]
    )


def test_a_checkpoint_of_the_original_project(tmp_path):
    network = RRDBNet(2, 3, 4, 2, 1)
    path, out = tmp_path / "original.pth", tmp_path / "out.pth"
    state = {f"module.{name}": weight for name, weight in network.state_dict().items()}
    torch.save({"epoch_i": 7, "stage": "training", "g_model_state_dict": state}, path)
    extract_model(path, out)
    found = read_model(out)
    assert found.info.stage == "training"
    for name, weight in network.state_dict().items():
        assert torch.equal(found.network.state_dict()[name], weight)
    with pytest.raises(CheckpointError, match="not a checkpoint of torch-sr"):
        extract_model(path, out, raw=True)


def test_other_files_are_refused(tmp_path):
    (tmp_path / "a.pth").write_bytes(b"nothing")
    with pytest.raises(ModelError, match=r"a\.pth"):
        extract_model(tmp_path / "a.pth", tmp_path / "b.pth")
    assert not (tmp_path / "b.pth").exists()


def test_the_checkpoint_is_not_replaced(tmp_path):
    checkpoint = tmp_path / "a.pth"
    checkpoint.write_bytes(b"weeks of training")
    with pytest.raises(CheckpointError, match=r"a\.pth is the source; give another name"):
        extract_model(checkpoint, checkpoint)
    assert checkpoint.read_bytes() == b"weeks of training"

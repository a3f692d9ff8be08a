"""The records of a model: complete, correct, and changed without changing its parameters."""

from __future__ import annotations

import datetime
import hashlib
import json
import os

import numpy as np
import pytest
import torch

from torch_sr.errors import ModelError
from torch_sr.models.conversion import convert
from torch_sr.models.files.records import annotate, append_results, common_license, weights_sha256
from torch_sr.models.files.writing import save_generator
from torch_sr.models.inspection import verify_model
from torch_sr.models.reading import read_model
from torch_sr.networks.rrdb import RRDBNet


@pytest.fixture(params=["a.safetensors", "a.pth"])
def model(tmp_path, request):
    torch.manual_seed(0)
    network = RRDBNet(rrdb_channels=8, growth_channels=4, num_basic_blocks=1)
    save_generator(tmp_path / request.param, network, metadata={"name": "mine", "steps": 3})
    return tmp_path / request.param


def records(path):
    return read_model(path).info.metadata


def test_every_model_says_where_it_comes_from(model):
    found = records(model)
    assert found["version"]
    assert found["license"] == "unstated"
    assert (found["name"], found["steps"]) == ("mine", "3")
    age = datetime.datetime.now(datetime.timezone.utc) - datetime.datetime.fromisoformat(
        found["date"]
    )
    assert abs(age) < datetime.timedelta(minutes=5)


def test_dates_can_be_fixed(tmp_path, monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "86400")
    network = RRDBNet(rrdb_channels=4, growth_channels=2, num_basic_blocks=1)
    for name in ("a.safetensors", "b.safetensors"):
        save_generator(tmp_path / name, network)
    assert records(tmp_path / "a.safetensors")["date"] == "1970-01-02T00:00:00+00:00"
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()


def test_the_hash_is_that_of_the_parameters(model):
    expected = hashlib.sha256()
    state = read_model(model).network.state_dict()
    for name in sorted(state):
        array = state[name].numpy()
        expected.update(f"{name} torch.{array.dtype} {array.shape}\n".encode())
        expected.update(np.ascontiguousarray(array).tobytes())
    assert records(model)["weights_sha256"] == expected.hexdigest()


def test_the_hash_sees_names_types_and_shapes():
    base = {"a": torch.zeros(4), "b": torch.ones(2)}
    others = [
        {"a": torch.zeros(4), "c": torch.ones(2)},
        {"a": torch.zeros(2, 2), "b": torch.ones(2)},
        {"a": torch.zeros(4, dtype=torch.int32), "b": torch.ones(2)},
        {"a": torch.zeros(4), "b": torch.ones(2).nextafter(torch.tensor(2.0))},
    ]
    found = {weights_sha256(state) for state in (base, *others)}
    assert len(found) == 5
    assert weights_sha256({"b": torch.ones(2), "a": torch.zeros(4)}) in found


def test_the_hash_is_the_same_in_all_layouts_and_half_precision(tmp_path):
    network = RRDBNet(rrdb_channels=8, growth_channels=4, num_basic_blocks=1)
    save_generator(tmp_path / "a.safetensors", network, dtype=torch.bfloat16)
    expected = records(tmp_path / "a.safetensors")["weights_sha256"]
    for layout in ("old", "mid", "new", "enhanced-srgan"):
        there = convert(tmp_path / "a.safetensors", tmp_path / f"{layout}.pth", layout=layout)
        assert read_model(there).weights_sha256 == expected


def test_annotations_change_only_records(model):
    before = read_model(model)
    annotate(model, {"license": "CC-BY-4.0", "name": None, "author": "Zoë", "numbers": [1, 2]})
    after = read_model(model)
    assert after.info.metadata["license"] == "CC-BY-4.0"
    assert after.info.metadata["author"] == "Zoë"
    assert json.loads(after.info.metadata["numbers"]) == [1, 2]
    assert "name" not in after.info.metadata
    assert after.info.metadata["date"] == before.info.metadata["date"]
    assert after.info.config == before.info.config
    for key, value in before.network.state_dict().items():
        assert torch.equal(after.network.state_dict()[key], value)
    verify_model(model)
    assert [file.name for file in model.parent.iterdir()] == [model.name]


def test_the_former_spelling_of_license_is_read_and_replaced(tmp_path):
    network = RRDBNet(rrdb_channels=4, growth_channels=2, num_basic_blocks=1)
    save_generator(tmp_path / "a.safetensors", network, metadata={"licence": "MIT"})
    assert records(tmp_path / "a.safetensors")["license"] == "MIT"  # as of an older checkpoint
    old = {"params_ema": network.state_dict(), "metadata": {"licence": "MIT", "name": "x"}}
    torch.save(old, tmp_path / "b.pth")
    assert records(tmp_path / "b.pth") == {"license": "MIT", "name": "x"}
    annotate(tmp_path / "b.pth", {"license": "CC0-1.0"})
    content = torch.load(tmp_path / "b.pth", weights_only=True)
    assert content["metadata"] == {"license": "CC0-1.0", "name": "x"}


def test_results_are_added_to_earlier_ones(model):
    append_results(model, {"set5 x4": {"psnr": 30.1234567}})
    append_results(model, {"set14 x4": {"psnr": 27.0}})
    append_results(model, {"set5 x4": {"psnr": 31.0}})
    expected = {"set5 x4": {"psnr": 31.0}, "set14 x4": {"psnr": 27.0}}
    assert json.loads(records(model)["results"]) == expected


def test_files_without_a_place_for_records(tmp_path):
    network = RRDBNet(rrdb_channels=4, growth_channels=2, num_basic_blocks=1)
    save_generator(tmp_path / "old.pth", network, layout="old")
    before = (tmp_path / "old.pth").read_bytes()
    with pytest.raises(ModelError, match="no place for records"):
        annotate(tmp_path / "old.pth", {"name": "x"})
    with pytest.raises(ModelError, match="does not exist"):
        annotate(tmp_path / "none.pth", {"name": "x"})
    (tmp_path / "text.pth").write_text("no weights")
    with pytest.raises(ModelError, match="text"):
        annotate(tmp_path / "text.pth", {"name": "x"})
    assert (tmp_path / "old.pth").read_bytes() == before
    torch.save(network.state_dict(), tmp_path / "a.pth", _use_new_zipfile_serialization=False)
    with pytest.raises(ModelError, match="no place for records"):
        annotate(tmp_path / "a.pth", {"name": "x"})
    content = {"params": network.state_dict(), "metadata": {}, "psnr": np.float64(30)}
    torch.save(content, tmp_path / "numpy.pth")
    with pytest.raises(ModelError, match="no place for records"):
        annotate(tmp_path / "numpy.pth", {"name": "x"})


def test_invalid_results_are_replaced(model):
    annotate(model, {"results": "[1, 2"})
    append_results(model, {"set5 x4": {"psnr": 31.0}})
    annotate(model, {"results": [1, 2]})
    append_results(model, {"set5 x4": {"psnr": 31.0}})
    assert json.loads(records(model)["results"]) == {"set5 x4": {"psnr": 31.0}}


@pytest.mark.skipif(getattr(os, "geteuid", int)() == 0, reason="root may write anywhere")
def test_a_read_only_folder(model):
    before = model.read_bytes()
    model.parent.chmod(0o500)
    try:
        with pytest.raises(ModelError, match="cannot be written"):
            annotate(model, {"name": "x"})
    finally:
        model.parent.chmod(0o700)
    assert model.read_bytes() == before


def test_changed_parameters_are_noticed(tmp_path):
    network = RRDBNet(rrdb_channels=8, growth_channels=4, num_basic_blocks=1)
    path = tmp_path / "a.safetensors"
    save_generator(path, network)
    verify_model(path)
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(data)
    with pytest.raises(ModelError, match="damaged or was changed"):
        verify_model(path)


def test_licenses_of_mixtures():
    assert common_license([]) == "unstated"
    assert common_license([None, None]) == "unstated"
    assert common_license(["MIT", "Apache-2.0", "MIT"]) == "MIT and Apache-2.0"

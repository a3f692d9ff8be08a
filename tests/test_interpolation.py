"""Network interpolation against NumPy, and from file to file."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from torch_sr.errors import ModelError
from torch_sr.models.interpolation import interpolate, interpolate_files
from torch_sr.models.loading import load_generator
from torch_sr.models.rrdb import RRDBNet
from torch_sr.models.saving import save_generator

TINY = {"rrdb_channels": 8, "growth_channels": 4, "num_basic_blocks": 1}


def tiny(seed, **hparams):
    torch.manual_seed(seed)
    return RRDBNet(**TINY | hparams).eval()


@pytest.fixture
def parents(tmp_path):
    psnr, esrgan = tmp_path / "psnr.pth", tmp_path / "esrgan.safetensors"
    save_generator(psnr, tiny(1), stage="pretraining")
    save_generator(esrgan, tiny(2), stage="training")
    return psnr, esrgan


@pytest.mark.parametrize("alpha", [0.0, 0.1, 0.5, 0.8, 1.0])
def test_equals_numpy(alpha):
    psnr, esrgan = tiny(1).state_dict(), tiny(2).state_dict()
    mixed = interpolate(psnr, esrgan, alpha)
    assert list(mixed) == list(psnr)
    for key, value in mixed.items():
        first, second = psnr[key].numpy(), esrgan[key].numpy()
        expected = np.float32(1 - alpha) * first + np.float32(alpha) * second
        np.testing.assert_allclose(value.numpy(), expected, rtol=1e-6, atol=1e-8)


def test_ends_are_exact_and_inputs_untouched():
    psnr, esrgan = tiny(1).state_dict(), tiny(2).state_dict()
    before = {key: value.clone() for key, value in psnr.items()}
    for alpha, parent in ((0, psnr), (1, esrgan)):
        mixed = interpolate(psnr, esrgan, alpha)
        assert all(torch.equal(mixed[key], parent[key]) for key in parent)
        next(iter(mixed.values())).zero_()
    assert all(torch.equal(psnr[key], before[key]) for key in before)


def test_half_precision_is_mixed_in_float32():
    mixed = interpolate({"w": torch.ones(1).half()}, {"w": torch.ones(1).half() * 1.001}, 0.5)
    assert mixed["w"].dtype == torch.float32
    assert 1 < mixed["w"].item() < 1.001


@pytest.mark.parametrize("alpha", [-0.01, 1.01, float("nan"), float("inf")])
def test_alpha_out_of_range_is_refused(alpha, tmp_path):
    with pytest.raises(ModelError, match="alpha is"):
        interpolate({}, {}, alpha)
    with pytest.raises(ModelError, match="alpha is"):
        interpolate_files("missing", "missing", alpha, tmp_path / "out.pth")


def test_differences_are_named():
    one = {"a": torch.zeros(2), "b": torch.zeros(2)}
    with pytest.raises(ModelError, match="only one of the two networks has b"):
        interpolate(one, {"a": torch.zeros(2)}, 0.5)
    with pytest.raises(ModelError, match=r"b has the shape \(2,\) in one network and \(3,\)"):
        interpolate(one, {"a": torch.zeros(2), "b": torch.zeros(3)}, 0.5)


@pytest.mark.parametrize("name", ["out.pth", "out.safetensors"])
def test_files_of_different_layouts(parents, tmp_path, name):
    interpolate_files(*parents, 0.25, tmp_path / name)
    loaded = load_generator(tmp_path / name)
    expected = interpolate(tiny(1).state_dict(), tiny(2).state_dict(), 0.25)
    found = loaded.network.state_dict()
    assert all(torch.equal(found[key], expected[key]) for key in expected)
    assert loaded.info.stage == "interpolation"
    assert loaded.info.metadata["alpha"] == "0.25"
    assert json.loads(loaded.info.metadata["parents"]) == {
        "psnr": "psnr.pth",
        "esrgan": "esrgan.safetensors",
    }


def test_the_result_may_replace_a_parent(parents):
    interpolate_files(*parents, 1.0, parents[0])
    found = load_generator(parents[0]).network.state_dict()
    assert all(torch.equal(found[k], v) for k, v in tiny(2).state_dict().items())


@pytest.mark.parametrize("other", [{"residual_scaling": 0.1}, {"scale_factor": 2}])
def test_unlike_networks_are_refused(parents, tmp_path, other):
    save_generator(tmp_path / "other.pth", tiny(3, **other))
    with pytest.raises(ModelError, match=next(iter(other))):
        interpolate_files(parents[0], tmp_path / "other.pth", 0.5, tmp_path / "out.pth")
    assert not (tmp_path / "out.pth").exists()

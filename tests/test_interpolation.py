"""Network interpolation against NumPy, and from file to file."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from torch_sr.cli.interpolate.options import SweepOptions
from torch_sr.cli.interpolate.run import write_sweep
from torch_sr.errors import ModelError
from torch_sr.images import Image, read_image, write_image
from torch_sr.models.files.records import weights_sha256
from torch_sr.models.files.writing import save_generator
from torch_sr.models.interpolation import (
    interpolate,
    mix,
    mix_states,
    parse_alphas,
)
from torch_sr.models.reading import read_model
from torch_sr.networks.rrdb import RRDBNet

TINY = {"rrdb_channels": 8, "growth_channels": 4, "num_basic_blocks": 1}


def tiny(seed, **hparams):
    torch.manual_seed(seed)
    return RRDBNet(**TINY | hparams).eval()


@pytest.fixture
def parents(tmp_path):
    psnr, esrgan = tmp_path / "psnr.pth", tmp_path / "esrgan.safetensors"
    save_generator(psnr, tiny(1), stage="pretraining", metadata={"license": "MIT"})
    save_generator(esrgan, tiny(2), stage="training")
    return psnr, esrgan


@pytest.mark.parametrize("alpha", [0.0, 0.1, 0.5, 0.8, 1.0])
def test_equals_numpy_in_every_element(alpha):
    mixed = interpolate(tiny(1), tiny(2), alpha).network.state_dict()
    psnr, esrgan = tiny(1).state_dict(), tiny(2).state_dict()
    assert list(mixed) == list(psnr)
    for key, value in mixed.items():
        first, second = psnr[key].numpy(), esrgan[key].numpy()
        expected = np.float32(1 - alpha) * first + np.float32(alpha) * second
        np.testing.assert_allclose(value.numpy(), expected, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("weights", [[0.3, 0.7], [0.9, 0.1], [1 / 3, 2 / 3], [0.2, 0.5, 0.3]])
def test_every_bit_is_that_of_pytorch(weights):
    states = [tiny(n).state_dict() for n in range(len(weights))]
    mixed = mix_states([{k: v.numpy() for k, v in state.items()} for state in states], weights)
    for key, value in mixed.items():
        expected = states[0][key] * weights[0]
        for state, weight in zip(states[1:], weights[1:], strict=True):
            expected = expected + state[key] * weight
        assert torch.equal(torch.from_numpy(value), expected)


def test_ends_are_exact_and_inputs_untouched():
    psnr, esrgan = tiny(1), tiny(2)
    for alpha, parent in ((0, psnr), (1, esrgan)):
        mixed = interpolate(psnr, esrgan, alpha).network.state_dict()
        assert all(torch.equal(mixed[k], v) for k, v in parent.state_dict().items())
        next(iter(mixed.values())).zero_()
    assert all(torch.equal(psnr.state_dict()[k], v) for k, v in tiny(1).state_dict().items())


def test_ends_are_exact_if_the_other_network_is_not_finite():
    huge = {"w": np.array([3e38], np.float32)}
    mixed = mix_states([huge, {"w": np.array([np.inf], np.float32)}], [1.0, 0.0])
    np.testing.assert_array_equal(mixed["w"], huge["w"])  # 0 * inf would be NaN


def test_half_precision_is_mixed_in_float32():
    half = [{"w": np.ones(1, np.float16)}, {"w": np.array([1.001], np.float16)}]
    mixed = mix_states(half, [0.5, 0.5])
    assert mixed["w"].dtype == np.float32
    assert 1 < mixed["w"].item() < 1.001


@pytest.mark.parametrize("alpha", [-0.01, 1.01, float("nan"), float("inf")])
def test_alpha_out_of_range_is_refused(alpha):
    with pytest.raises(ModelError, match="alpha is"):
        interpolate(tiny(1), tiny(2), alpha)
    with pytest.raises(ModelError, match="alpha is"):
        interpolate("missing", "missing", alpha)


def test_differences_are_named():
    one = {"a": np.zeros(2), "b": np.zeros(2)}
    with pytest.raises(ModelError, match="only one of the networks has b"):
        mix_states([one, {"a": np.zeros(2)}], [0.5, 0.5])
    with pytest.raises(ModelError, match=r"b has the shape \(2,\) in one network and \(3,\)"):
        mix_states([one, {"a": np.zeros(2), "b": np.zeros(3)}], [0.5, 0.5])
    with pytest.raises(ModelError, match=r"rrdb_channels is 8 in model 1 and 4 in model 2"):
        interpolate(tiny(1), tiny(2, rrdb_channels=4), 0.5)


def test_a_soup_equals_numpy():
    weights = [0.5, 0.3, 0.2]
    mixed = mix([tiny(n) for n in range(3)], weights).network.state_dict()
    states = [tiny(n).state_dict() for n in range(3)]
    for key, value in mixed.items():
        expected = np.average([s[key].numpy() for s in states], axis=0, weights=weights)
        np.testing.assert_allclose(value.numpy(), expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        ([0.5, 0.3], "3 models and 2 weights"),
        ([0.5, 0.3, 0.3], "add up to 1.1"),
        ([1.5, -0.3, -0.2], "between 0 and 1"),
        ([float("nan"), 0.5, 0.5], "between 0 and 1"),
    ],
)
def test_weights_of_a_soup_are_checked(weights, words):
    with pytest.raises(ModelError, match=words):
        mix([tiny(n) for n in range(3)], weights)


@pytest.mark.parametrize("name", ["out.pth", "out.safetensors"])
def test_files_of_different_layouts(parents, tmp_path, name):
    interpolate(*parents, 0.25).save(tmp_path / name)
    loaded = read_model(tmp_path / name)
    expected = interpolate(tiny(1), tiny(2), 0.25).network.state_dict()
    found = loaded.network.state_dict()
    assert all(torch.equal(found[key], expected[key]) for key in expected)
    assert loaded.info.stage == "interpolation"
    assert loaded.info.metadata["alpha"] == "0.25"
    assert json.loads(loaded.info.metadata["parents"]) == [
        {"name": name, "weight": weight, "weights_sha256": weights_sha256(tiny(n).state_dict())}
        for name, weight, n in (("psnr", 0.75, 1), ("esrgan", 0.25, 2))
    ]
    assert loaded.info.metadata["license"] == "MIT and unstated"


def test_the_result_may_replace_a_parent(parents):
    interpolate(*parents, 1.0).save(parents[0])
    found = read_model(parents[0]).network.state_dict()
    assert all(torch.equal(found[k], v) for k, v in tiny(2).state_dict().items())


@pytest.mark.parametrize("other", [{"residual_scaling": 0.1}, {"scale_factor": 2}])
def test_different_networks_are_refused(parents, tmp_path, other):
    save_generator(tmp_path / "other.pth", tiny(3, **other))
    with pytest.raises(ModelError, match=next(iter(other))):
        interpolate(parents[0], tmp_path / "other.pth", 0.5)
    assert not (tmp_path / "out.pth").exists()


@pytest.mark.parametrize(
    ("text", "alphas"),
    [
        ("0.8", [0.8]),
        ("0:1:0.5", [0.0, 0.5, 1.0]),
        ("0:1:0.1", [round(n / 10, 1) for n in range(11)]),
        ("1:0:-0.5", [1.0, 0.5, 0.0]),
        ("0.2:0.3:0.1", [0.2, 0.3]),
    ],
)
def test_alphas_and_sweeps(text, alphas):
    assert parse_alphas(text) == alphas


@pytest.mark.parametrize(
    "text", ["", "x", "0:1", "0:1:0", "0:1:-0.1", "0:1:0.3", "0:2:0.5", "nan", "-0.1", "0:1:1e-9"]
)
def test_invalid_sweeps_are_refused(text):
    with pytest.raises(ModelError, match="alpha is"):
        parse_alphas(text)


def test_a_sweep_of_files_and_its_strip(parents, tmp_path, capsys):
    rng = np.random.default_rng(0)
    write_image(tmp_path / "a.png", Image(rng.integers(0, 256, (30, 40, 3), dtype=np.uint8)))
    write_sweep(
        list(map(str, parents)),
        "0:1:0.25",
        tmp_path / "m.safetensors",
        SweepOptions(preview=tmp_path / "a.png", image_space=True),
        device="cpu",
    )
    printed = capsys.readouterr().out.split()
    names = ["m_0", "m_0.25", "m_0.5", "m_0.75", "m_1"]
    assert [line.rpartition("/")[2] for line in printed] == [
        *(f"{name}.safetensors" for name in names),
        "m_preview.png",
    ]
    ends = [read_model(tmp_path / f"{name}.safetensors").network for name in ("m_0", "m_1")]
    for end, parent in zip(ends, parents, strict=True):
        for key, value in read_model(parent).network.state_dict().items():
            assert torch.equal(end.state_dict()[key], value)
    strip = read_image(tmp_path / "m_preview.png").color
    assert strip.shape[1] > 6 * 256
    assert strip.shape[0] > 2 * 256  # networks, and images mixed

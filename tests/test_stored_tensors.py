"""Weights files and models without PyTorch: stored numbers, hyper-parameters, lazy networks."""

from __future__ import annotations

import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import torch_sr
from torch_sr import Model, ModelError, RRDBNet
from torch_sr.models.files.reading import load_state
from torch_sr.models.files.tensors import as_stored
from torch_sr.models.network_weights import find_weights, infer_compact
from torch_sr.models.reading import read_model
from torch_sr.networks.configs import CompactConfig

TYPES = [
    torch.float64,
    torch.float32,
    torch.float16,
    torch.bfloat16,
    torch.float8_e4m3fn,
    torch.float8_e5m2,
    torch.int64,
    torch.int32,
    torch.int16,
    torch.int8,
    torch.uint8,
    torch.uint16,
    torch.bool,
    torch.complex64,
]
SPECIAL = [0.0, -0.0, 1.0, -2.5, 1e-3, 3.14159, 300.0, float("nan"), float("inf")]


def tiny(seed=0, **options):
    torch.manual_seed(seed)
    sizes = {"rrdb_channels": 8, "growth_channels": 4, "num_basic_blocks": 1}
    return RRDBNet(**sizes | options).eval()


def compact(**options):
    made = pytest.importorskip("spandrel.architectures.Compact").Compact
    return made(**{"num_feat": 8, "num_conv": 2, "upscale": 2, **options}).eval()


def tensors_of(dtype):
    whole = not (dtype.is_floating_point or dtype.is_complex)
    numbers = torch.tensor([0, 1, 100] if whole else SPECIAL).to(dtype)
    shapes = {"scalar": numbers[1].clone(), "empty": numbers[:0].reshape(0, 3)}
    return {"row": numbers, "box": numbers.reshape(1, -1, 1).clone(), **shapes}


def _bits(tensor):
    return tensor.clone().untyped_storage().tolist()


@pytest.mark.parametrize("dtype", TYPES, ids=str)
@pytest.mark.parametrize("name", ["a.safetensors", "a.pth"])
def test_every_type_is_read_as_pytorch_reads_it(tmp_path, dtype, name):
    path, state = tmp_path / name, tensors_of(dtype)
    if path.suffix == ".pth":
        torch.save(state, path)
    else:
        save_file(state, path)
        state = load_file(path)
    found = load_state(path)
    assert found.tensors.keys() == state.keys()
    for key, value in state.items():
        stored = found.tensors[key]
        assert (f"torch.{stored.dtype}", stored.shape) == (str(value.dtype), tuple(value.shape))
        again = found.to_torch()[key]
        assert (again.dtype, again.shape) == (value.dtype, value.shape)
        assert _bits(again) == _bits(value)
        if dtype.is_floating_point:
            expected = value.float().numpy()
            np.testing.assert_array_equal(stored.to_float32(), expected)
            assert stored.is_floating_point


def test_views_and_parameters_are_stored_as_they_look():
    base = torch.arange(12.0).reshape(3, 4)
    np.testing.assert_array_equal(as_stored(base.T).data, base.T.numpy())
    np.testing.assert_array_equal(as_stored(torch.nn.Parameter(base)).data, base.numpy())
    imaginary = torch.tensor([1 + 2j]).conj()
    assert as_stored(imaginary).data[0] == 1 - 2j


def test_sub_byte_types_are_refused(tmp_path):
    header = b'{"w":{"dtype":"F4","shape":[2],"data_offsets":[0,1]}}'
    (tmp_path / "a.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + b"\0")
    with pytest.raises(ModelError, match=r"w as F4|truncated or damaged"):
        load_state(tmp_path / "a.safetensors")


NO_TORCH = """
import sys
import torch_sr
named = [("compact-x4", None), ("compact-x4", 0.7)]
for name, strength in (*named, ({path!r}, None), ({half!r}, None)):
    model = torch_sr.load(name, strength=strength)
    assert model.weights is not None
    assert len(model.weights_sha256) == 64
    repr(model), model.info.to_dict(), model.scale_factor, model.img_channels
torch_sr.interpolate("compact-x4", "compact-x4-real", 0.25)
torch_sr.Model, torch_sr.ModelInfo, torch_sr.RRDBConfig
print(*sys.modules)
"""


def test_models_are_loaded_and_mixed_without_pytorch(tmp_path):
    path, half = (tmp_path / name for name in ("full.safetensors", "half.safetensors"))
    Model.from_network(tiny()).save(path)
    save_file(compact(num_conv=1).bfloat16().state_dict(), half)
    code = NO_TORCH.format(path=str(path), half=str(half))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    packages = {name.partition(".")[0] for name in done.stdout.split()}
    assert "numpy" in packages
    assert not packages & {"torch", "spandrel", "cv2", "scipy", "torchvision"}


@pytest.mark.parametrize("name", ["compact-x4", "compact-x4-real"])
def test_the_network_that_is_built_has_the_parameters_of_the_file(name):
    model = torch_sr.load(name)
    expected = load_file(model.info.path)
    before = model.weights.parameters
    assert list(before) == list(model.network.state_dict())
    for key, value in model.network.state_dict().items():
        assert torch.equal(value, expected[key].float())
        np.testing.assert_array_equal(before[key], value)
    assert not model.network.training


def test_a_network_that_is_built_in_inference_mode_can_be_trained():
    with torch.inference_mode():
        network = torch_sr.load("compact-x4").network
    assert all(value.requires_grad for value in network.parameters())
    network(torch.rand(1, 3, 8, 8)).mean().backward()
    assert network.conv_first.weight.grad is not None


def test_the_weights_are_those_of_the_network_once_it_is_built():
    model = torch_sr.load("compact-x4")
    before = model.weights.parameters["conv_first.bias"].copy()
    with torch.no_grad():
        model.network.conv_first.bias += 1
    np.testing.assert_allclose(model.weights.parameters["conv_first.bias"], before + 1)
    assert model.to(dtype=torch.float16).weights is None


def test_a_model_can_be_pickled_before_and_after_its_network_is_built():
    model = torch_sr.load("compact-x4")
    for _ in range(2):
        again = pickle.loads(pickle.dumps(model))
        assert again.info == model.info
        assert again.weights_sha256 == model.weights_sha256
        assert model.network is not None


class _Sharpening(RRDBNet):
    def forward(self, lr):
        return super().forward(lr) * 1.1


def _with_hook():
    network = tiny()
    network.body[0].register_forward_hook(lambda module, inputs, output: output * 2)
    return network


def _with_other_activation():
    network = tiny()
    network.conv_hr = torch.nn.Sequential(network.conv_hr)
    return network


@pytest.mark.parametrize(
    "make",
    [
        lambda: _Sharpening(rrdb_channels=8, growth_channels=4, num_basic_blocks=1),
        _with_hook,
        _with_other_activation,
        lambda: tiny().half(),
        lambda: tiny().to("meta"),
        lambda: torch.nn.Upsample(scale_factor=2),
    ],
)
def test_changed_and_other_networks_have_no_weights(make):
    assert find_weights(make()) is None


def test_a_compact_network_is_recognized_without_spandrel(tmp_path):
    for options in ({}, {"num_in_ch": 1, "num_out_ch": 1, "upscale": 4}, {"num_conv": 0}):
        network = compact(**options)
        save_file(network.state_dict(), tmp_path / "a.safetensors")
        model = read_model(tmp_path / "a.safetensors")
        channels = options.get("num_in_ch", 3)
        expected = CompactConfig(options.get("upscale", 2), channels, 8, options.get("num_conv", 2))
        assert model.weights.config == expected
        assert (model.info.architecture, model.info.config) == ("RealESRGAN Compact", None)
        lr = torch.rand(1, channels, 7, 9)
        torch.testing.assert_close(model(lr), network(lr).clamp(0, 1).detach(), rtol=0, atol=0)
        assert model.weights.config == expected  # of the network that is built now


@pytest.mark.parametrize(
    "change",
    [
        {"body.1.weight": torch.zeros(1)},  # one slope for all channels
        {"body.2.weight": torch.zeros(8, 8, 1, 1)},
        {"body.6.weight": torch.zeros(13, 8, 3, 3), "body.6.bias": torch.zeros(13)},
        {"body.0.weight": torch.zeros(8)},
        {"more.weight": torch.zeros(1)},
    ],
)
def test_what_resembles_a_compact_network_is_not_taken_for_one(change):
    assert infer_compact({**compact().state_dict(), **change}) is None

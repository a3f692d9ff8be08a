"""The native engine: the same images as PyTorch, on every instruction set, and what it refuses."""

from __future__ import annotations

import math
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.data import chelsea
from spandrel.architectures.Compact.__arch.SRVGG import SRVGGNetCompact

from torch_sr.errors import DeviceError, ModelError
from torch_sr.images import to_unit
from torch_sr.inference.engines import native
from torch_sr.inference.engines.native import NativeEngine, instruction_sets
from torch_sr.models.loading import load
from torch_sr.networks.configs import CompactConfig, RRDBConfig
from torch_sr.networks.rrdb import RRDBNet

if not native.is_available():
    pytest.skip("torch_sr._native is not built", allow_module_level=True)

TOLERANCE = 1e-5


def rrdb_config(**changes):
    values = {
        "scale_factor": 4,
        "img_channels": 3,
        "rrdb_channels": 16,
        "growth_channels": 8,
        "num_basic_blocks": 1,
        "num_dense_blocks": 3,
        "num_residual_blocks": 5,
        "residual_scaling": 0.2,
        "use_subpixel_conv": False,
        "pixel_unshuffle": 1,
    }
    return RRDBConfig(**values | changes)


def random_parameters(config, seed=0):
    """Parameters that keep the size of values about the same from layer to layer."""
    rng = np.random.default_rng(seed)
    found = {}
    for name, shape in config.shapes().items():
        scale = 1 / math.sqrt(math.prod(shape[1:])) if len(shape) == 4 else 0.1
        found[name] = rng.normal(scale=scale, size=shape).astype(np.float32)
    return found


def images(*shape, seed=0):
    return np.random.default_rng(seed).random(shape, dtype=np.float32)


def run_torch(config, parameters, lr):
    network = RRDBNet.from_config(config)
    network.load_state_dict({name: torch.from_numpy(each) for name, each in parameters.items()})
    with torch.inference_mode():
        return network.double()(torch.from_numpy(lr).double()).numpy()


@pytest.mark.parametrize("instruction_set", instruction_sets())
@pytest.mark.parametrize(
    ("changes", "height", "width"),
    [
        ({}, 1, 1),
        ({}, 7, 5),
        ({"rrdb_channels": 64, "growth_channels": 32}, 26, 31),
        ({"scale_factor": 1, "rrdb_channels": 21, "growth_channels": 9}, 17, 40),
        ({"scale_factor": 2, "pixel_unshuffle": 2}, 9, 11),
        ({"scale_factor": 2, "pixel_unshuffle": 4, "img_channels": 1}, 2, 3),
        ({"scale_factor": 3, "img_channels": 4, "num_residual_blocks": 1}, 12, 19),
        ({"scale_factor": 3, "use_subpixel_conv": True, "num_dense_blocks": 1}, 11, 13),
        ({"scale_factor": 8, "img_channels": 1, "num_residual_blocks": 2}, 10, 7),
        ({"use_subpixel_conv": True, "num_basic_blocks": 2}, 8, 150),
    ],
)
def test_rrdb_net_computes_the_same_as_pytorch(instruction_set, changes, height, width):
    config = rrdb_config(**changes)
    parameters = random_parameters(config)
    lr = images(2, config.img_channels, height, width)
    expected = run_torch(config, parameters, lr)

    for threads in (1, 3):
        engine = NativeEngine(parameters, config, threads=threads, instruction_set=instruction_set)
        assert np.abs(engine(lr) - expected).max() < TOLERANCE * max(1, np.abs(expected).max())


@pytest.mark.parametrize("instruction_set", instruction_sets())
@pytest.mark.parametrize(
    ("scale_factor", "channels", "width", "depth"), [(4, 3, 64, 3), (2, 1, 24, 0)]
)
def test_compact_net_computes_the_same_as_spandrel(
    instruction_set, scale_factor, channels, width, depth
):
    config = CompactConfig(scale_factor, channels, width, depth)
    parameters = random_parameters(config)
    network = SRVGGNetCompact(
        num_in_ch=channels,
        num_out_ch=channels,
        num_feat=width,
        num_conv=depth,
        upscale=scale_factor,
    )
    network.load_state_dict({name: torch.from_numpy(each) for name, each in parameters.items()})
    lr = images(1, channels, 23, 20)
    with torch.inference_mode():
        expected = network.double()(torch.from_numpy(lr).double()).clip(0, 1).numpy()

    engine = NativeEngine(parameters, config, instruction_set=instruction_set)

    assert np.abs(engine(lr) - expected).max() < TOLERANCE


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    width=st.integers(1, 40),
    growth=st.integers(1, 24),
    shape=st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(1, 5)),
    scale_factor=st.sampled_from([1, 2, 3, 4]),
    subpixel=st.booleans(),
    size=st.tuples(st.integers(1, 45), st.integers(1, 45)),
    threads=st.integers(1, 5),
)
def test_any_shape_computes_the_same_as_pytorch(
    width, growth, shape, scale_factor, subpixel, size, threads
):
    blocks, denses, convs = shape
    config = rrdb_config(
        rrdb_channels=width,
        growth_channels=growth,
        num_basic_blocks=blocks,
        num_dense_blocks=denses,
        num_residual_blocks=convs,
        scale_factor=scale_factor,
        use_subpixel_conv=subpixel,
    )
    parameters, lr = random_parameters(config), images(1, 3, *size)
    expected = run_torch(config, parameters, lr)

    result = NativeEngine(parameters, config, threads=threads)(lr)

    assert result.shape == expected.shape
    assert np.abs(result - expected).max() < TOLERANCE * max(1, np.abs(expected).max())


@pytest.mark.parametrize(
    "name",
    ["compact-x4", "realesrgan-x4plus", "realesrgan-x4plus-anime-6b", "realesr-animevideov3"],
)
def test_trained_networks_differ_by_less_than_the_tolerance(name):
    model = load(name)
    weights = model.weights
    lr = to_unit(chelsea()[100:140, 100:136]).transpose(2, 0, 1)[None].astype(np.float32)
    with torch.inference_mode():
        expected = model.network(torch.from_numpy(lr)).numpy()

    engine = NativeEngine(weights.parameters, weights.config)

    assert np.abs(engine(lr) - expected).max() < TOLERANCE


def test_calls_from_several_threads_wait_for_each_other():
    config = rrdb_config()
    engine = NativeEngine(random_parameters(config), config)
    inputs = [images(1, 3, 20 + n, 30, seed=n) for n in range(8)]
    expected = [engine(lr) for lr in inputs]

    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(engine, inputs))

    for result, one in zip(results, expected, strict=True):
        np.testing.assert_array_equal(result, one)


def test_the_result_does_not_depend_on_the_number_of_threads():
    config = rrdb_config()
    parameters, lr = random_parameters(config), images(1, 3, 50, 70)
    first = NativeEngine(parameters, config, threads=1)(lr)
    np.testing.assert_array_equal(first, NativeEngine(parameters, config, threads=4)(lr))


def test_the_batch_is_a_sequence_of_images():
    config = rrdb_config()
    engine, lr = NativeEngine(random_parameters(config), config), images(3, 3, 9, 10)
    together = engine(lr)
    for number in range(3):
        np.testing.assert_array_equal(together[number], engine(lr[number : number + 1])[0])


def test_an_image_that_is_not_contiguous_is_read_right():
    config = rrdb_config()
    engine, lr = NativeEngine(random_parameters(config), config), images(1, 9, 10, 3)
    view = lr.transpose(0, 3, 1, 2)
    np.testing.assert_array_equal(engine(view), engine(np.ascontiguousarray(view)))


def test_a_missing_parameter_is_named():
    config = rrdb_config()
    parameters = random_parameters(config)
    del parameters["conv_hr.bias"]
    with pytest.raises(ModelError, match=r"conv_hr.bias has the shape None; it must be \(16,\)"):
        NativeEngine(parameters, config)


def test_too_many_channels_are_refused():
    config = rrdb_config(img_channels=17)
    with pytest.raises(ModelError, match="img_channels is 17; the native engine computes up to 16"):
        NativeEngine(random_parameters(config), config)


def test_an_unknown_instruction_set_is_refused_with_those_that_are_there():
    config = rrdb_config()
    with pytest.raises(DeviceError, match=r"'altivec': this processor has .*portable"):
        NativeEngine(random_parameters(config), config, instruction_set="altivec")


def test_a_result_that_is_not_finite_is_refused():
    config = rrdb_config()
    parameters = random_parameters(config)
    parameters["conv_last.bias"][0] = np.inf
    with pytest.raises(ModelError, match="NaN or infinite"):
        NativeEngine(parameters, config)(images(1, 3, 5, 5))


def test_without_the_module_the_error_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch_sr._native", None)
    assert not native.is_available()
    with pytest.raises(DeviceError, match="install a C\\+\\+ compiler and reinstall torch-sr"):
        instruction_sets()

"""The ncnn engine: the same pixels as PyTorch, on the CPU and on what Vulkan finds."""

from __future__ import annotations

import math
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

import torch_sr
from torch_sr.errors import DeviceError, DeviceMemoryError, MissingExtraError, ModelError
from torch_sr.inference.engine_setup import start_engine
from torch_sr.inference.engines import ncnn as engine_module
from torch_sr.inference.engines.ncnn import NcnnEngine, VulkanDevice, choose_vulkan, import_ncnn
from torch_sr.inference.engines.ncnn_memory import bytes_per_pixel
from torch_sr.models.files.ncnn.graph import Layer, format_graph
from torch_sr.models.model import Model
from torch_sr.networks.rrdb import RRDBNet

pytest.importorskip("ncnn")
TINY = {"rrdb_channels": 8, "growth_channels": 4, "num_basic_blocks": 2}
SIZES = [
    {},
    {"scale_factor": 1},
    {"scale_factor": 3, "img_channels": 1},
    {"scale_factor": 2, "pixel_unshuffle": 2},
    {"use_subpixel_conv": True},
]


def rrdbnet(**hparams):
    torch.manual_seed(0)
    return Model.from_network(RRDBNet(**TINY | hparams))


def compact():
    from spandrel.architectures.Compact import Compact

    from torch_sr.models.foreign import build_foreign

    torch.manual_seed(0)
    network = Compact(num_feat=8, num_conv=2, upscale=4)
    return Model.from_network(build_foreign(network.state_dict()))


def ncnn_engine(model, *arguments, **options):
    return NcnnEngine(model.weights.parameters, model.weights.config, *arguments, **options)


def random_image(channels=3, height=11, width=14, number=1):
    return np.random.default_rng(1).random((number, channels, height, width), dtype=np.float32)


def by_pytorch(model, lr):
    with torch.inference_mode():
        return model.network(torch.from_numpy(lr)).numpy()


@pytest.fixture(scope="module")
def vulkan():
    """The name of a Vulkan device; a software driver such as Mesa's serves."""
    found = engine_module.vulkan_devices()
    if not found:
        pytest.skip("Vulkan finds no device; Mesa's software driver is mesa-vulkan-drivers")
    return f"vulkan:{found[0].index}"


@pytest.fixture
def devices(monkeypatch):
    """Set the devices that Vulkan finds."""

    def found(*kinds):
        names = tuple(VulkanDevice(n, kind.upper(), kind) for n, kind in enumerate(kinds))
        monkeypatch.setattr(engine_module, "vulkan_devices", lambda: names)

    return found


# Pixels


@pytest.mark.parametrize("hparams", SIZES, ids=str)
def test_the_cpu_computes_what_pytorch_does(hparams):
    model = rrdbnet(**hparams)
    engine = ncnn_engine(model, "cpu", threads=1)
    lr = random_image(model.img_channels, number=2)
    found = engine(lr)
    assert found.dtype == np.float32
    assert found.shape == (2, model.img_channels, 11 * model.scale_factor, 14 * model.scale_factor)
    assert np.abs(found - by_pytorch(model, lr)).max() < 1e-5


@pytest.mark.parametrize("side", [1, 2, 3])
def test_the_smallest_images_with_pixel_unshuffle(side):
    model = rrdbnet(scale_factor=2, pixel_unshuffle=2)
    lr = random_image(height=side, width=side)
    assert np.allclose(ncnn_engine(model, "cpu")(lr), by_pytorch(model, lr), atol=1e-5)


def test_a_compact_network():
    model, lr = compact(), random_image()
    found = ncnn_engine(model, "cpu", threads=1)(lr)
    assert np.abs(found.clip(0, 1) - by_pytorch(model, lr)).max() < 1e-5


@pytest.mark.parametrize("hparams", SIZES[:4], ids=str)
def test_vulkan_computes_what_pytorch_does(vulkan, hparams):
    model = rrdbnet(**hparams)
    lr = random_image(model.img_channels)
    found = ncnn_engine(model, vulkan, "fp32")(lr)
    assert np.abs(found - by_pytorch(model, lr)).max() < 1e-5


def test_vulkan_in_half_precision(vulkan):
    model, lr = torch_sr.load("compact-x4"), random_image(height=16, width=16)
    engine = ncnn_engine(model, vulkan, "fp16")
    difference = np.abs(engine(lr) - by_pytorch(model, lr))
    assert 0 < difference.max() < 2.5 / 255
    assert difference.mean() < 0.25 / 255
    assert engine.tiles_redone == 0


def test_an_overflow_in_half_precision_is_recomputed(vulkan):
    model = rrdbnet()
    with torch.no_grad():  # features above 65504, which the last convolution makes small again
        model.network.conv_hr.weight *= 1e6
        model.network.conv_hr.bias.fill_(1e6)
        model.network.conv_last.weight *= 1e-6
    engine, lr = ncnn_engine(model, vulkan, "fp16"), random_image()
    expected = by_pytorch(model, lr)
    assert np.isfinite(expected).all()
    for count in (1, 2):
        assert np.allclose(engine(lr), expected, atol=1e-4)
        assert engine.tiles_redone == count


def test_an_upscaler_computes_the_same_pixels():
    image = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    ours = torch_sr.Upscaler(ncnn_engine(torch_sr.load("compact-x4"), "cpu"), tile_size=16)
    pytorch = torch_sr.Upscaler("compact-x4", device="cpu", tile_size=16)
    a, b = (each.upscale(image).astype(int) for each in (ours, pytorch))
    assert np.abs(a - b).max() <= 1
    assert (a != b).mean() < 1e-3


def test_nothing_of_the_model_stays_on_the_disk(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    engine = ncnn_engine(torch_sr.load("compact-x4"), "cpu")
    assert not list(tmp_path.iterdir())
    assert engine(random_image()).shape == (1, 3, 44, 56)
    assert not caplog.records  # no warning that ncnn files have no records


def test_a_process_ends_cleanly(vulkan):
    code = (
        "import sys, numpy as np, torch_sr\n"
        f"upscaler = torch_sr.Upscaler('compact-x4', engine='ncnn', device={vulkan!r})\n"
        "upscaler.upscale(np.zeros((4, 4, 3), np.uint8))\n"
        "assert 'torch' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


# Devices, precisions, networks


def test_auto_is_a_gpu_or_the_cpu(devices):
    devices("software", "integrated", "discrete")
    assert choose_vulkan("auto").name == "DISCRETE"
    assert choose_vulkan("vulkan").name == "DISCRETE"
    assert choose_vulkan("vulkan:1").name == "INTEGRATED"
    assert choose_vulkan("cpu") is None
    devices("software")
    assert choose_vulkan("auto") is None
    assert choose_vulkan("vulkan").name == "SOFTWARE"


@pytest.mark.parametrize("device", ["vulkan", "vulkan:0", "vulkan:x", "cuda", "gpu", "auto:1"])
def test_a_missing_device(devices, device):
    devices()
    with pytest.raises(DeviceError, match=device) as caught:
        choose_vulkan(device)
    assert "\n" not in str(caught.value)
    assert choose_vulkan("auto") is None


def test_a_missing_number_names_the_devices(devices):
    devices("integrated")
    with pytest.raises(DeviceError, match=r"use vulkan:0 \(INTEGRATED\)"):
        choose_vulkan("vulkan:3")


@pytest.mark.parametrize(("device", "precision"), [("cpu", "fp16"), ("cpu", "bf16"), ("cpu", "x")])
def test_a_missing_precision(device, precision):
    with pytest.raises(DeviceError, match="use fp32"):
        ncnn_engine(rrdbnet(), device, precision)


def test_without_ncnn(monkeypatch):
    monkeypatch.setitem(sys.modules, "ncnn", None)
    import_ncnn.cache_clear()
    with pytest.raises(MissingExtraError, match=r"pip install 'torch-sr\[ncnn\]'"):
        ncnn_engine(rrdbnet(), "cpu")
    import_ncnn.cache_clear()


def test_another_network_is_refused():
    network = torch.nn.Upsample(scale_factor=2)
    with pytest.raises(DeviceError, match="engine ncnn: use --engine torch"):
        torch_sr.Upscaler(network, scale_factor=2, engine="ncnn")


def test_a_vulkan_device_stands_for_ncnn(devices):
    devices()
    with pytest.raises(DeviceError, match="install a Vulkan driver"):
        torch_sr.Upscaler("compact-x4", device="vulkan")
    with pytest.raises(DeviceError, match="vulkan"):
        torch_sr.Upscaler("compact-x4", device="vulkan", engine="torch")
    with pytest.raises(DeviceError, match="--engine ncnn"):
        torch_sr.Upscaler("compact-x4", device="vulkan", engine="native")
    assert start_engine(rrdbnet(), engine="ncnn").device == "cpu"


def test_results_that_are_not_finite():
    model = rrdbnet()
    with torch.no_grad():
        model.network.conv_hr.bias.fill_(10)
        model.network.conv_last.weight.fill_(3e38)
    with pytest.raises(ModelError, match="NaN or infinite"):
        ncnn_engine(model, "cpu")(random_image())


# Memory


def test_a_tile_that_does_not_fit(monkeypatch):
    engine = ncnn_engine(rrdbnet(), "cpu")

    class Extractor:
        def input(self, name, mat): ...

        def extract(self, name):
            return -100, import_ncnn().Mat()

    class Net:
        def create_extractor(self):
            return Extractor()

    monkeypatch.setattr(engine, "_net", Net())
    with pytest.raises(DeviceMemoryError, match="not enough memory on cpu for 14x11 pixels"):
        engine(random_image())


def test_the_largest_tile_follows_the_free_memory(monkeypatch):
    engine = ncnn_engine(rrdbnet(), "cpu")
    monkeypatch.setattr(engine_module, "free_ram", lambda: 2**40)
    most = engine.tile_area
    monkeypatch.setattr(engine_module, "free_ram", lambda: 2**20)
    assert 1 <= engine.tile_area < most < math.inf


def test_the_free_memory_of_an_integrated_gpu_is_that_of_the_machine(vulkan, monkeypatch):
    engine = ncnn_engine(rrdbnet(), vulkan)
    monkeypatch.setattr(engine_module, "free_ram", lambda: 2**20)
    engine.vulkan = replace(engine.vulkan, kind="discrete")
    own = engine.tile_area
    engine.vulkan = replace(engine.vulkan, kind="integrated")
    assert engine.tile_area < own


def test_memory_per_pixel_is_that_of_the_largest_layer():
    layers = [
        Layer("Input", "data", (), ("data",)),
        Layer("Convolution", "a", ("data",), ("a",), {0: 8, 6: 1}),
        Layer("Interp", "b", ("a",), ("b",), {0: 1, 1: 2.0, 2: 2.0}),
        Layer("Convolution", "c", ("b",), ("c",), {0: 12, 6: 1}),
        Layer("PixelShuffle", "d", ("c",), ("output",), {0: 2}),
    ]
    assert bytes_per_pixel(format_graph(layers), 3) == 4 * 6 * (12 * 4 + 3 * 16)

"""Which engine computes: the native one where it can, PyTorch otherwise; threads; results."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch
from torch import nn

import torch_sr
from torch_sr import ConfigError, DeviceError, RRDBNet, Upscaler
from torch_sr.inference import engine_setup
from torch_sr.inference.engines import native
from torch_sr.inference.engines.native import NativeEngine
from torch_sr.inference.engines.pytorch import PyTorchEngine
from torch_sr.machine import usable_cpus

built = pytest.mark.skipif(not native.is_available(), reason="torch_sr._native is not built")


def tiny(**options):
    torch.manual_seed(0)
    sizes = {"rrdb_channels": 8, "growth_channels": 4, "num_basic_blocks": 1}
    return RRDBNet(**sizes | options).eval()


def compact():
    made = pytest.importorskip("spandrel.architectures.Compact").Compact
    torch.manual_seed(0)
    return made(num_feat=8, num_conv=2, upscale=2).eval()


def engine_of(model=None, **options):
    return type(Upscaler(model, **{"device": "cpu", **options})._engine)


@pytest.fixture
def saved_compact(tmp_path):
    torch.save(compact().state_dict(), tmp_path / "compact.pth")
    return tmp_path / "compact.pth"


@built
def test_the_native_engine_computes_what_it_can(saved_compact):
    for model in (None, "compact-x4", torch_sr.load("compact-x4"), tiny(), saved_compact):
        assert engine_of(model) is NativeEngine
        assert engine_of(model, precision="fp32", engine="native") is NativeEngine
        assert engine_of(model, engine="torch") is PyTorchEngine
        assert engine_of(model, precision="bf16") is PyTorchEngine


@built
def test_a_network_that_was_changed_is_left_to_pytorch():
    model = torch_sr.load("compact-x4")
    model.network.body[0].register_forward_hook(lambda module, inputs, output: output)
    assert engine_of(model) is PyTorchEngine
    assert engine_of(nn.Upsample(scale_factor=2), scale_factor=2) is PyTorchEngine


@built
def test_changed_weights_are_used(photo):
    model = torch_sr.load("compact-x4")
    before = Upscaler(model, device="cpu").upscale(photo(9, 8))
    with torch.no_grad():
        model.network.conv_last.bias += 0.1
    after = Upscaler(model, device="cpu").upscale(photo(9, 8))
    assert (after.astype(int) - before).mean() > 10


@built
@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"precision": "bf16"}, "use fp32, or --engine torch; it does not compute in bf16"),
        ({"device": "cuda:7"}, "use --device cpu, or --engine torch; .* device 'cuda:7'"),
        (
            {"model": nn.Upsample(scale_factor=2), "scale_factor": 2},
            r"use --engine torch; .* Upsample is another network \(Upsample\)",
        ),
    ],
)
def test_what_the_native_engine_cannot_do_is_an_error_if_it_is_required(options, words):
    with pytest.raises(DeviceError, match=f"engine native: {words}"):
        Upscaler(**{"device": "cpu", "engine": "native", **options})


def test_without_the_compiled_module_pytorch_computes(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch_sr._native", None)  # as if it could not be found
    monkeypatch.delattr(torch_sr, "_native", raising=False)
    assert engine_of("compact-x4") is PyTorchEngine
    with pytest.raises(DeviceError, match="engine native: use --engine torch, or install a C"):
        Upscaler("compact-x4", device="cpu", engine="native")


@pytest.mark.parametrize("name", ["fast", "", "Torch"])
def test_unknown_engines_are_refused(name):
    with pytest.raises(DeviceError, match=r"unknown; use auto, native, torch"):
        Upscaler("compact-x4", engine=name)


@built
def test_the_environment_can_choose_for_auto(monkeypatch):
    monkeypatch.setenv("TORCH_SR_ENGINE", "torch")
    assert engine_of() is PyTorchEngine
    assert engine_of(engine="native") is NativeEngine
    monkeypatch.setenv("TORCH_SR_ENGINE", "fast")
    with pytest.raises(DeviceError, match="engine 'fast': unknown"):
        Upscaler()


@built
@pytest.mark.parametrize(
    ("card", "available", "engine"),
    [(False, True, NativeEngine), (True, False, NativeEngine)],
)
def test_pytorch_is_asked_for_devices_only_if_there_is_a_card(monkeypatch, card, available, engine):
    asked = []
    monkeypatch.setattr(engine_setup, "may_have_gpu", lambda: card)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: asked.append(1) or available)
    assert engine_of(device="auto") is engine
    assert bool(asked) == card


@built
def test_a_card_that_pytorch_can_use_gets_the_work(monkeypatch):
    monkeypatch.setattr(engine_setup, "may_have_gpu", lambda: True)
    monkeypatch.setattr("torch_sr.devices.choose_device", lambda name: torch.device("cuda"))
    assert engine_setup._find_obstacle(torch_sr.load("compact-x4"), "auto", "auto") is not None


@pytest.mark.parametrize("engine", ["native", "torch"])
def test_threads_are_those_that_are_given(engine, monkeypatch):
    if engine == "native" and not native.is_available():
        pytest.skip("torch_sr._native is not built")
    before, given = torch.get_num_threads(), []
    monkeypatch.setattr(torch, "set_num_threads", given.append)
    upscaler = Upscaler("compact-x4", device="cpu", engine=engine, threads=2)
    if engine == "native":
        assert upscaler._engine.threads == 2
    assert given == ([2] if engine == "torch" else [])
    assert torch.get_num_threads() == before
    with pytest.raises(ConfigError, match="threads must be at least 1, not 0"):
        Upscaler("compact-x4", threads=0)


@built
@pytest.mark.parametrize(
    "make",
    [
        lambda: "compact-x4",
        lambda: None,
        lambda: tiny(scale_factor=3, use_subpixel_conv=True),
        lambda: tiny(scale_factor=2, pixel_unshuffle=2),
        lambda: tiny(img_channels=1, scale_factor=1),
    ],
)
def test_both_engines_give_the_same_image(make, photo):
    for lr in (photo(33, 47, 3, np.uint8), photo(20, 21, 4, np.uint16), photo(17, 18, 1, np.uint8)):
        first, second = (
            Upscaler(make(), device="cpu", engine=engine, tile_size=24, overlap=4).upscale(lr)
            for engine in ("native", "torch")
        )
        steps = np.abs(first.astype(int) - second)
        assert steps.max() <= (1 if lr.dtype == np.uint8 else 2)
        assert lr.dtype != np.uint8 or (steps > 0).mean() < 0.001


@built
def test_both_engines_need_the_same_overlap(saved_compact):
    for model in (torch_sr.load("compact-x4"), torch_sr.load("compact-x4-real"), saved_compact):
        native_one, other = (
            Upscaler(model, device="cpu", engine=engine).overlap for engine in ("native", "torch")
        )
        assert native_one == other


@built
def test_the_engine_is_part_of_what_results_depend_on():
    first, second = (
        Upscaler("compact-x4", device="cpu", engine=engine).fingerprint
        for engine in ("native", "torch")
    )
    assert first != second


@built
def test_more_threads_than_processors_are_not_started():
    upscaler = Upscaler("compact-x4", device="cpu", engine="native", threads=100_000)
    assert upscaler._engine.threads == usable_cpus()


def test_a_network_of_many_channels_is_computed_by_pytorch():
    network = RRDBNet(4, 17, 8, 4, 1, 1, 2)
    assert isinstance(Upscaler(network, device="cpu")._engine, PyTorchEngine)

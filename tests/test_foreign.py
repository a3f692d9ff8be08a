"""Networks of other architectures: recognized, run by their own rules, licenses named."""

from __future__ import annotations

import builtins
import dataclasses
import logging
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image as Pillow

from torch_sr.errors import DeviceError, ModelError
from torch_sr.inference.engines import pytorch
from torch_sr.inference.upscaler import Upscaler
from torch_sr.models.foreign import RESTRICTED
from torch_sr.models.inspection import inspect_model
from torch_sr.models.reading import read_model

spandrel = pytest.importorskip("spandrel")


def compact(**options):
    from spandrel.architectures.Compact import Compact

    return Compact(**{"num_feat": 8, "num_conv": 2, "upscale": 2, **options})


def span():
    from spandrel.architectures.SPAN import SPAN

    return SPAN(num_in_ch=3, num_out_ch=3, feature_channels=8, upscale=2)


def dat():
    from spandrel.architectures.DAT import DAT

    sizes = {"embed_dim": 32, "depth": [1], "num_heads": [2], "split_size": [4, 4]}
    return DAT(img_size=16, in_chans=3, upscale=2, upsampler="pixelshuffledirect", **sizes)


def swinir():
    from spandrel.architectures.SwinIR import SwinIR

    sizes = {"embed_dim": 12, "depths": [2], "num_heads": [2], "window_size": 4}
    return SwinIR(img_size=16, upscale=2, upsampler="pixelshuffle", **sizes)


@pytest.fixture
def save(tmp_path):
    def save(network, name="foreign.pth"):
        torch.manual_seed(0)
        torch.save(network.state_dict(), tmp_path / name)
        return tmp_path / name

    return save


@pytest.mark.parametrize("make", [compact, span, dat, swinir])
def test_any_architecture_upscales_8_and_16_bits_and_alpha(make, save, photo, tmp_path):
    torch.manual_seed(0)
    upscaler = Upscaler(save(make()), device="cpu")
    for dtype, channels in ((np.uint8, 3), (np.uint16, 3), (np.uint8, 4), (np.uint16, 1)):
        lr = photo(17, 21, channels, dtype)
        sr = upscaler.upscale(lr)
        assert (sr.shape, sr.dtype) == ((34, 42, channels), dtype)
    Pillow.fromarray(photo(9, 8)).save(tmp_path / "a.png")
    upscaler.upscale_file(tmp_path / "a.png", tmp_path / "b.png")
    with Pillow.open(tmp_path / "b.png") as result:
        assert result.size == (16, 18)


def test_tiles_of_a_convolutional_network_are_not_visible(save, photo):
    path = save(compact())
    lr = photo(80, 90)
    whole = Upscaler(path, device="cpu", tile_size=128).upscale(lr)
    tiled = Upscaler(path, device="cpu", tile_size=48).upscale(lr)
    assert np.abs(whole.astype(int) - tiled).max() <= 1


def tiles_of(upscaler, lr):
    seen = []
    upscaler.upscale(lr, lambda done, total: seen.append((done, total)))
    return seen[-1][1]


def test_networks_with_global_context_get_whole_images_if_they_fit(save, photo, monkeypatch):
    path = save(swinir())
    monkeypatch.setitem(pytorch._LARGEST_TILES, "cpu", 1)  # at which others would be cut into tiles
    lr = photo(90, 100)
    assert Upscaler(path, device="cpu").info.tiling == "avoided"
    assert tiles_of(Upscaler(path, device="cpu", overlap=4), lr) == 1
    assert tiles_of(Upscaler(path, device="cpu", overlap=4, tile_size=64), lr) > 1
    monkeypatch.setattr(pytorch, "free_memory", lambda _: 2)
    assert tiles_of(Upscaler(path, device="cpu", overlap=4), lr) > 1


def test_networks_that_forbid_tiles_get_whole_images(save, photo):
    upscaler = Upscaler(save(compact()), device="cpu", tile_size=16, overlap=2)
    assert tiles_of(upscaler, photo(40, 50)) > 1
    upscaler.info = dataclasses.replace(upscaler.info, tiling="never")  # as of DDColor
    assert tiles_of(upscaler, photo(40, 50)) == 1


def test_half_precision_is_used_only_if_it_does_not_overflow(save):
    path = save(dat())
    info = read_model(path).info
    assert info.precisions == ("fp32", "bf16")
    with pytest.raises(DeviceError, match=r"is a DAT, .* use fp32 or bf16"):
        _permitted_on_a_gpu(info)


def _permitted_on_a_gpu(info):
    from torch_sr import devices
    from torch_sr.inference import engine_setup

    chosen = devices.choose_device
    devices.choose_device = lambda _: torch.device("cuda")
    try:
        assert engine_setup._permitted_precision("auto", "cuda", info) == "bf16"
        engine_setup._permitted_precision("fp16", "cuda", info)
    finally:
        devices.choose_device = chosen


def test_it_is_inspected_too(save):
    report = inspect_model(save(compact())).to_dict()
    assert report["architecture"] == "RealESRGAN Compact"
    # 3x3 kernels: 3 to 8, twice 8 to 8, 8 to 12 channels, all at the input's size.
    assert report["macs_per_pixel"] == 9 * (3 * 8 + 8 * 8 + 8 * 8 + 8 * 12)
    assert report["receptive_field"] is None


def test_restrictive_licenses_are_named(save, caplog, photo):
    extra = pytest.importorskip("spandrel_extra_arches.architectures.SRFormer")
    network = extra.SRFormer(
        img_size=16,
        embed_dim=12,
        depths=[2],
        num_heads=[2],
        window_size=4,
        upscale=2,
        upsampler="pixelshuffle",
    )
    path = save(network)
    with caplog.at_level(logging.WARNING):
        info = read_model(path).info
    assert info.restriction == "CC BY-NC 4.0"
    assert "SRFormer is an architecture under CC BY-NC 4.0" in caplog.text
    assert inspect_model(path).license == "CC BY-NC 4.0"
    assert Upscaler(path, device="cpu").upscale(photo(9, 8)).shape == (18, 16, 3)


def test_every_restricted_architecture_has_its_license():
    extra = pytest.importorskip("spandrel_extra_arches")
    assert {str(support.architecture.id) for support in extra.EXTRA_REGISTRY} == set(RESTRICTED)


def test_without_the_extra_the_error_names_it(save, monkeypatch):
    original = builtins.__import__

    def without(name, *rest):
        if name.startswith("spandrel_extra_arches"):
            raise ImportError(name)
        return original(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    network = torch.nn.Conv2d(3, 3, 3)
    with pytest.raises(ModelError, match=r"torch-sr\[restricted\]"):
        read_model(save(network))


def test_a_missing_parameter_is_named(tmp_path):
    state = compact().state_dict()
    del state["body.2.bias"]
    torch.save(state, tmp_path / "a.pth")
    with pytest.raises(ModelError, match=r"Missing key\(s\) in state_dict: .body\.2\.bias.$"):
        read_model(tmp_path / "a.pth")


@pytest.mark.parametrize("make", [compact, dat])
def test_no_warnings_of_libraries_are_shown(save, photo, make):
    path = save(make())
    done = subprocess.run(
        [sys.executable, "-W", "always", "-c", _UPSCALE, path],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0
    assert "warn" not in done.stderr.lower()


_UPSCALE = """
import sys, numpy
from torch_sr import Upscaler
Upscaler(sys.argv[1], device="cpu").upscale(numpy.zeros((8, 8, 3), numpy.uint8))
"""

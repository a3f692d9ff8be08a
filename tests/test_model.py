"""Model: called, moved, saved, and accepted by everything that takes a model."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from torch import nn

import torch_sr
from torch_sr import DeviceError, ImageError, Model, ModelError, RRDBNet, Upscaler
from torch_sr.models.files import reading
from torch_sr.models.inspection import inspect_model

TINY = {"rrdb_channels": 8, "growth_channels": 4, "num_basic_blocks": 1}


def tiny(seed=0, **options):
    torch.manual_seed(seed)
    return RRDBNet(**TINY | options)


@pytest.fixture
def model():
    return Model.from_network(tiny(), name="tiny", metadata={"license": "MIT"})


# --- Called ---------------------------------------------------------------------------------------


def test_it_computes_what_its_network_does_without_gradients(model):
    lr = torch.rand(2, 3, 7, 9)
    sr = model(lr)
    assert sr.is_inference()
    torch.testing.assert_close(sr, tiny().eval()(lr).detach(), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("lr", "words"),
    [
        (torch.rand(3, 8, 8), r"give a tensor \(N, 3, H, W\) in \[0, 1\], not \(3, 8, 8\)"),
        (torch.rand(1, 1, 8, 8), r"not \(1, 1, 8, 8\)"),
        (torch.rand(0, 3, 8, 8), r"not \(0, 3, 8, 8\)"),
        (torch.zeros(1, 3, 8, 8, dtype=torch.uint8), "floats in .*divide by the value of white"),
        (torch.rand(1, 3, 8, 8).double(), r"\.to\(torch.float32\).*they are torch.float64"),
        (np.zeros((8, 8, 3)), "not ndarray; Upscaler takes arrays"),
    ],
)
def test_wrong_inputs_are_refused_with_the_remedy(model, lr, words):
    with pytest.raises(ImageError, match=words):
        model(lr)


def test_images_on_another_device_are_refused(model):
    with pytest.raises(DeviceError, match=r"move the images with .to\('cpu'\): they are on meta"):
        model(torch.empty(1, 3, 8, 8, device="meta"))


# --- Moved ----------------------------------------------------------------------------------------


def test_to_changes_the_type_and_the_device(model):
    assert model.to(dtype=torch.float64) is model
    assert (model.dtype, model.device) == (torch.float64, torch.device("cpu"))
    assert model(torch.rand(1, 3, 8, 8).double()).dtype == torch.float64
    assert model.to("cpu").to(torch.device("meta")).device.type == "meta"


def test_impossible_moves_are_refused(model):
    with pytest.raises(DeviceError, match="'gpu': unknown"):
        model.to("gpu")
    with pytest.raises(ModelError, match="choose a floating-point type"):
        model.to(dtype=torch.uint8)


# --- Wrapped --------------------------------------------------------------------------------------


def test_any_network_can_be_wrapped():
    double = nn.Upsample(scale_factor=2)
    model = Model.from_network(double, scale_factor=2, img_channels=1, name="nearest")
    assert model(torch.rand(1, 1, 3, 4)).shape == (1, 1, 6, 8)
    assert (model.scale_factor, model.img_channels, model.info.num_parameters) == (2, 1, 0)
    pixels = np.random.default_rng(0).integers(0, 256, (9, 8), np.uint8)
    found = Upscaler(model, device="cpu").upscale(pixels)
    np.testing.assert_array_equal(found, pixels.repeat(2, 0).repeat(2, 1))


@pytest.mark.parametrize(
    ("network", "scale_factor", "words"),
    [
        (nn.Upsample(scale_factor=2), None, "give the scale_factor of this Upsample"),
        (nn.Upsample(scale_factor=2), 0, "scale_factor is 0; it must be at least 1"),
        (tiny(), 2, "scale_factor is 2; leave it out, this RRDBNet has 4"),
    ],
)
def test_the_scale_factor_must_be_known(network, scale_factor, words):
    for make in (Model.from_network, Upscaler):
        with pytest.raises(ModelError, match=words):
            make(network, scale_factor=scale_factor)


# --- Saved ----------------------------------------------------------------------------------------


def test_saving_and_loading_keeps_the_network_and_its_records(model, tmp_path):
    path = model.save(tmp_path / "new" / "a.safetensors")
    found = torch_sr.load(path)
    for key, value in found.network.state_dict().items():
        assert torch.equal(value, model.network.state_dict()[key])
    assert found.info.metadata["license"] == "MIT"
    assert found.weights_sha256 == model.weights_sha256 == found.info.metadata["weights_sha256"]
    assert found.info.config == model.info.config


@pytest.mark.parametrize("dtype", ["fp16", torch.float16])
def test_layout_and_type_can_be_chosen(model, tmp_path, dtype):
    info = torch_sr.load(model.save(tmp_path / "a.pth", layout="old", dtype=dtype)).info
    assert (info.layout, info.dtype) == ("old", "float16")
    again = torch_sr.load(torch_sr.load(tmp_path / "a.pth").save(tmp_path / "b.pth"))
    assert (again.info.layout, again.info.dtype) == ("enhanced-srgan", "float16")


def test_what_cannot_be_saved_is_refused_and_nothing_is_written(model, tmp_path):
    other = Model.from_network(nn.Conv2d(3, 3, 1), scale_factor=1)
    with pytest.raises(ModelError, match="Conv2d is a Conv2d; only RRDBNet and SRVGGNetCompact"):
        other.save(tmp_path / "a.pth")
    for options in ({"dtype": "fp8"}, {"dtype": torch.int8}, {"layout": "newest"}):
        with pytest.raises(ModelError):
            model.save(tmp_path / "a.pth", **options)
    with torch.no_grad():
        model.network.conv_last.bias.fill_(float("nan"))
    with pytest.raises(ModelError, match=r"conv_last\.bias has NaN"):
        model.save(tmp_path / "a.pth")
    assert list(tmp_path.iterdir()) == []


def test_a_saved_interpolation_records_its_parents(model, tmp_path):
    model.save(tmp_path / "psnr.safetensors", dtype="fp16")
    psnr = torch_sr.load(tmp_path / "psnr.safetensors")
    mixed = torch_sr.interpolate(psnr, tiny(1), 0.25)
    assert (mixed.info.path, mixed.info.name, mixed.info.stage) == (
        None,
        "psnr + model 2",
        "interpolation",
    )
    mixed.save(tmp_path / "mixed.pth")
    info = torch_sr.load(tmp_path / "mixed.pth").info
    assert (info.dtype, info.stage, info.metadata["alpha"]) == ("float32", "interpolation", "0.25")
    assert info.metadata["license"] == "MIT and unstated"
    parents = json.loads(info.metadata["parents"])
    assert [(each["name"], each["weight"]) for each in parents] == [
        ("psnr", 0.75),
        ("model 2", 0.25),
    ]
    assert parents[0]["weights_sha256"] == psnr.info.metadata["weights_sha256"]


def test_models_and_bare_networks_are_converted(model, tmp_path):
    for number, source in enumerate((model, model.network)):
        file = torch_sr.convert(source, tmp_path / f"{number}.pth", layout="old")
        assert torch_sr.load(file).info.layout == "old"
    loaded = torch_sr.load(file)
    with pytest.raises(ModelError, match="is the source; give another name"):
        torch_sr.convert(loaded, file)


# --- Upscaled with --------------------------------------------------------------------------------


def test_the_upscaler_takes_a_model_a_file_or_a_network_alike(model, tmp_path, photo):
    path = model.save(tmp_path / "a.safetensors")
    lr = photo(9, 8)
    expected = Upscaler(path, device="cpu").upscale(lr)
    for source in (model, torch_sr.load(path), tiny()):
        upscaler = Upscaler(source, device="cpu")
        np.testing.assert_array_equal(upscaler.upscale(lr), expected)
        assert upscaler.info is not None
    with pytest.raises(ModelError, match=r"strength 0\.5: leave it out"):
        Upscaler(model, strength=0.5)
    with pytest.raises(ModelError, match="leave out scale_factor 2"):
        Upscaler(path, scale_factor=2)


def test_the_upscaler_leaves_the_model_as_it_is(photo):
    network = tiny().train()
    Upscaler(network, device="cpu").upscale(photo(9, 8))
    assert network.training
    assert network.conv_first.weight.is_contiguous()


def test_other_objects_are_refused():
    with pytest.raises(ModelError, match="int is none of these"):
        Upscaler(4)


def test_a_file_keeps_its_metadata(model, tmp_path, photo):
    image = torch_sr.Image(photo(9, 8))
    path = tmp_path / "a.png"
    from torch_sr.images import write_image

    write_image(path, image)
    for source in (path, path.read_bytes()):
        sr = Upscaler(model, device="cpu").upscale(source)
        assert isinstance(sr, torch_sr.Image)
        assert (sr.height, sr.width) == (36, 32)


# --- Read once ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("work", "files"),
    [
        (lambda path, out: torch_sr.load(path), 1),
        (lambda path, out: Upscaler(path, device="cpu").fingerprint, 1),
        (lambda path, out: inspect_model(path), 1),
        (lambda path, out: torch_sr.convert(path, out), 1),
        (lambda path, out: torch_sr.interpolate(path, path, 0.5).save(out), 2),
    ],
    ids=["load", "upscaler", "inspect", "convert", "interpolate"],
)
def test_a_file_is_read_once(model, tmp_path, monkeypatch, work, files):
    path, read = model.save(tmp_path / "a.safetensors"), []

    def load_state(path):
        read.append(path)
        return reading.load_state(path)

    monkeypatch.setattr("torch_sr.models.reading.load_state", load_state)
    work(path, tmp_path / "b.safetensors")
    assert read == [path] * files

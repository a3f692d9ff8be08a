"""A model survives conversion to every layout, format and number type and back."""

from __future__ import annotations

import pytest
import spandrel
import torch

from torch_sr.errors import ModelError
from torch_sr.models.conversion import convert, find_obstacles
from torch_sr.models.files.layouts import LAYOUTS
from torch_sr.models.files.writing import save_generator
from torch_sr.models.reading import read_model
from torch_sr.networks.rrdb import RRDBNet

TINY = {"rrdb_channels": 8, "growth_channels": 4, "num_basic_blocks": 2}


@pytest.fixture
def model(tmp_path):
    torch.manual_seed(0)
    path = tmp_path / "a.safetensors"
    save_generator(path, RRDBNet(**TINY), stage="training", metadata={"name": "mine"})
    return path


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("hparams", [{}, {"scale_factor": 2}, {"use_subpixel_conv": True}])
def test_there_and_back_without_loss(tmp_path, layout, suffix, hparams):
    torch.manual_seed(0)
    network = RRDBNet(**TINY | hparams).eval()
    save_generator(tmp_path / "a.safetensors", network)
    there = convert(tmp_path / "a.safetensors", tmp_path / f"b{suffix}", layout=layout)
    assert read_model(there).info.layout == layout
    back = convert(there, tmp_path / "c.safetensors")
    found = read_model(back).network
    assert found.config == network.config
    lr = torch.rand(1, 3, 9, 8)
    with torch.inference_mode():
        for path in (there, back):
            assert torch.equal(read_model(path).network(lr), network(lr))


@pytest.mark.parametrize(("dtype", "name"), [("fp16", "float16"), ("bf16", "bfloat16")])
def test_number_types(model, tmp_path, dtype, name):
    half = convert(model, tmp_path / "b.safetensors", dtype=dtype)
    assert read_model(half).info.dtype == name
    assert half.stat().st_size < 0.6 * model.stat().st_size
    again = convert(half, tmp_path / "c.pth")  # keeps its type, so nothing more is lost
    assert read_model(again).info.dtype == name
    full = convert(half, tmp_path / "d.safetensors", dtype="fp32")
    for key, value in read_model(model).network.state_dict().items():
        stored = read_model(full).network.state_dict()[key]
        assert torch.equal(stored, value.to(getattr(torch, name)).float())


def test_records_are_kept(model, tmp_path):
    info = read_model(convert(model, tmp_path / "b.pth")).info
    assert (info.stage, info.metadata["name"]) == ("training", "mine")


def test_other_programs_find_the_expected_content(model, tmp_path):
    new = torch.load(convert(model, tmp_path / "n.pth", layout="new"), weights_only=True)
    assert "body.0.rdb1.conv1.weight" in new["params_ema"]
    old = torch.load(convert(model, tmp_path / "o.pth", layout="old"), weights_only=True)
    assert "model.1.sub.0.RDB1.conv1.0.weight" in old


def test_what_a_layout_cannot_hold_is_refused(tmp_path):
    save_generator(tmp_path / "a.safetensors", RRDBNet(**TINY, residual_scaling=0.3))
    with pytest.raises(ModelError, match=r"cannot hold residual_scaling 0\.3"):
        convert(tmp_path / "a.safetensors", tmp_path / "b.pth", layout="mid")
    kept = convert(tmp_path / "a.safetensors", tmp_path / "b.safetensors", layout="mid")
    assert read_model(kept).network.config.residual_scaling == 0.3
    assert not (tmp_path / "b.pth").exists()


def test_numbers_too_large_for_half_are_refused(tmp_path):
    network = RRDBNet(**TINY)
    with torch.no_grad():
        network.conv_last.bias.fill_(1e5)
    save_generator(tmp_path / "a.safetensors", network)
    with pytest.raises(ModelError, match="NaN or infinite"):
        convert(tmp_path / "a.safetensors", tmp_path / "b.safetensors", dtype="fp16")


@pytest.mark.parametrize(
    ("options", "words"),
    [({"layout": "newest"}, "newest"), ({"dtype": "int8"}, "int8")],
)
def test_unknown_formats_are_refused(model, tmp_path, options, words):
    with pytest.raises(ModelError, match=words):
        convert(model, tmp_path / "b.pth", **options)
    with pytest.raises(ModelError, match="source"):
        convert(model, model)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    "hparams",
    [
        {},
        {"growth_channels": 16},
        {"num_dense_blocks": 2},
        {"num_residual_blocks": 4},
        {"use_subpixel_conv": True},
        {"scale_factor": 1},
        {"scale_factor": 3},
        {"scale_factor": 8},
        {"img_channels": 1},
        {"scale_factor": 2, "pixel_unshuffle": 2},
    ],
)
def test_it_is_known_what_spandrel_loads(tmp_path, layout, hparams):
    torch.manual_seed(0)
    network = RRDBNet(**{**TINY, "num_basic_blocks": 1, "growth_channels": 32} | hparams).eval()
    path = tmp_path / "a.pth"
    save_generator(path, network, layout=layout)
    lr = torch.rand(1, network.img_channels, 8, 8)
    try:
        with torch.inference_mode():
            found = spandrel.ModelLoader().load_from_file(path)
            expected = network(lr).clamp(0, 1)
            loads = found(lr).shape == expected.shape and torch.allclose(found(lr), expected)
    except Exception:
        loads = False
    assert loads == (not list(find_obstacles(network, path, layout)))


def test_a_warning_names_models_that_other_programs_cannot_load(model, tmp_path, caplog):
    convert(model, tmp_path / "b.pth", layout="old")
    assert "ComfyUI cannot load this model: they expect growth_channels 32, not 4" in caplog.text
    caplog.clear()
    save_generator(tmp_path / "c.safetensors", RRDBNet(**TINY | {"growth_channels": 32}))
    convert(tmp_path / "c.safetensors", tmp_path / "d.pth", layout="old")
    assert not caplog.text
    convert(tmp_path / "c.safetensors", tmp_path / "e.pth")
    assert "write --layout old" in caplog.text

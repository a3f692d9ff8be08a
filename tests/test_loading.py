"""Weights files, intact and hostile: networks load unchanged, or an error says why not."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import torch
from safetensors.torch import save, save_file

from torch_sr.errors import ModelError
from torch_sr.files import atomic_write
from torch_sr.models.files.hparams import nest_hparams
from torch_sr.models.files.layouts import LAYOUTS, from_canonical
from torch_sr.models.files.reading import WRAPPERS
from torch_sr.models.files.writing import save_generator
from torch_sr.models.reading import load_state, read_model
from torch_sr.networks.rrdb import RRDBNet

TINY = {"rrdb_channels": 8, "growth_channels": 4, "num_basic_blocks": 1}


def tiny(**hparams):
    torch.manual_seed(0)
    return RRDBNet(**TINY | hparams).eval()


def assert_same_output(found, expected):
    lr = torch.rand(1, expected.img_channels, 5, 6)
    with torch.inference_mode():
        assert torch.equal(found(lr), expected(lr))


def saved(path, content, **options):
    torch.save(content, path, **options)
    return path


# Intact files


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_loads(tmp_path, layout, legacy):
    net = tiny()
    state = from_canonical(net.state_dict(), layout)
    path = saved(tmp_path / "x.pth", state, _use_new_zipfile_serialization=not legacy)
    loaded = read_model(path)
    assert_same_output(loaded.network, net)
    assert not loaded.network.training
    info = loaded.info
    assert (info.layout, info.wrapper, info.architecture) == (layout, None, "RRDBNet")
    assert (info.scale_factor, info.img_channels, info.name) == (4, 3, "x")
    assert info.config == net.config
    assert info.num_parameters == sum(p.numel() for p in net.parameters())
    assert json.loads(json.dumps(info.to_dict()))["path"] == str(path)


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_every_wrapper_is_found(tmp_path, wrapper):
    net = tiny()
    content = {wrapper: net.state_dict(), "epoch": 3, "optimizer": {"state": {}}}
    loaded = read_model(saved(tmp_path / "x.pth", content))
    assert loaded.info.wrapper == wrapper
    assert_same_output(loaded.network, net)


def test_the_averaged_parameters_come_first(tmp_path):
    net, other = tiny(), tiny(residual_scaling=0.2)
    with torch.no_grad():
        other.conv_last.bias.add_(1)
    content = {"params": other.state_dict(), "params_ema": net.state_dict()}
    assert_same_output(read_model(saved(tmp_path / "x.pth", content)).network, net)


def test_wrappers_within_wrappers(tmp_path):
    content = {"model": {"state_dict": {f"module.{k}": v for k, v in tiny().state_dict().items()}}}
    loaded = read_model(saved(tmp_path / "x.ckpt", content))
    assert loaded.info.wrapper == "model/state_dict"
    assert_same_output(loaded.network, tiny())


def test_a_training_checkpoint_of_enhanced_srgan(tmp_path):
    net = tiny(residual_scaling=0.1, scale_factor=2, use_subpixel_conv=True)
    content = {
        "epoch_i": 7,
        "stage": "training",
        "g_model_state_dict": from_canonical(net.state_dict(), "enhanced-srgan", 0.1),
        "d_model_state_dict": {"conv.weight": torch.zeros(3)},
        "hparams": {"batch_size": 16, **nest_hparams(net.config)},
        "best_psnr": np.float64(31.9),
        "losses": [np.float32(0.5), np.int64(3)],
    }
    loaded = read_model(saved(tmp_path / "x.pth", content))
    assert_same_output(loaded.network, net)
    assert loaded.info.wrapper == "g_model_state_dict"
    assert (loaded.info.stage, loaded.info.metadata) == ("training", {"epoch_i": "7"})
    assert loaded.info.config.residual_scaling == 0.1


@pytest.mark.parametrize("name", ["x.safetensors", "x.pth", "x.pt"])
@pytest.mark.parametrize(
    "hparams",
    [
        {},
        {"scale_factor": 3},
        {"scale_factor": 8, "use_subpixel_conv": True},
        {"scale_factor": 2, "pixel_unshuffle": 2},
        {"residual_scaling": 0.1, "img_channels": 1},
        {"num_residual_blocks": 1, "num_dense_blocks": 2},
    ],
)
def test_what_is_saved_loads_again(tmp_path, name, hparams):
    net = tiny(**hparams)
    path = tmp_path / "new folder" / name
    notes = {"dataset": "div2k", "metrics": {"psnr": 31.5}, "name": "mine"}
    save_generator(path, net, stage="pretraining", metadata=notes)
    loaded = read_model(path)
    assert_same_output(loaded.network, net)
    assert loaded.info.config == net.config
    assert (loaded.info.stage, loaded.info.name) == ("pretraining", "mine")
    assert loaded.info.metadata["dataset"] == "div2k"
    assert json.loads(loaded.info.metadata["metrics"]) == {"psnr": 31.5}
    assert [file.name for file in path.parent.iterdir()] == [name]


@pytest.mark.parametrize("name", ["x.safetensors", "x.pth"])
def test_half_precision_is_stored_and_comes_back_as_float32(tmp_path, name):
    save_generator(tmp_path / name, tiny(), dtype=torch.float16)
    loaded = read_model(tmp_path / name)
    assert loaded.info.dtype == "float16"
    assert {p.dtype for p in loaded.network.parameters()} == {torch.float32}
    assert_same_output(loaded.network, tiny().half().float())


def test_the_content_decides_and_not_the_suffix(tmp_path):
    save_generator(tmp_path / "a.safetensors", tiny())
    save_generator(tmp_path / "b.pth", tiny())
    (tmp_path / "a.safetensors").rename(tmp_path / "c.pth")
    (tmp_path / "b.pth").rename(tmp_path / "a.safetensors")
    assert read_model(tmp_path / "c.pth").info.layout == "new"
    assert read_model(tmp_path / "a.safetensors").info.layout == "enhanced-srgan"


@pytest.mark.parametrize("low_bytes", [0x0280, 0x4D42])  # a pickle's first bytes, a bitmap's
def test_safetensors_whose_length_looks_like_another_format(tmp_path, low_bytes):
    content = save(tiny().state_dict(), {"stage": "any"})
    length = int.from_bytes(content[:8], "little")
    longer = next(n for n in range(length, length + 2**16 + 1) if n & 0xFFFF == low_bytes)
    header = content[8 : 8 + length].ljust(longer)
    path = tmp_path / "x.safetensors"
    path.write_bytes(longer.to_bytes(8, "little") + header + content[8 + length :])
    assert read_model(path).info.stage == "any"


def test_scale_three_without_metadata_is_taken_for_two(tmp_path):
    save_file(tiny(scale_factor=3).state_dict(), tmp_path / "x.safetensors")
    assert read_model(tmp_path / "x.safetensors").info.scale_factor == 2


def test_load_state_gives_what_is_stored(tmp_path):
    state = from_canonical(tiny().state_dict(), "old")
    raw = load_state(saved(tmp_path / "x.pth", {"params": state, "hparams": {"scale_factor": 4}}))
    assert raw.tensors.keys() == state.keys()
    assert (raw.wrapper, raw.hparams, raw.stage) == ("params", {"scale_factor": 4}, None)


# Other architectures


def test_another_architecture_goes_through_spandrel(tmp_path):
    compact = pytest.importorskip("spandrel.architectures.Compact")
    torch.manual_seed(0)
    net = compact.Compact(num_feat=8, num_conv=2, upscale=2).eval()
    path = saved(tmp_path / "compact.pth", {"params": net.state_dict()})
    loaded = read_model(path)
    lr = torch.rand(1, 3, 6, 7)
    with torch.inference_mode():
        torch.testing.assert_close(loaded.network(lr), net(lr).clamp(0, 1))
    info = loaded.info
    assert (info.architecture, info.layout, info.config) == ("RealESRGAN Compact", None, None)
    assert (info.scale_factor, info.img_channels, info.wrapper) == (2, 3, "params")
    assert loaded.network.to(torch.float64)(lr.double()).dtype == torch.float64


def test_spandrel_is_not_imported_for_rrdb_networks(tmp_path):
    save_generator(tmp_path / "x.pth", tiny())
    code = (
        "import sys; from torch_sr.models.reading import read_model; "
        f"read_model({str(tmp_path / 'x.pth')!r}); "
        "sys.exit(any(name in sys.modules for name in ('spandrel', 'torchvision')))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# Files that must be refused


class Payload:
    """The content of a malicious pickle: full unpickling would create a file."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.system, (f"touch {self.marker}",)


def truncated(path, keep):
    path.write_bytes(path.read_bytes()[:keep])
    return path


def safetensors_of(header, data=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def f32(shape, start, stop):
    return {"dtype": "F32", "shape": shape, "data_offsets": [start, stop]}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "Git LFS pointer"),
        (b"<!DOCTYPE html><html>Not found</html>", "web page"),
        (b"\n  <html><body>quota exceeded", "web page"),
        (b"PSNR 31.5\n", "is a text"),
        (b"cos\nsystem\n(S'touch marker'\ntR.", "is a text"),
        (b"\x89PNG\r\n\x1a\n" + bytes(64), "is an image"),
        (b"\xff\xd8\xff\xe0" + bytes(64), "is an image"),
        (b"RIFF\x00\x00\x00\x00WEBP" + bytes(64), "is an image"),
        (b"\x1f\x8b\x08" + bytes(64), "gzip"),
        (bytes(range(1, 64)), "not a known weights file"),
        (b"PK\x03\x04" + bytes(64), "truncated or damaged"),
        ((2**62).to_bytes(8, "little") + b'{"a":1}', "announces a header of 4611686018427387904"),
        (safetensors_of({"a": f32([2], 0, 8), "b": f32([2], 0, 8)}, bytes(8)), "damaged"),
        (safetensors_of({"a": f32([2], 0, 8), "b": f32([2], 4, 12)}, bytes(12)), "damaged"),
        (safetensors_of({"a": f32([2**40], 0, 2**42)}, bytes(8)), "damaged"),
        (safetensors_of({"a": f32([3], 0, 8)}, bytes(8)), "damaged"),
        (safetensors_of(b"{not json"), "damaged"),
        (safetensors_of({}), "no tensors"),
    ],
)
def test_other_files_are_named_in_the_error(tmp_path, content, reason):
    path = tmp_path / "x.pth"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=reason) as caught:
        read_model(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_files_and_folders(tmp_path):
    with pytest.raises(ModelError, match="does not exist"):
        read_model(tmp_path / "missing.pth")
    with pytest.raises(ModelError, match="is a folder"):
        read_model(tmp_path)


@pytest.mark.parametrize("name", ["x.pth", "x.safetensors"])
@pytest.mark.parametrize("keep", [0.03, 0.3, 0.9, 0.999])
def test_truncated_files(tmp_path, name, keep):
    save_generator(tmp_path / name, tiny())
    size = (tmp_path / name).stat().st_size
    with pytest.raises(ModelError, match="truncated or damaged"):
        read_model(truncated(tmp_path / name, int(size * keep)))


def test_truncated_legacy_pickle(tmp_path):
    path = saved(tmp_path / "x.pth", tiny().state_dict(), _use_new_zipfile_serialization=False)
    with pytest.raises(ModelError, match="damaged"):
        read_model(truncated(path, path.stat().st_size // 2))


@pytest.mark.parametrize("form", ["zip", "legacy", 2, 4])
@pytest.mark.parametrize("place", ["whole", "beside"])
def test_code_in_a_pickle_never_runs(tmp_path, form, place):
    marker = tmp_path / "marker"
    payload = Payload(marker)
    content = payload if place == "whole" else {"params": tiny().state_dict(), "note": payload}
    path = tmp_path / "x.pth"
    if form in ("zip", "legacy"):
        torch.save(content, path, _use_new_zipfile_serialization=form == "zip")
    else:
        path.write_bytes(pickle.dumps(payload, protocol=form))
    with pytest.raises(ModelError, match="safetensors") as caught:
        read_model(path)
    assert not marker.exists()
    assert "\n" not in str(caught.value)
    if form != 4:  # newer pickles than PyTorch writes are refused before their content is read
        assert f"would run code ({os.name}.system)" in str(caught.value)


def test_the_payload_would_have_run(tmp_path):
    pickle.loads(pickle.dumps(Payload(tmp_path / "marker")))
    assert (tmp_path / "marker").exists()


def test_whole_modules_are_refused(tmp_path):
    with pytest.raises(ModelError, match=r"would run code \(torch_sr\.networks\.rrdb\.RRDBNet\)"):
        read_model(saved(tmp_path / "x.pth", tiny()))


def test_torchscript_is_named_in_the_error(tmp_path):
    path = tmp_path / "x.pt"
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("x/data.pkl", "x/code/__torch__.py", "x/constants.pkl"):
            archive.writestr(name, b"")
    with pytest.raises(ModelError, match="TorchScript"):
        read_model(path)


def test_other_zip_archives_are_named_in_the_error(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.pth", "w") as archive:
        archive.writestr("readme.txt", b"weights inside")
    with pytest.raises(ModelError, match="zip archive without weights"):
        read_model(tmp_path / "x.pth")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ([1, 2], "has a list instead"),
        (torch.zeros(3), "has a Tensor instead"),
        ({}, "no generator; it has nothing"),
        ({"epoch": 3, "lr": 0.1}, "no generator; it has epoch, lr"),
        ({"iter": 5, "optimizers": [], "schedulers": []}, "name the model of the same step"),
        ({"d_model_state_dict": {"w": torch.zeros(1)}}, "no generator; it has d_model_state_dict"),
        ({"discriminator.w": torch.zeros(1)}, "a discriminator and no generator"),
        ({"state_dict": {"netD.w": torch.zeros(1)}}, "a discriminator and no generator"),
        ({"features.0.weight": torch.zeros(1)}, r"no known generator; it has features\.0\.weight"),
    ],
)
def test_files_without_a_generator(tmp_path, content, reason):
    with pytest.raises(ModelError, match=reason):
        read_model(saved(tmp_path / "x.pth", content))


def test_a_pickle_that_contains_itself_is_refused(tmp_path):
    knot = {}
    knot["model"] = knot
    with pytest.raises(ModelError, match="no generator; it has model"):
        read_model(saved(tmp_path / "x.pth", knot))
    knot["w"] = torch.zeros(1)
    with pytest.raises(ModelError, match="no known generator; it has w"):
        read_model(saved(tmp_path / "x.pth", knot))


@pytest.mark.filterwarnings("ignore:Sparse")
@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("conv_hr.bias", torch.full((8,), torch.nan), r"NaN or infinite numbers in conv_hr\.bias"),
        ("conv_hr.bias", torch.full((8,), torch.inf), r"NaN or infinite"),
        ("conv_hr.bias", torch.zeros(8, dtype=torch.int8), r"conv_hr\.bias as int8"),
        ("conv_hr.bias", torch.zeros(8, dtype=torch.complex64), "complex64"),
        ("conv_hr.bias", torch.zeros(9), r"conv_hr\.bias as \(9,\), where \(8,\) is needed"),
        ("conv_hr.bias", torch.zeros(8).to_sparse(), "sparse"),
        ("conv_hr.bias", torch.zeros(8, device="meta"), "meta"),
        ("conv_last.weight", torch.zeros(3, 8, 1, 1), r"conv_last\.weight as \(3, 8, 1, 1\)"),
        ("body.0.rdb2.conv2.weight", torch.zeros(4, 11, 3, 3), r"body\.0\.rdb2\.conv2\.weight"),
        ("conv_up2.weight", torch.zeros(32, 8, 3, 3), r"conv_up2"),
        ("extra.weight", torch.zeros(1), r"has extra\.weight, which no RRDB generator has"),
    ],
)
def test_unfit_parameters_are_named(tmp_path, key, value, reason):
    with pytest.raises(ModelError, match=reason):
        read_model(saved(tmp_path / "x.pth", tiny().state_dict() | {key: value}))


@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor")
def test_quantized_parameters_are_refused(tmp_path):
    key = "conv_hr.weight"
    quantised = torch.quantize_per_tensor(torch.zeros(8, 8, 3, 3), 0.1, 0, torch.qint8)
    with pytest.raises(ModelError, match=r"conv_hr\.weight as qint8"):
        read_model(saved(tmp_path / "x.pth", tiny().state_dict() | {key: quantised}))


@pytest.mark.parametrize(
    ("hparams", "reason"),
    [
        ({"scale_factor": 2}, "records scale_factor as 2, but its weights make it 4"),
        ({"generator": {"num_basic_blocks": 23}}, "num_basic_blocks"),
        ({"generator": {"residual_scaling": "big"}}, "residual_scaling as 'big'"),
        ({"generator": {"residual_scaling": float("nan")}}, "residual_scaling as nan"),
    ],
)
def test_hyper_parameters_must_fit_the_weights(tmp_path, hparams, reason):
    content = {"model_state_dict": tiny().state_dict(), "hparams": hparams}
    with pytest.raises(ModelError, match=reason):
        read_model(saved(tmp_path / "x.pth", content))


def test_the_x8_networks_of_enhanced_srgan_are_named_in_the_error(tmp_path):
    """Its x8 has four doubling steps, which enlarge sixteenfold."""
    state = tiny(scale_factor=8).state_dict()
    state |= {f"conv_up4.{kind}": state[f"conv_up3.{kind}"] for kind in ("weight", "bias")}
    with pytest.raises(ModelError, match="16"):
        read_model(saved(tmp_path / "x.pth", state))


# Writing


@pytest.mark.parametrize("name", ["x.onnx", "x", "x.txt"])
def test_unknown_suffixes_are_not_written(tmp_path, name):
    with pytest.raises(ModelError, match=r"suffix must be one of \.safetensors, \.pth, \.pt"):
        save_generator(tmp_path / name, tiny())
    assert not any(tmp_path.iterdir())


def test_parameters_that_are_not_finite_do_not_replace_a_file(tmp_path):
    path, net = tmp_path / "x.safetensors", tiny()
    save_generator(path, net)
    with torch.no_grad():
        net.conv_last.bias[0] = 1e6
    with pytest.raises(ModelError, match=r"conv_last\.bias has NaN or infinite"):
        save_generator(path, net, dtype=torch.float16)
    assert_same_output(read_model(path).network, tiny())


def test_unwritable_targets_are_reported(tmp_path):
    (tmp_path / "file").write_text("in the way")
    (tmp_path / "folder.pth").mkdir()
    for path in (tmp_path / "file" / "x.pth", tmp_path / "folder.pth"):
        with pytest.raises(ModelError, match=r"cannot be written|this is a folder"):
            save_generator(path, tiny())


def write_half(path, failure):
    with atomic_write(path) as temporary:
        temporary.write_text("half")
        raise failure


def test_atomic_write_replaces_whole_or_not_at_all(tmp_path):
    path = tmp_path / "x.txt"
    path.write_text("before")
    for failure in (ValueError, KeyboardInterrupt):
        with pytest.raises(failure):
            write_half(path, failure)
        assert path.read_text() == "before"
    with atomic_write(path) as temporary:
        assert temporary.suffix == ".txt"
        temporary.write_text("after")
        assert path.read_text() == "before"
    assert path.read_text() == "after"
    assert list(tmp_path.iterdir()) == [path]


def test_atomic_write_spares_devices_and_follows_links(tmp_path):
    with pytest.raises(OSError, match="not a regular file"), atomic_write("/dev/null"):
        pass
    (tmp_path / "link").symlink_to(tmp_path / "file")
    (tmp_path / "file").write_text("before")
    with atomic_write(tmp_path / "link") as temporary:
        temporary.write_text("after")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "file").read_text() == "after"


def test_written_files_are_as_readable_as_any_other(tmp_path):
    (tmp_path / "plain").touch()
    for name in ("x.safetensors", "x.pth"):
        save_generator(tmp_path / name, tiny())
        assert (tmp_path / name).stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_the_same_network_gives_the_same_pickle(tmp_path):
    for name in ("a.pth", "b.pth"):
        save_generator(tmp_path / name, tiny())
    assert (tmp_path / "a.pth").read_bytes() == (tmp_path / "b.pth").read_bytes()

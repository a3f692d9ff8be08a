"""Exported files: all formats, sizes, records; what is refused leaves no file."""

from __future__ import annotations

import json
import sys
import warnings

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import torch_sr
from torch_sr.errors import MissingExtraError, ModelError
from torch_sr.exporting.check import Tolerance, compare, photographs
from torch_sr.exporting.formats import choose_format
from torch_sr.models.model import Model
from torch_sr.networks.rrdb import RRDBNet

TINY = {
    "rrdb_channels": 16,
    "growth_channels": 4,
    "num_basic_blocks": 1,
    "num_dense_blocks": 1,
    "num_residual_blocks": 2,
}
SUFFIXES = {"torchscript": ".torchscript", "openvino": ".xml", "ncnn": ".param"}


@pytest.fixture(scope="module")
def model():
    """A small network that pads images to an even size."""
    torch.manual_seed(0)
    network = RRDBNet(scale_factor=2, pixel_unshuffle=2, **TINY)
    return Model.from_network(network, name="tiny", metadata={"license": "MIT"})


@pytest.fixture(scope="module")
def onnx_file(model, tmp_path_factory):
    pytest.importorskip("onnxscript")
    return torch_sr.export(model, tmp_path_factory.mktemp("onnx") / "tiny.onnx")


@pytest.fixture(scope="module")
def weights(model, tmp_path_factory):
    return str(model.save(tmp_path_factory.mktemp("weights") / "tiny.safetensors"))


def random_image(number, height, width, channels=3):
    return np.random.default_rng(1).random((number, channels, height, width), dtype=np.float32)


def by_pytorch(model, lr):
    return model(torch.from_numpy(lr)).numpy()


# ONNX


@pytest.mark.parametrize("shape", [(1, 17, 34), (3, 22, 15)])
def test_onnx_takes_any_number_and_size(model, onnx_file, shape):
    runtime = pytest.importorskip("onnxruntime")
    session = runtime.InferenceSession(onnx_file.path)
    lr = random_image(*shape)
    (sr,) = session.run(["sr"], {"lr": lr})
    assert np.abs(sr - by_pytorch(model, lr)).max() < 1e-5


def test_onnx_files_describe_themselves(model, onnx_file):
    onnx = pytest.importorskip("onnx")
    found = onnx.load(onnx_file.path)
    onnx.checker.check_model(found, full_check=True)
    records = {each.key: each.value for each in found.metadata_props}
    expected = {
        "scale": "2",
        "channels": "3",
        "color": "RGB",
        "license": "MIT",
        "name": "tiny",
        "architecture": "RRDBNet",
        "range": "0 to 1",
        "precision": "fp32",
        "source_sha256": model.weights_sha256,
    }
    assert records == onnx_file.records
    assert expected.items() <= records.items()
    assert 4 <= int(records["overlap"]) <= 40
    assert [(each.domain, each.version) for each in found.opset_import] == [("", 18)]
    dims = found.graph.input[0].type.tensor_type.shape.dim
    assert [dim.dim_param or dim.dim_value for dim in dims] == ["batch", 3, "height", "width"]


def test_onnx_files_are_self_contained(onnx_file):
    assert list(onnx_file.path.parent.iterdir()) == [onnx_file.path]
    content = onnx_file.path.read_bytes()
    for trace in (b"torch_sr/", b"site-packages", b"rrdb.py"):
        assert trace not in content


def test_onnx_in_half_precision_for_one_size(model, onnx_file, tmp_path):
    done = torch_sr.export(model, tmp_path / "half.onnx", half=True, size=(16, 24))
    assert done.precision == done.records["precision"] == "fp16"
    assert 1e-7 < done.largest_difference < 1e-3
    assert done.num_bytes < onnx_file.num_bytes * 0.8
    loaded = torch_sr.load(done.path)
    assert loaded.info.dtype == "float16"
    assert loaded.onnx.size == (16, 24)


# The other formats, each run by the library of its program


def run_torchscript(path, _):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch prefers torch.export
        records = {"torch-sr.json": ""}
        program = torch.jit.load(str(path), _extra_files=records)
    return (lambda lr: program(torch.from_numpy(lr)).numpy()), json.loads(records["torch-sr.json"])


def run_openvino(path, names):
    openvino = pytest.importorskip("openvino")
    core = openvino.Core()
    read = core.read_model(path)
    records = {key: read.get_rt_info(["torch-sr", key]).astype(str) for key in names}
    compiled = core.compile_model(read, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return (lambda lr: compiled({"lr": lr})["sr"]), records


def run_ncnn(path, _):
    ncnn = pytest.importorskip("ncnn")
    net = ncnn.Net()
    assert net.load_param(str(path)) == net.load_model(str(path.with_suffix(".bin"))) == 0

    def run(lr):
        extractor = net.create_extractor()
        extractor.input("data", ncnn.Mat(np.ascontiguousarray(lr[0])).clone())
        return np.array(extractor.extract("output")[1])[None]

    return run, {}


RUN = {"torchscript": run_torchscript, "openvino": run_openvino, "ncnn": run_ncnn}


@pytest.mark.parametrize(
    ("file_format", "half"),
    [
        ("torchscript", False),
        ("torchscript", True),
        ("openvino", True),
        ("ncnn", False),
        ("ncnn", True),
    ],
)
def test_other_formats(model, tmp_path, file_format, half):
    if file_format != "torchscript":
        pytest.importorskip(file_format)
    path = tmp_path / f"tiny{SUFFIXES[file_format]}"
    done = torch_sr.export(model, path, half=half)
    run, records = RUN[file_format](path, done.records)
    assert records == done.records
    assert (records.get("license"), records.get("scale")) in [("MIT", "2"), (None, None)]
    assert (done.format, done.precision) == (file_format, "fp16" if half else "fp32")
    assert done.largest_difference < done.tolerance
    assert sorted(tmp_path.iterdir()) == sorted(done.files)
    for height, width in (22, 30), (12, 16):
        lr = random_image(1, height, width)
        difference = np.abs(run(lr) - by_pytorch(model, lr)).max()
        assert difference < (2e-3 if half else 1e-5)


def test_a_file_for_one_size(model, tmp_path):
    done = torch_sr.export(model, tmp_path / "tiny.torchscript", size=(21, 30))
    assert done.size == (21, 30)
    assert done.shapes == ((1, 3, 21, 30),)


@pytest.mark.parametrize("channels", [1, 4])
def test_other_channels(tmp_path, channels):
    network = RRDBNet(scale_factor=1, img_channels=channels, **TINY)
    done = torch_sr.export(network, tmp_path / "tiny.ts")
    assert done.records["channels"] == str(channels)


def test_networks_of_other_architectures(tmp_path):
    done = torch_sr.export(compact(), tmp_path / "compact.torchscript")
    assert done.records["architecture"] == "RealESRGAN Compact"
    assert done.largest_difference < 1e-5


def test_ncnn_has_only_two_architectures(tmp_path):
    network = Model.from_network(nn.Upsample(scale_factor=2), scale_factor=2, name="nearest")
    with pytest.raises(ModelError, match="nearest: it is a Upsample; only RRDBNet and SRVGGNetC"):
        torch_sr.export(network, tmp_path / "nearest.param")
    assert not list(tmp_path.iterdir())


def compact():
    from spandrel.architectures.Compact import Compact

    from torch_sr.models.foreign import build_foreign

    torch.manual_seed(0)
    network = Compact(num_feat=8, num_conv=2, upscale=2)
    return Model.from_network(build_foreign(network.state_dict()))


# What is refused leaves no file


class Branching(nn.Module):
    """Tracing keeps only one of its branches."""

    def forward(self, lr):
        sr = F.interpolate(lr, scale_factor=2.0)
        return sr if lr.shape[-1] > 50 else 1 - sr


def test_networks_that_cannot_be_traced_for_any_size(tmp_path):
    network = Model.from_network(Branching(), scale_factor=2, name="branching")
    with pytest.raises(ModelError, match=r"branching: nothing was written.*by up to 0.*--size"):
        torch_sr.export(network, tmp_path / "branching.torchscript")
    assert not list(tmp_path.iterdir())
    assert torch_sr.export(network, tmp_path / "b.torchscript", size=16).largest_difference == 0


def test_a_difference_that_is_not_tolerated(run, weights, tmp_path):
    path = tmp_path / "tiny.torchscript"
    path.write_text("an earlier file")
    options = ("--half", "--tolerance", "1e-9", "--overwrite")
    code, out, err = run("export", weights, str(path), *options)
    assert (code, out) == (1, "")
    assert "nothing was written" in err
    assert "images of one size may work" not in err  # a convolution does not depend on it
    assert err.count("\n") == 1
    assert [*tmp_path.iterdir()] == [path]
    assert path.read_text() == "an earlier file"


def test_half_precision_must_not_be_wrong_on_average():
    lr = np.full((1, 1, 4, 4), 0.5, np.float32)
    found = compare(lambda x: x, lambda x: x + np.float32(0.01), [lr])
    assert found.largest_difference == pytest.approx(0.01)
    assert found.psnr == pytest.approx(40, abs=1e-3)
    assert found.within(Tolerance(0.05, 39))
    assert not found.within(Tolerance(0.05, 50))
    wrong = compare(lambda x: x, lambda x: x * np.float32(np.nan), [lr])
    assert not wrong.within(Tolerance(1, 0))
    assert not compare(lambda x: x, lambda x: x[..., 1:], [lr]).within(Tolerance(1, 0))


def test_the_photograph_is_large_enough():
    (large,) = photographs(3, (300, 700))
    assert large.shape == (1, 3, 300, 700)
    assert np.ptp(large) > 0.5
    assert [lr.shape for lr in photographs(1, None, least=64)] == [
        *[(1, 1, 64, 64)] * 2,
        (2, 1, 64, 64),
    ]


def test_existing_files_are_kept(model, tmp_path):
    path = tmp_path / "tiny.xml"
    path.with_suffix(".bin").write_bytes(b"of another program")
    with pytest.raises(ModelError, match=r"tiny.bin exists; --overwrite replaces it"):
        torch_sr.export(model, path)
    with pytest.raises(ModelError, match=r"tiny.bin: choose another name; there is no tiny.xml"):
        torch_sr.export(model, path, overwrite=True)
    assert path.with_suffix(".bin").read_bytes() == b"of another program"


def test_models_that_overflow_in_half_precision(model, tmp_path):
    from dataclasses import replace

    narrow = model.with_info(replace(model.info, precisions=("fp32",)))
    with pytest.raises(ModelError, match="does not compute in fp16; leave out --half"):
        torch_sr.export(narrow, tmp_path / "tiny.onnx", half=True)


@pytest.mark.parametrize(("package", "name"), [("onnxscript", "x.onnx"), ("openvino", "x.xml")])
def test_missing_packages(model, tmp_path, monkeypatch, package, name):
    monkeypatch.setitem(sys.modules, package, None)
    extra = "onnx" if package == "onnxscript" else package
    with pytest.raises(MissingExtraError, match=rf"{package} is not installed.*\[{extra}\]"):
        torch_sr.export(model, tmp_path / name)
    assert not list(tmp_path.iterdir())


# The command


def test_the_command(run, weights, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, err = run("export", weights, "--format", "torchscript", "--fixed", "--size", "24x16")
    assert (code, err) == (0, "")
    first, second = out.splitlines()
    assert first.startswith("tiny.torchscript: TorchScript, fp32, 24x16 pixels, 0.")
    assert second == (
        "checked against PyTorch on a photograph (24x16): no difference; allowed is 0.0001"
    )
    assert (tmp_path / "tiny.torchscript").is_file()


def test_the_command_prints_json(run, weights, tmp_path):
    code, out, _ = run("export", weights, str(tmp_path / "new" / "m.torchscript"), "--json")
    found = json.loads(out)
    assert code == 0
    assert found["files"] == [str(tmp_path / "new" / "m.torchscript")]
    assert (found["format"], found["size"], found["psnr"]) == ("torchscript", None, None)
    assert found["shapes"] == [[1, 3, 48, 64], [1, 3, 61, 37], [2, 3, 40, 40]]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["m.bin"], 1, "m.bin: end it in .onnx, .torchscript, .xml, .param, or name the format"),
        (["m.xml", "--format", "onnx"], 1, "m.xml: a file of ONNX ends in .onnx"),
        (["m.onnx", "--format", "tf"], 1, "format 'tf': unknown; use onnx, torchscript"),
        (["m.onnx", "--size", "10by10"], 2, "--size 10by10: write WIDTHxHEIGHT"),
        (["m.onnx", "--opset", "9"], 1, "opset 9: use 18 to "),
        (["m.xml", "--opset", "18"], 1, "opset 18: leave it out; OpenVINO has none"),
        (["m.param", "--size", "64"], 1, "size: leave it out; ncnn takes images of any size"),
        (["m.ts", "--size", "99999"], 1, "size 99999x99999: use at most 8192x8192"),
        (["m.ts", "--tolerance", "inf"], 1, "tolerance inf: use a finite number"),
        (["new/folders/m.onnx", "--opset", "9"], 1, "opset 9: use 18 to "),
    ],
)
def test_wrong_options(run, weights, tmp_path, monkeypatch, arguments, code, message):
    monkeypatch.chdir(tmp_path)
    found, out, err = run("export", weights, *arguments)
    assert (found, out) == (code, "")
    assert message in " ".join(err.split())
    assert "images of one size may work" not in err
    assert not list(tmp_path.iterdir())


def test_folders(run, weights, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.xml").mkdir()
    (tmp_path / "b.bin").mkdir()
    for name, folder in ("a.xml", "a.xml"), ("b.param", "b.bin"):
        code, _, err = run("export", weights, name, "--overwrite")
        assert code == 1
        assert f"{folder} is a folder; " in err
    code, out, _ = run("export", weights, "a.xml", "--format", "torchscript")
    assert (code, out.partition(":")[0]) == (0, "a.xml/tiny.torchscript")


def test_onnx_is_the_default():
    assert choose_format(None, None).name == "onnx"


def test_the_source_is_not_replaced(run, model, tmp_path):
    source, link = model.save(tmp_path / "w.pth"), tmp_path / "link.pth"
    link.symlink_to(source)
    before = source.read_bytes()
    for target in source, link:
        options = ("--format", "torchscript", "--overwrite")
        code, _, err = run("export", str(source), str(target), *options)
        assert (code, "w.pth is the source; give another name" in err) == (1, True)
    assert source.read_bytes() == before


def test_networks_without_colors(tmp_path):
    network = RRDBNet(scale_factor=1, img_channels=2, **TINY)
    with pytest.raises(ModelError, match="RRDBNet has 2 channels; only networks with 1, 3 or 4"):
        torch_sr.export(network, tmp_path / "m.torchscript")


def test_suffixes_of_weights_files_need_a_format(tmp_path):
    assert choose_format("torchscript", tmp_path / "m.pt").name == "torchscript"
    with pytest.raises(ModelError, match="name the format with --format"):
        choose_format(None, tmp_path / "m.pt")

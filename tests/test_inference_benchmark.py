"""The benchmark of engines measures, compares and draws."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

import pytest
from PIL import Image as PillowImage

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"


@pytest.fixture
def script(monkeypatch):
    """The script, whose workers find it as well."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    monkeypatch.delitem(sys.modules, "inference", raising=False)
    return importlib.import_module("inference")


@pytest.mark.slow  # a process for each engine
def test_measures_and_draws(script, monkeypatch, tmp_path, capsys):
    out, plot = tmp_path / "a.json", tmp_path / "a.png"
    command = [
        *("inference.py", "--quick", "--sizes", "16", "--threads", "1"),
        *("--engines", "torch", "--json", str(out), "--plot", str(plot)),
    ]
    monkeypatch.setattr(sys, "argv", command)
    script.main()
    report = json.loads(out.read_text())
    assert (report["threads"], report["rounds"]) == (1, 2)
    eager, ours = report["rows"]
    assert (eager["engine"], eager["ratio"], eager["difference"]) == ("eager", 1, 0)
    assert (ours["engine"], ours["model"], ours["width"]) == ("torch", "compact-x4", 16)
    assert ours["difference"] < 1e-5
    assert ours["memory"] > 50e6
    assert ours["gflops"] > 0
    assert ours["megapixels_per_second"] == pytest.approx(64 * 64 / 1e6 / ours["seconds"])
    assert PillowImage.open(plot).width > 700
    printed = capsys.readouterr().out
    assert printed.splitlines()[0].split()[:3] == ["model", "size", "engine"]
    assert len(printed.splitlines()) == 3


def test_engines_that_are_missing_are_left_out(script, monkeypatch):
    contenders = importlib.import_module("contenders")
    monkeypatch.setattr(contenders, "find_spec", lambda name: None)
    missing = [name for name in contenders.CONTENDERS if not contenders.is_installed(name)]
    assert "eager" not in missing
    assert missing == [
        *("native", "ncnn", "ncnn-vulkan", "ncnn-vulkan-fp16", "onnxruntime", "openvino")
    ]


def test_a_failing_engine_is_left_out(script, monkeypatch, capsys):
    def fail(*_):
        raise RuntimeError("no luck")

    monkeypatch.setattr(script, "Worker", fail)
    monkeypatch.setattr(
        sys, "argv", ["inference.py", "--quick", "--sizes", "16", "--engines", "torch"]
    )
    options = script._parse()
    with pytest.raises(SystemExit):
        script._start("compact-x4", options.sizes[0], options, Path())
    assert "eager is left out: no luck" in capsys.readouterr().err


def test_models_that_are_not_there_are_left_out(script, monkeypatch, capsys):
    assert list(script._found(["compact-x4", "nowhere.pth"])) == ["compact-x4"]
    assert "nowhere.pth is left out" in capsys.readouterr().err

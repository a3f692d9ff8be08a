"""torch-sr plan: what it prints, and what it refuses."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import pytest
from PIL import Image
from test_output import validate

from torch_sr.errors import TorchSRError
from torch_sr.models.zoo import find_file

JOB = ("plan", "--images", "1000000", "--megapixels", "2", "--device", "h100")


def test_an_estimate_is_called_one(run):
    code, out, err = run(*JOB, "--devices", "8")
    assert (code, err) == (0, "")
    first, second, *_ = out.splitlines()
    assert first.startswith("1,000,000 images of 2 megapixels, jpg to jpg, with compact-x4 (x4)")
    assert first.endswith("on 8 h100")
    assert second.startswith("ESTIMATE: compact-x4 was not measured on h100")
    for line in (
        "  devices       unknown; give --device-price",
        "the processors; ",
        "device.h100.tflops 989 TFLOP/s: cited",
        "NVIDIA H100 SXM datasheet",
        "writes to a store",
    ):
        assert line in out
    assert max(map(len, out.splitlines())) <= 100


def test_a_core_was_measured(run):
    code, out, _ = run("plan", "--images", "5", "--megapixels", "0.1", "--device", "cpu")
    assert code == 0
    assert "ESTIMATE" not in out
    assert "on 1 core\n" in out
    assert "speed.cpu.compact-x4" in out


def test_json_is_what_the_schema_says(run):
    code, out, _ = run(*JOB, "--hours", "24", "--device-price", "3", "--json")
    assert code == 0
    found = json.loads(out)
    validate(found, "plan")
    assert found["hours"] <= 24
    assert found["money"]["devices"] == pytest.approx(3 * found["device_hours"])
    assert found["estimate"]


def test_options_replace_constants(run):
    options = ("--utilization", "0.5", "--cores", "100", "--network", "50", "--efficiency", "1")
    prices = ("--get-price", "0", "--put-price", "0", "--storage-price", "0", "--months", "2")
    code, out, _ = run(*JOB, *options, *prices, "--overlap", "0", "--json")
    assert code == 0
    found = json.loads(out)
    assert found["image"]["cores"] == 100
    assert found["money"]["requests"] == found["money"]["storage"] == 0
    given = {name for name, each in found["constants"].items() if each["kind"] == "given"}
    assert {"utilization", "cores.gpu", "network.gpu", "efficiency"} <= given
    assert found["fastest_hours"] is None
    assert found["constants"]["utilization"]["source"] == "--utilization"


def test_a_limit_that_is_passed_is_named_first(run):
    _, out, _ = run(*JOB, "--devices", "5000")
    assert "LIMIT: the job would wait for writes to a store" in out.splitlines()[2]


def test_a_deadline_that_cannot_be_kept(run):
    code, _, err = run(*JOB, "--hours", "0.0001")
    assert code == 1
    assert "hours 0.0001: write at least" in err


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("plan", "--images", "5", "--megapixels", "1"), 2, "--device is missing"),
        (("plan", "--device", "h100", "--megapixels", "1"), 2, "--images is missing"),
        ((*JOB, "--images", "0"), 1, "images 0: write a number above 0"),
        ((*JOB, "--megapixels", "-1"), 1, "megapixels -1"),
        ((*JOB, "--megapixels", "nan"), 1, "megapixels nan"),
        ((*JOB, "--devices", "2", "--hours", "2"), 1, "give one of them"),
        ((*JOB, "--utilization", "1.5"), 1, "--utilization 1.5: write a number above 0, up to 1"),
        ((*JOB, "--cores", "0"), 1, "--cores 0: write a number above 0"),
        ((*JOB, "--get-price", "-1"), 1, "--get-price -1: write a number of 0 or more"),
        ((*JOB, "--device", "abacus"), 1, "--device abacus: unknown; use cpu, h200, h100"),
        ((*JOB, "--constants", "missing.json"), 1, "missing.json: cannot be read"),
        ((*JOB, "-m", "missing.pth"), 1, "missing.pth"),
        ((*JOB, "--plot", "missing/plan.png"), 1, "--plot missing/plan.png: choose another file"),
    ],
)
def test_bad_input_is_refused_in_one_line(run, arguments, code, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found, out, err = run(*arguments)
    assert (found, out) == (code, "")
    assert message in " ".join(err.replace("│", " ").split())
    assert "Traceback" not in err


def test_this_machine_is_measured(run, monkeypatch):
    monkeypatch.setattr("torch_sr.planning.measure._ROUNDS", 1)
    monkeypatch.setattr("torch_sr.planning.measure._SIZE", (32, 48))
    arguments = ("plan", "--images", "5", "--megapixels", "0.1", "--device", "cpu", "--measure")
    code, out, _ = run(*arguments, "--json")
    assert code == 0
    constants = json.loads(out)["constants"]
    for name in ("speed.cpu.compact-x4", "convert", "format.jpg.decode"):
        assert constants[name]["source"].find("--measure") >= 0, name
    assert constants["format.jpg.result_bytes"]["source"].startswith("benchmarks/plan.py")


def test_a_plan_is_drawn(run, tmp_path):
    path = tmp_path / "plan.png"
    assert run(*JOB, "--device-price", "3", "--plot", path)[0] == 0
    with Image.open(path) as image:
        assert image.size == (1000, 440)


def test_the_page_shows_what_the_commands_print():
    script = runpy.run_path(str(Path(__file__).parents[1] / "scripts" / "plan_examples.py"))
    text = script["PAGE"].read_text(encoding="utf-8")
    examples = list(script["EXAMPLE"].finditer(text))
    assert len(examples) == 2
    for match in examples:
        command, shown = match.groups()
        if "realesrgan" in command and not _is_here("realesrgan-x4plus"):
            continue
        found = script["output_of"](command, sources="\nSources\n" in shown)
        assert found == shown, "run python scripts/plan_examples.py"


def _is_here(model):
    try:
        return find_file(model) is not None
    except TorchSRError:
        return False

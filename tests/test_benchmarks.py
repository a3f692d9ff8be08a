"""The benchmark runs, and its numbers are where a reader looks for them."""

from __future__ import annotations

import importlib
import json
import runpy
import sys
from pathlib import Path

import pytest

BENCHMARK = Path(__file__).resolve().parents[1] / "benchmarks" / "training.py"
TINY = {
    "scale_factor": 4,
    "batch_size": 2,
    "pretraining": {"cr_patch_size": [16, 16], "train_datasets": ["photos"]},
    "generator": {"rrdb_channels": 4, "growth_channels": 2, "num_basic_blocks": 1},
}


@pytest.fixture
def arguments(tmp_path, save_photo, monkeypatch):
    """The arguments for three small photographs, in the folder of these."""
    for number in range(3):
        save_photo(tmp_path / "photos" / f"{number}.png", seed=number)
    (tmp_path / "tiny.json").write_text(json.dumps(TINY))
    monkeypatch.setenv("TORCH_SR_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return [str(BENCHMARK), "tiny.json", "--data-root", ".", "--device", "cpu"]


def test_measures_step_and_loader(arguments, monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(BENCHMARK.parent))
    script = importlib.import_module("training")
    command = [*arguments, "--set", "seed=1", "--steps", "1", "--rounds", "1"]

    def run_part(part):  # in this process, not in one for each part
        monkeypatch.setattr(sys, "argv", [*command, "--part", part])
        script.main()
        return json.loads(capsys.readouterr().out)

    monkeypatch.setattr(script, "run_part", run_part)
    monkeypatch.setattr(sys, "argv", command)
    script.main()
    result = json.loads(capsys.readouterr().out)
    assert result["config"] == "tiny.json"
    assert result["overrides"] == ["seed=1"]
    assert (result["batch_size"], result["crop"]) == (2, [16, 16])
    assert result["device"] == "cpu"
    for measured in ("images_per_s", "peak_memory_mb", "crops_per_s_per_core"):
        assert result[measured].keys() == {"torch-sr"}
        # The peak of this process may have been reached by a test before.
        assert result[measured]["torch-sr"] >= (0 if measured == "peak_memory_mb" else 1e-9)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--set", "batch_size=0"), "batch_size is 0"),
        (("--set", "batch_size=1", "--set", "pretraining.cr_patch_size=null"), "is null"),
        (("--basicsr", "nowhere"), "--basicsr needs a folder basicsr in nowhere"),
    ],
)
def test_refuses_in_one_line(arguments, monkeypatch, capsys, options, words):
    monkeypatch.setattr(sys, "argv", [*arguments, *options])
    with pytest.raises(SystemExit) as stop:
        runpy.run_path(str(BENCHMARK), run_name="__main__")
    message = str(stop.value)  # Python prints it and exits with 1
    assert words in message
    assert "\n" not in message
    assert capsys.readouterr() == ("", "")

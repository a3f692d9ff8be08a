"""The benchmark runs, and its numbers are where a reader looks for them."""

from __future__ import annotations

import json
import os
import subprocess
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
def benchmark(tmp_path, save_photo):
    """Run the benchmark on three small photographs with these further arguments."""
    for number in range(3):
        save_photo(tmp_path / "photos" / f"{number}.png", seed=number)
    (tmp_path / "tiny.json").write_text(json.dumps(TINY))
    command = [sys.executable, str(BENCHMARK), "tiny.json", "--data-root", ".", "--device", "cpu"]

    def run(*arguments):
        return subprocess.run(
            [*command, *arguments],
            cwd=tmp_path,
            env={**os.environ, "TORCH_SR_HOME": str(tmp_path / "home"), "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
        )

    return run


def test_measures_step_and_loader(benchmark):
    done = benchmark("--set", "seed=1", "--steps", "1", "--rounds", "1")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["config"] == "tiny.json"
    assert result["overrides"] == ["seed=1"]
    assert (result["batch_size"], result["crop"]) == (2, [16, 16])
    assert result["device"] == "cpu"
    for measured in ("images_per_s", "peak_memory_mb", "crops_per_s_per_core"):
        assert result[measured].keys() == {"torch-sr"}
        assert result[measured]["torch-sr"] > 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--set", "batch_size=0"), "batch_size is 0"),
        (("--set", "batch_size=1", "--set", "pretraining.cr_patch_size=null"), "is null"),
        (("--basicsr", "nowhere"), "--basicsr needs a folder basicsr in nowhere"),
    ],
)
def test_refuses_in_one_line(benchmark, arguments, words):
    done = benchmark(*arguments)
    assert done.returncode == 1
    assert done.stdout == ""
    assert words in done.stderr
    assert done.stderr.count("\n") == 1

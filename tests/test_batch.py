"""Many files at once: failures are reported, results kept, interrupts leave no partial file."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest

from torch_sr.images import Image, WriteOptions, read_image, write_image
from torch_sr.inference.files.batch import upscale_files
from torch_sr.inference.files.jobs import find_jobs
from torch_sr.inference.files.options import BatchOptions
from torch_sr.inference.files.sizes import target_size
from torch_sr.inference.files.survey import survey
from torch_sr.inference.upscaler import Upscaler


class Repeat:
    scale_factor = 2
    img_channels = 3
    tile_area = 400
    tiles_redone = 0

    def __call__(self, lr):
        return lr.repeat(2, 2).repeat(2, 3)


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    (tmp_path / "in").mkdir()
    for number in range(1, 6):
        pixels = rng.integers(0, 256, (20 + number, 30, 3), dtype=np.uint8)
        write_image(tmp_path / "in" / f"{number}.png", Image(pixels))
    return tmp_path


@pytest.fixture
def upscaler():
    return Upscaler(Repeat(), overlap=2)


def run(upscalers, folder, **options):
    jobs = find_jobs([str(folder / "in")], folder / "out").jobs
    return list(upscale_files(upscalers, jobs, BatchOptions(**options)))


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_several_devices_keep_the_order(folder):
    outcomes = run([Upscaler(Repeat(), overlap=2) for _ in range(3)], folder)
    assert [outcome.status for outcome in outcomes] == ["done"] * 5
    assert [outcome.job.source.name for outcome in outcomes] == [f"{n}.png" for n in range(1, 6)]
    for outcome in outcomes:
        wanted = read_image(outcome.job.source).color.repeat(2, 0).repeat(2, 1)
        np.testing.assert_array_equal(read_image(outcome.job.target).color, wanted)


def test_bad_files_are_reported_and_skipped(folder, upscaler):
    (folder / "in" / "2.png").write_bytes(b"")
    (folder / "in" / "3.png").write_bytes((folder / "in" / "3.png").read_bytes()[:200])
    outcomes = run([upscaler], folder)
    assert [o.status for o in outcomes] == ["done", "failed", "failed", "done", "done"]
    assert "2.png: is empty" in outcomes[1].message
    assert names(folder / "out") == ["1_sr.png", "4_sr.png", "5_sr.png"]


def test_existing_results_are_refused_skipped_or_replaced(folder, upscaler):
    run([upscaler], folder)
    before = (folder / "out" / "1_sr.png").stat().st_mtime_ns
    assert {outcome.status for outcome in run([upscaler], folder)} == {"failed"}
    (folder / "out" / "4_sr.png").unlink()
    statuses = [outcome.status for outcome in run([upscaler], folder, existing="skip")]
    assert statuses == ["skipped", "skipped", "skipped", "done", "skipped"]
    assert (folder / "out" / "1_sr.png").stat().st_mtime_ns == before
    run([upscaler], folder, existing="overwrite")
    assert (folder / "out" / "1_sr.png").stat().st_mtime_ns > before


def test_stopping_early_leaves_only_complete_results(folder, upscaler):
    jobs = find_jobs([str(folder / "in")], folder / "out").jobs
    outcomes = upscale_files([upscaler], jobs)
    next(outcomes)
    outcomes.close()
    assert all(not name.startswith(".") for name in names(folder / "out"))
    for name in names(folder / "out"):
        read_image(folder / "out" / name)


def test_bugs_are_not_hidden(folder):
    class Broken(Repeat):
        def __call__(self, lr):
            raise RuntimeError("our own mistake")

    with pytest.raises(RuntimeError, match="our own"):
        run([Upscaler(Broken(), overlap=2)], folder)
    assert names(folder / "out") == []


def test_limits_of_formats_are_reported_before_the_work(tmp_path):
    write_image(tmp_path / "a.png", Image(np.zeros((4, 9000, 3), np.uint8)))
    write_image(tmp_path / "b.png", Image(np.zeros((4, 90, 3), np.uint8)))
    jobs = find_jobs([str(tmp_path)], file_format="webp").jobs
    surveyed = list(survey(jobs, 2, BatchOptions(write=WriteOptions("webp"))))
    assert "WebP holds 16383" in surveyed[0].refusal
    assert surveyed[1].refusal is None
    assert [job.pixels for job in surveyed] == [36_000, 360]


def test_sizes_that_can_be_requested():
    assert target_size() is None
    assert target_size(2.5)(10, 20) == (25, 50)
    assert target_size(width=50)(10, 20) == (25, 50)
    assert target_size(height=50)(10, 20) == (50, 100)
    assert target_size(width=7, height=9)(10, 20) == (9, 7)
    assert target_size(0.01)(10, 20) == (1, 1)
    assert target_size(0.7)(5, 5) == (4, 4)
    assert target_size(1e308)(10, 10)[0] > 10**308  # which a format refuses
    assert target_size(width=10**400)(10, 20)[0] == 5 * 10**399


def test_invalid_file_names(folder, upscaler):
    (folder / "in" / "2.png").unlink()
    (folder / "in" / "2.png").symlink_to("2.png")
    (folder / "in" / ("z" * 251 + ".png")).write_bytes((folder / "in" / "1.png").read_bytes())
    (folder / "out").mkdir()
    (folder / "out" / "3_sr.png").symlink_to("3_sr.png")
    outcomes = run([upscaler], folder, existing="overwrite")
    assert [o.status for o in outcomes] == ["done", "failed", "failed", "done", "done", "failed"]
    assert "is a circular link" in outcomes[2].message
    assert "name too long" in outcomes[5].message
    assert [o.status for o in run([upscaler], folder)].count("failed") == 6


def test_an_existing_sheet_is_refused(folder, upscaler):
    (folder / "1_sr_sheet.png").touch()
    jobs = find_jobs([str(folder / "in" / "1.png")], folder / "1_sr.png", sheets=True).jobs
    (outcome,) = upscale_files([upscaler], jobs)
    assert "its sheet" in outcome.message
    assert not (folder / "1_sr.png").exists()


@pytest.mark.slow
@pytest.mark.parametrize("signal_", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_run_resumes(tmp_path, signal_, save_photo):
    for number in range(12):  # so many that the signal comes before the end
        save_photo(tmp_path / "in" / f"{number}.png", 80, 80, seed=number)
    command = [sys.executable, "-m", "torch_sr", "upscale", tmp_path / "in", "-o", tmp_path / "out"]
    command += ["--device", "cpu", "--skip-existing", "--json"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        # Processes that a shell starts in the background ignore interrupts; so would this one.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    first = json.loads(process.stdout.readline())
    process.send_signal(signal_)
    _, err = process.communicate(timeout=60)
    assert "Traceback" not in err
    assert process.returncode == (130 if signal_ == signal.SIGINT else -9)
    assert first["status"] == "done"
    whole = list((tmp_path / "out").glob("[0-9]*.png"))
    for path in whole:
        read_image(path)
    if signal_ == signal.SIGINT:
        assert len(names(tmp_path / "out")) == len(whole)
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert lines[-1]["summary"]["skipped"] == len(whole)
    assert lines[-1]["summary"]["done"] == 12 - len(whole)

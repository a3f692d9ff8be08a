"""The reports of ``torch-sr upscale``: notes, progress and the summary line."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PillowImage

from torch_sr.cli.upscale import run as upscale_run
from torch_sr.cli.upscale.options import UpscaleOptions
from torch_sr.cli.upscale.progress import Pace, _lines, duration, show_progress
from torch_sr.cli.upscale.report import Report
from torch_sr.inference.files.batch import Outcome
from torch_sr.inference.files.jobs import FoundFiles, Job
from torch_sr.models.files.writing import save_generator
from torch_sr.models.loading import ModelChoice
from torch_sr.networks.rrdb import RRDBNet


def make_jobs(count, pixels=1_000_000, folder="big"):
    return [Job(Path(f"{n}.png"), Path(folder, f"{n}_sr.png"), pixels=pixels) for n in range(count)]


def report_of(outcomes, findings=None, **options):
    findings = findings or FoundFiles([o.job for o in outcomes])
    report = Report(findings, ModelChoice("compact-x4", 0.7), **options)
    for outcome in outcomes:
        report.add(outcome)
    report.close()
    return report


# --- The summary ----------------------------------------------------------------------------------


def test_the_summary_line_has_files_pixels_time_and_place(capsys):
    jobs = make_jobs(4)
    statuses = ["done", "done", "skipped", "failed"]
    outcomes = [Outcome(j, s, "3.png: broken") for j, s in zip(jobs, statuses, strict=True)]
    findings = FoundFiles(jobs, [Path("a_sr.png")] * 12, [Path("a.txt"), Path("b.pdf"), Path("c")])
    assert report_of(outcomes, findings).failed
    out, err = capsys.readouterr()
    assert out == "big/0_sr.png\nbig/1_sr.png\n"
    failure, summary = err.splitlines()
    assert failure == "failed: 3.png: broken"
    assert summary.startswith(
        "2 done, 1 failed, skipped: 1 that exists, 12 results of earlier runs, 1 .txt, 1 .pdf, "
        "1 without a suffix; 2.00 megapixels in 0.0 s, "
    )
    assert summary.endswith(" MP/s; results in big/")


@pytest.mark.parametrize(
    ("targets", "where"),
    [
        (["x/a.png"], "result: x/a.png"),
        (["x/a.png", "x/b.png"], "results in x/"),
        (["x/y/a.png", "x/z/b.png"], "results in x/ and its sub-folders"),
        (["/x/a.png", "/b.png"], "results in / and its sub-folders"),
        (["/x/a.png", "b.png"], "results in 2 folders"),
        (["a.png", "s/b.png"], "results next to their sources"),
    ],
)
def test_where_the_results_are(capsys, targets, where):
    sources = ["1.png", "s/2.png"]
    jobs = [Job(Path(s), Path(t), pixels=9) for s, t in zip(sources, targets, strict=False)]
    report_of([Outcome(job, "done") for job in jobs])
    assert capsys.readouterr().err.splitlines()[-1].endswith(f"; {where}")


def test_the_summary_counts_files_that_an_interrupt_left(capsys):
    jobs = make_jobs(5)
    report_of([Outcome(jobs[0], "done")], FoundFiles(jobs))
    assert capsys.readouterr().err.startswith("1 done, 4 not finished (--skip-existing resumes); ")


def test_an_empty_list_is_nothing_to_do(capsys):
    report_of([])
    assert capsys.readouterr() == ("", "nothing to do: no files were named\n")


def test_quiet_leaves_what_failed(capsys):
    jobs = make_jobs(2)
    outcomes = [Outcome(jobs[0], "done", notes=("lost",)), Outcome(jobs[1], "failed", "broken")]
    report_of(outcomes, quiet=True)
    assert capsys.readouterr() == ("big/0_sr.png\n", "failed: broken\n")


# --- Notes ----------------------------------------------------------------------------------------


def test_a_note_is_shown_with_its_file(capsys):
    (job,) = make_jobs(1)
    report_of([Outcome(job, "done", notes=("the gain map was left out", "the alpha too"))])
    assert capsys.readouterr().err.splitlines()[:2] == [
        "note: 0.png: the gain map was left out",
        "note: 0.png: the alpha too",
    ]


def test_the_same_note_of_hundreds_of_files_is_counted(capsys):
    jobs = make_jobs(500)
    text = "JPEG holds one frame: the other {} frames were left out"
    outcomes = [Outcome(job, "done", notes=(text.format(n + 2),)) for n, job in enumerate(jobs)]
    outcomes.append(Outcome(jobs[0], "done", notes=("something else",)))
    report_of(outcomes)
    *notes, _ = capsys.readouterr().err.splitlines()
    assert notes == [
        *(f"note: {n}.png: {text.format(n + 2)}" for n in range(3)),
        "note: 0.png: something else",
        f"note: 497 more files: {text.format(2)}",
    ]


def test_json_has_notes_of_each_file_and_of_all(capsys):
    jobs = make_jobs(5)
    outcomes = [Outcome(job, "done", notes=("3 frames lost",)) for job in jobs]
    report = Report(FoundFiles(jobs), ModelChoice("compact-x4", 0.7), as_json=True)
    report.note("the model is not for this")
    for outcome in outcomes:
        report.add(outcome)
    report.close(tiles_redone=2)
    out, err = capsys.readouterr()
    *lines, last = map(json.loads, out.splitlines())
    assert [line["notes"] for line in lines] == [["3 frames lost"]] * 5
    assert last["summary"]["notes"] == [
        {"text": "the model is not for this", "files": None},
        {"text": "3 frames lost", "files": 5},
    ]
    assert err.splitlines()[0] == "note: the model is not for this"
    assert "3 frames" not in err


# --- Progress -------------------------------------------------------------------------------------


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def test_without_a_terminal_an_estimate_and_lines_at_growing_intervals(clock):
    (job,) = make_jobs(1, pixels=3600)  # a tile a second, of one pixel
    reported = []
    on_tile, _ = _lines(Pace([job], clock), lambda line: reported.append((clock.now, line)))
    for second in range(1, 3601):
        clock.now = float(second)
        on_tile(job, second, 3600)
    times = [time for time, _ in reported]
    assert times[:4] == [3, 33, 78, 146]
    assert max(b - a for a, b in pairwise(times)) <= 601
    assert reported[0][1] == "1 file, 0.004 megapixels: about 59 min 57 s left"
    assert reported[1][1] == "1%, 0.000 MP/s, about 59 min 27 s left"


def test_a_short_run_reports_no_progress(clock):
    (job,) = make_jobs(1)
    reported = []
    on_tile, _ = _lines(Pace([job], clock), reported.append)
    for second in range(1, 11):
        clock.now = float(second)
        on_tile(job, second, 10)
    assert reported == []


def test_skipped_and_failed_files_do_not_count_for_the_speed(clock):
    jobs = make_jobs(10)
    pace = Pace(jobs, clock)
    for job in jobs[:8]:
        pace.finish(Outcome(job, "skipped"))
    clock.now = 10.0
    pace.tile(jobs[8], 1, 2)
    assert pace.pixels == (500_000, 2_000_000)
    assert pace.speed == 50_000
    assert pace.seconds_left == 30
    pace.finish(Outcome(jobs[8], "failed"))
    assert pace.pixels == (0, 1_000_000)
    assert pace.seconds_left is None


def test_progress_goes_to_stderr_and_not_at_all_if_quiet(capsys, monkeypatch):
    monkeypatch.setattr("torch_sr.cli.upscale.progress._SECONDS_TO_ESTIMATE", 0.0)
    monkeypatch.setattr("torch_sr.cli.upscale.progress._WORTH_REPORTING", 0.0)
    (job,) = make_jobs(1)
    with show_progress([job]) as (on_tile, on_outcome):
        on_tile(job, 1, 2)
        on_outcome(Outcome(job, "done"))
    out, err = capsys.readouterr()
    assert (out, err.startswith("1 file, 1.00 megapixels: about ")) == ("", True)
    with show_progress([job], quiet=True) as (on_tile, on_outcome):
        on_tile(job, 1, 2)
    assert capsys.readouterr() == ("", "")


def test_the_bar_of_a_terminal_has_the_time_left(capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "160")
    jobs = make_jobs(2)
    with show_progress(jobs) as (on_tile, _):
        on_tile(jobs[0], 1, 2)
    err = capsys.readouterr().err
    assert "0/2 files" in err
    assert "left" in err


def test_durations():
    assert [duration(s) for s in (0.04, 59.94, 59.97, 3599.8, 7260)] == [
        "0.0 s",
        "59.9 s",
        "1 min 0 s",
        "1 h 0 min",
        "2 h 1 min",
    ]


# --- Compressed photographs -----------------------------------------------------------------------


@pytest.fixture
def upscale(monkeypatch, capsys, pair):
    """Run the command with a pair whose network is replaced by one that repeats pixels."""

    class Enlarge:
        scale_factor = 4
        tiles_redone = 0

        def __init__(self, *_, **__):
            pass

    def upscale_files(upscalers, jobs, *_):
        return (Outcome(job, "done") for job in jobs)

    monkeypatch.setattr(upscale_run, "Upscaler", Enlarge)
    monkeypatch.setattr(upscale_run, "upscale_files", upscale_files)

    def run(*arguments, **options):
        upscale_run.upscale_all(list(map(str, arguments)), UpscaleOptions(**options))
        return capsys.readouterr().err.splitlines()[:-1]

    return run


@pytest.fixture
def photos(tmp_path):
    tmp_path /= "photos"
    tmp_path.mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)
    for name, quality in (("bad", 50), ("good", 95), ("worse", 30)):
        PillowImage.fromarray(noise).save(tmp_path / f"{name}.jpg", quality=quality)
    PillowImage.fromarray(noise).save(tmp_path / "clean.png")
    return tmp_path


def test_compressed_photographs_are_mentioned_once_at_a_low_strength(upscale, photos):
    (line,) = upscale(photos, model="compact-x4")
    assert line == (
        f"note: 2 of 4 files are visibly compressed ({photos}/bad.jpg: JPEG of quality 50); "
        "--strength 0.7 removes compression artifacts, which compact-x4 sharpens at strength 0"
    )
    (line,) = upscale(photos / "worse.jpg", strength=0.3)
    assert line.startswith(f"note: {photos}/worse.jpg: JPEG of quality 30; --strength 0.7 removes")
    assert line.endswith("at strength 0.3")


def test_clean_images_other_models_strengths_and_finished_files_are_not(upscale, photos, tmp_path):
    faithful = {"model": "compact-x4"}
    assert upscale(photos / "good.jpg", photos / "clean.png", **faithful) == []
    other = tmp_path / "other.safetensors"
    save_generator(other, RRDBNet(rrdb_channels=4, growth_channels=2, num_basic_blocks=1))
    assert upscale(photos, model=str(other)) == []
    assert upscale(photos) == []
    assert upscale(photos, strength=0.5) == []
    assert upscale(photos, model="compact-x4-real") == []
    for name in ("bad", "worse"):
        (photos / f"{name}_sr.jpg").touch()
    assert upscale(photos / "bad.jpg", photos / "worse.jpg", skip_existing=True, **faithful) == []
    assert upscale(photos / "bad.jpg", quiet=True, **faithful) == []

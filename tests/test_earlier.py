"""Results of earlier runs, and only these, are recognized by name and size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PillowImage

from torch_sr.inference.files.jobs import find_jobs


@pytest.fixture
def make(tmp_path, monkeypatch):
    """Write images ``name=(width, height)`` into the working folder."""
    monkeypatch.chdir(tmp_path)

    def make(**images):
        for name, (width, height) in images.items():
            path = Path(name.replace("__", "/").replace("DOT", "."))
            path.parent.mkdir(parents=True, exist_ok=True)
            PillowImage.fromarray(np.zeros((height, width, 3), np.uint8)).save(path)

    return make


def sources(*arguments, out=None, **options):
    return [j.source.as_posix() for j in find_jobs(list(arguments), out, **options).jobs]


def earlier(*arguments, out=None, **options):
    return [path.as_posix() for path in find_jobs(list(arguments), out, **options).earlier]


def test_results_next_to_their_sources_are_skipped_wherever_new_ones_go(make):
    make(aDOTpng=(9, 6), a_srDOTpng=(36, 24), sub__bDOTjpg=(9, 6), sub__b_srDOTjpg=(36, 24))
    for out in ("big", None, "../elsewhere"):
        assert sources(".", out=out) == ["a.png", "sub/b.jpg"]
        assert earlier(".", out=out) == ["a_sr.png", "sub/b_sr.jpg"]
    assert sources("*.png", "sub/*", out="big") == ["a.png", "sub/b.jpg"]


def test_results_in_a_folder_below_their_sources_are_skipped(make):
    make(aDOTpng=(9, 6), s__bDOTpng=(9, 6))
    make(big__a_srDOTpng=(36, 24), big__s__b_srDOTpng=(36, 24), o__p__s__b_srDOTpng=(36, 24))
    assert sources(".", out="big2") == ["a.png", "s/b.png"]
    assert sources("**/*.png", out="big2") == ["a.png", "s/b.png"]
    assert sources("**/*.png", out="big") == ["a.png", "s/b.png"]


def test_other_formats_suffixes_and_sizes_of_results(make):
    make(aDOTpng=(9, 6), a_srDOTwebp=(36, 24), a_srDOTjpg=(14, 9), a_x4DOTpng=(36, 24))
    assert sources(".", out="big", suffix="_x4") == ["a.png"]
    assert sources(".", out="big") == ["a.png", "a_x4.png"]
    assert sources(".", out="big", suffix="") == ["a.png", "a_x4.png"]


def test_sheets_are_skipped(make):
    make(aDOTpng=(9, 6), a_sr_sheetDOTpng=(500, 300), a_x_sheetDOTpng=(500, 300))
    assert sources(".", out="big", suffix="_x") == ["a.png"]


def test_a_result_of_a_result_is_skipped_too(make):
    make(aDOTpng=(9, 6), a_srDOTpng=(36, 24), a_sr_srDOTpng=(144, 96))
    assert sources(".", out="big") == ["a.png"]


def test_images_that_are_not_results_are_processed(make):
    make(reportDOTpng=(90, 60), report_srDOTpng=(90, 60))  # the same in Serbian
    make(shotDOTpng=(90, 60), shot_srDOTpng=(120, 60))  # other proportions
    make(lone_srDOTpng=(36, 24), _srDOTpng=(9, 9), bsrDOTpng=(40, 40), bDOTpng=(10, 10))
    make(x__cDOTpng=(9, 6), y__c_srDOTpng=(36, 24))  # folders that are not within each other
    assert earlier(".", out="big") == []
    assert len(sources(".", out="big")) == 10


def test_a_named_file_is_processed(make):
    make(aDOTpng=(9, 6), a_srDOTpng=(36, 24))
    assert sources("a_sr.png", out="big") == ["a_sr.png"]
    for arguments in (("a_sr.png", "."), (".", "a_sr.png")):
        assert sorted(sources(*arguments, out="big")) == ["a.png", "a_sr.png"]


def test_a_folder_that_has_only_results_is_processed(make):
    make(aDOTpng=(9, 6), big__a_srDOTpng=(36, 24))
    assert sources("big", out="bigger") == ["big/a_sr.png"]


def test_videos_are_recognized_by_their_names(make):
    make()
    for name in ("clip.avi", "clip_sr.mp4", "other_sr.mp4", "clip_sr.png"):
        Path(name).touch()
    assert sources(".", out="big") == ["clip.avi", "clip_sr.png", "other_sr.mp4"]


def test_one_result_into_one_file(make):
    make(aDOTpng=(9, 6), a_srDOTpng=(36, 24))
    (job,) = find_jobs(["."], "big.png").jobs
    assert (job.source, job.target) == (Path("a.png"), Path("big.png"))

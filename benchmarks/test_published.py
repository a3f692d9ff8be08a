"""Check published numbers and published files, which the repository may not hold.

    TORCH_SR_DATA=../shared/data pytest benchmarks

Needs Set5, Set14 and BSDS500, in the folders that docs/guides/data.md names; without them, all is
skipped. What these tests cover is covered in tests/ as well, on images made for the purpose.
"""

from __future__ import annotations

import os
import runpy
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PillowImage
from skimage.io import imread

from torch_sr.data.image_pairs import open_pairs
from torch_sr.data.inspection.check import check_datasets, datasets_of
from torch_sr.data.inspection.perceptual_hashes import (
    _describe_benchmarks,
    find_matches,
    turned_hashes,
)
from torch_sr.data.inspection.registration import find_shift, match_colors
from torch_sr.data.photos.selection import choose_images
from torch_sr.data.resize import downscale
from torch_sr.data.sets.resolve import resolve
from torch_sr.evaluation.compare import compare
from torch_sr.evaluation.method import bicubic
from torch_sr.evaluation.metric_table import MetricSettings, build_protocol_metrics
from torch_sr.evaluation.statistics import mean_scores
from torch_sr.images import read_samples, to_unit

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared_data():
    """The folder of real data: $TORCH_SR_DATA, or ../shared/data next to the repository."""
    folder = Path(os.environ.get("TORCH_SR_DATA") or ROOT.parent / "shared" / "data")
    if not (folder / "benchmark").is_dir():
        pytest.skip(f"no real data in {folder}; set TORCH_SR_DATA")
    return folder


@pytest.mark.parametrize(
    ("name", "scale_factor", "published_psnr", "published_ssim"),
    [  # Dong et al. 2015 and Kim et al. 2016; x4 as in ESRGAN (Wang et al. 2018)
        ("set5", 2, 33.66, 0.9299),
        ("set5", 3, 30.39, 0.8682),
        ("set5", 4, 28.42, 0.8104),
        ("set14", 2, 30.24, 0.8688),
        ("set14", 3, 27.55, 0.7742),
        ("set14", 4, 26.00, 0.7027),
        ("b100", 4, 25.96, 0.6675),
    ],
)
def test_bicubic_rows_of_the_papers(
    shared_data, tmp_path, name, scale_factor, published_psnr, published_ssim
):
    pairs = open_pairs(
        [name],
        data_root=shared_data,
        scale_factor=scale_factor,
        purpose="test",
        cache_dir=tmp_path,
    )
    metrics = build_protocol_metrics(["psnr", "ssim"], MetricSettings(scale_factor))
    compared = compare([bicubic(scale_factor)], name, pairs, metrics)
    scores = [score for comparison in compared for score in comparison.scores]
    means = mean_scores(scores)[name]["bicubic"]
    assert means["psnr"] == pytest.approx(published_psnr, abs=0.05)
    assert means["ssim"] == pytest.approx(published_ssim, abs=0.002)


@pytest.mark.parametrize("scale_factor", [2, 3, 4])
@pytest.mark.parametrize(("name", "count"), [("Set5", 5), ("Set14", 14)])
def test_benchmark_files_without_a_differing_pixel(shared_data, name, count, scale_factor):
    folder = shared_data / "benchmark" / name / f"image_SRF_{scale_factor}"
    files = sorted(folder.glob("*_HR.png"))
    assert len(files) == count
    for file in files:
        lr = imread(file.with_name(file.name.replace("_HR", "_LR")))
        np.testing.assert_array_equal(downscale(imread(file), scale_factor), lr, file.name)


@pytest.mark.parametrize("scale_factor", [2, 3, 4])
def test_the_papers_low_resolution_is_where_it_should(shared_data, scale_factor):
    for pair in resolve("set5", shared_data, scale_factor, "test"):
        hr, lr = (to_unit(read_samples(path)) for path in (pair.hr, pair.lr))
        expected = np.clip(downscale(hr, scale_factor), 0, 1)
        assert max(map(abs, find_shift(lr, expected))) < 0.001
        assert match_colors(lr, expected).difference < 0.1
        nearest = hr[::scale_factor, ::scale_factor][: lr.shape[0], : lr.shape[1]]
        off = (scale_factor - 1) / 2 / scale_factor
        assert find_shift(nearest, expected) == pytest.approx((off, off), abs=0.03)


@pytest.mark.parametrize(
    ("spec", "purpose", "count"),
    [
        ("bsds500", "train", 400),
        ("bsds500", "test", 100),
        ("SunHays80", "train", 80),
        ("set5", "test", 5),
        ("set14", "test", 14),
    ],
)
def test_real_data_are_found(shared_data, spec, purpose, count):
    for scale_factor in (2, 3, 4):
        pairs = resolve(spec, shared_data, scale_factor, purpose)
        assert len({pair.hr for pair in pairs}) == count
        assert all((pair.lr is not None) == spec.startswith("set") for pair in pairs)


@pytest.mark.parametrize("scale_factor", [2, 3, 4])
def test_the_benchmarks_pass(shared_data, scale_factor):
    specs = {"test": ["set5", "set14"]}
    datasets, findings = datasets_of(specs, shared_data, scale_factor)
    assert check_datasets(datasets, scale_factor, findings=findings).passed


def test_val_of_bsds500_is_b100(shared_data):
    specs = {"train": ["bsds500:val"], "val": ["set5"]}
    datasets, findings = datasets_of(specs, shared_data, 4)
    report = check_datasets(datasets, 4, findings=findings)
    assert not report.passed
    assert next(f for f in report.findings if f.severity == "error").message.startswith(
        "contains all 100 images of B100"
    )


def test_training_data_of_bsds500_contain_one_image_of_set5(shared_data):
    datasets, findings = datasets_of({"train": ["bsds500"], "test": ["set5"]}, shared_data, 4)
    report = check_datasets(datasets, 4, findings=findings)
    assert {f.check for f in report.findings if f.severity == "error"} == {
        "benchmark",
        "duplicate",
    }
    assert all("302003.jpg" in f.message for f in report.findings if f.severity == "error")


def test_shipped_hashes_are_those_of_the_benchmarks(shared_data):
    folder = ROOT / "src/torch_sr/data/inspection"
    shipped = (folder / "benchmarks.json").read_text(encoding="utf-8")
    assert _describe_benchmarks(shared_data) + "\n" == shipped


def test_no_two_images_are_taken_for_one(shared_data):
    specs = (("bsds500:train+test+val", "train"), ("set5", "test"), ("set14", "test"))
    pairs = [pair for spec, purpose in specs for pair in resolve(spec, shared_data, 4, purpose)]
    hashes = np.stack([turned_hashes(read_samples(pair.hr)) for pair in pairs])
    found = {
        frozenset((pairs[a].name, pairs[b].name))
        for a, b, _ in find_matches(hashes, hashes[:, 0])
        if a != b
    }
    woman = frozenset(("302003", "img_005_SRF_4"))  # BSDS500's train split contains one of Set5
    face = frozenset(("img_004_SRF_4", "img_006_SRF_4"))  # and Set14 another
    assert found == {woman, face}


def test_benchmark_images_are_left_out(tmp_path, shared_data):
    folder = tmp_path / "photos"
    folder.mkdir()
    for seed in range(3):
        coarse = np.random.default_rng(seed).integers(20, 236, (9, 12, 3), np.uint8)
        PillowImage.fromarray(coarse).resize((90, 72)).save(folder / f"{seed}.png")
    source = shared_data / "benchmark/Set5/image_SRF_4/img_003_SRF_4_HR.png"
    PillowImage.open(source).rotate(90).save(folder / "butterfly.jpg", quality=80)
    chosen = choose_images(folder, scale_factor=4, crop_size=(64, 64))
    assert {path.name: reason for path, reason in chosen.left_out} == {
        "butterfly.jpg": "an image of Set5, which models are tested on",
    }


def test_real_photographs_keep_what_they_have(shared_data, tmp_path):
    script = runpy.run_path(str(ROOT / "benchmarks" / "formats.py"))
    table = script["make_photo_table"](shared_data / "photos", tmp_path)
    assert table in (ROOT / "docs" / "guides" / "upscaling.md").read_text(encoding="utf-8")

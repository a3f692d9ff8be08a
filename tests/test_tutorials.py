"""The tutorials, the guides and the README do what they show: commands and examples are run."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import pytest
import torch
from hostile_server import run_site
from live_service import live_service
from page_kit import SIZE, Follower, blocks, make_folder, packed, page_path
from PIL import Image

from torch_sr.data.sets import downloads
from torch_sr.data.sets.archives import Archive
from torch_sr.evaluation.metric_table import METRICS

WIDTH, HEIGHT = SIZE
ARCHIVES = {
    "bsds500": ("BSR", "BSR/BSDS500/data/images/test"),
    "div2k": ("DIV2K", "DIV2K/DIV2K_train_HR"),
    "set5": ("benchmark/Set5", "benchmark/Set5/HR"),
    "set14": ("benchmark/Set14", "benchmark/Set14/HR"),
    "b100": ("benchmark/B100", "benchmark/B100/HR"),
}
"""What the archive of a data set contains, and the folder that shows that it was unpacked."""


@pytest.fixture(scope="session")
def files(tmp_path_factory, vgg_file):
    folder = tmp_path_factory.mktemp("pages") / "files"
    folder.mkdir()
    make_folder(folder, vgg_file)
    return folder


@pytest.fixture
def follow(run, files, pair, tmp_path, monkeypatch):
    """Follow a page in a folder of its own, which is the current one afterwards."""
    shutil.copytree(files, tmp_path / "here")
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("TORCH_SR_HOME", str(tmp_path / "home"))
    lpips = replace(METRICS["lpips"], build=lambda _: lambda sr, hr: float((sr - hr).abs().mean()))
    monkeypatch.setitem(METRICS, "lpips", lpips)  # its weights would be downloaded

    def follow(page, **tables):
        return Follower(run, **tables).follow(page)

    return follow


@pytest.fixture
def archives(files, monkeypatch):
    """A server on this machine that has small archives of the data sets, in place of all others."""
    server = run_site()
    site, address = next(server)

    def archives_of(name, scale_factor, split=None):
        folder, holds = ARCHIVES[name]
        content = packed(files / "data", folder)
        site.files[f"/{name}.tar"] = content
        digest = "md5:" + hashlib.md5(content).hexdigest()
        return [Archive(f"{name}.tar", (address,), digest, "", holds)]

    monkeypatch.setattr(downloads, "archives_of", archives_of)
    yield
    next(server, None)


class Tables(NamedTuple):
    """What differs from a page when it is followed; see :class:`page_kit.Follower`."""

    reduced: Mapping[str, str] = MappingProxyType({})
    not_run: Mapping[str, str] = MappingProxyType({})


def size(path):
    with Image.open(path) as image:
        return image.size


def test_upscale_photographs(follow):
    printed = follow(
        "tutorials/upscale_photographs.md",
        reduced={
            "torch-sr doctor": "torch-sr doctor --no-timing",
            "--width 3840": "--width 384",
            "--width 1600": "--width 160",
            "-m realesrgan-x4plus": "-m realesr-animevideov3",
        },
    )
    assert "photo_sr.jpg\n" in printed["torch-sr upscale photo.jpg --compare"]
    assert size("photo_sr.jpg") == (4 * WIDTH, 4 * HEIGHT)
    assert {path.name for path in Path().glob("*_sheet.png")} == {
        "photo_sr_sheet.png", "photo_x4plus_sheet.png"
    }  # fmt: skip
    assert Path("mixed_preview.png").exists()
    names = ["astronaut", "cat", "coffee"]
    assert sorted(path.stem for path in Path("big").iterdir()) == [f"{name}_sr" for name in names]
    assert (
        "0 done, skipped: 3 that exist"
        in printed["torch-sr upscale holiday/ -o big/ --strength 0.4 --skip-existing"]
    )
    assert size("double/cat_sr.jpg") == (2 * WIDTH, 2 * HEIGHT)
    assert size("wall/cat_sr.jpg") == (384, 384 * HEIGHT // WIDTH)
    assert Image.open("web/cat_sr.webp").format == "WEBP"


def test_fine_tune(follow):
    short = "--set pretraining.num_steps=2 --set batch_size=2"
    printed = follow(
        "tutorials/fine_tune.md",
        reduced={
            "--minutes 15": short,
        },
        not_run={"torch-sr train --images my_photos/ --out run2 --gan": "slow: test_first.py"},
    )
    first, *_ = printed.values()
    assert "7 images to train on, 1 to validate on" in first
    assert all(f"pretraining  {word}" in first for word in ("start", "last"))
    files = {"config.json", "command.txt", "before_after.png", "logs", "saved_models"}
    files |= {"training_images.txt", "validation_images.txt"}
    assert {path.name for path in Path("run1").iterdir()} == files
    assert size("photo_sr.jpg") == (4 * WIDTH, 4 * HEIGHT)


def test_train_esrgan(follow, archives):
    shutil.rmtree("data")
    printed = follow(
        "tutorials/train_esrgan.md",
        reduced={"--precision bf16": "", "num_basic_blocks=23": "num_basic_blocks=2"},
    )
    commands = iter(printed.items())
    folders = ["data/BSR/BSDS500/data/images/test", "data/benchmark/Set14/HR"]
    assert next(commands)[1].split() == folders
    assert "no findings" in next(commands)[1]
    assert "FAIL" not in next(commands)[1]
    assert Path("check_pretraining.png").exists()
    for stage in ("PSNR", "ESRGAN"):
        assert Path(f"saved_models/small_RRDB_{stage}_x4_model.safetensors").exists()
        assert Path(f"saved_models/esrgan_RRDB_{stage}_x4_model.safetensors").exists()
    assert {path.stem for path in Path().glob("mixed*")} == {
        "mixed_preview", *(f"mixed_{alpha}" for alpha in ("0", "0.25", "0.5", "0.75", "1"))
    }  # fmt: skip


def test_compare_models(follow, archives):
    shutil.rmtree("data")
    printed = follow("tutorials/compare_models.md")
    _, markdown, latex, *_ = printed.values()
    assert markdown.count("| b100 | ") == 4 + 3  # means, and differences from the first model
    assert latex.count("\\begin{tabular}") == 2
    assert Path("report.html").read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert len(Path("scores.csv").read_text(encoding="utf-8").splitlines()) == 1 + 4 * 3
    assert size("plane.png")
    assert Path("results/compact-x4/set5/a_sr.png").exists()


def test_build_a_product(follow, tmp_path, capsys):
    with live_service(tmp_path / "service", token="sunflowers-in-the-garden") as (url, _):
        follow(
            "tutorials/build_a_product.md",
            reduced={"http://127.0.0.1:7860": url},
            not_run={"torch-sr serve": "runs until it is stopped; the fixture serves instead"},
        )
    assert size("photo_sr.webp") == size("large.webp") == (4 * WIDTH, 4 * HEIGHT)
    assert not Path("upload_sr.jpg").exists()


def test_run_on_a_cluster(follow):
    printed = follow(
        "tutorials/run_on_a_cluster.md",
        reduced={" --ray local": ""},
        not_run={
            "torch-sr upscale s3://": "needs a cluster and a store: test_ray.py, test_places_s3.py"
        },
    )
    plan, upscaled, report = printed.values()
    assert "devices       23.3" in plan
    assert "8 done" in upscaled
    lines = [json.loads(line) for line in report.splitlines() if line.startswith("{")]
    assert {line.get("status") for line in lines[:-1]} == {"done"}
    assert lines[-1]["summary"]["done"] == 8


# --- Other pages ----------------------------------------------------------------------------------

VIDEO = "needs a video: test_video.py"
GPU = "needs a GPU"
DOWNLOAD = "downloads: test_zoo.py, test_archives.py"
EXPORT = "takes seconds: one is run on guides/export.md, others by test_exporting.py"
TRAINING = "trains: the tutorials and test_train_command.py"
SERVE = "runs until it is stopped: test_serve_command.py"
CLUSTER = "needs a cluster: test_ray.py, test_places_s3.py"
AGAIN = {"upscale photo.jpg": "upscale photo.jpg --overwrite"}
SMALL = {"-m realesrgan-x4plus": "-m realesr-animevideov3"}
SHORT = {"--alpha 0:1:0.1": "--alpha 0:1:0.5"}
PAGES = {
    "README.md": Tables(
        reduced=AGAIN | SMALL | SHORT | {"-o config.json": "-o config.json --overwrite"},
        not_run={
            "torch-sr upscale clip.mp4": VIDEO,
            "torch-sr upscale s3://": CLUSTER,
            "torch-sr serve": SERVE,
            "torch-sr train": TRAINING,
            "torch-sr models extract": TRAINING,
            "torch-sr export": EXPORT,
            "torch-sr upscale photo.jpg -m compact-x4.onnx": EXPORT,
            "torch-sr data download": DOWNLOAD,
        },
    ),
    "guides/cluster.md": Tables(
        reduced={" --ray local": ""},
        not_run={"torch-sr upscale s3://": CLUSTER, 'torch-sr upscale "s3://': CLUSTER},
    ),
    "guides/data.md": Tables(
        reduced={
            "--crop 128": "--crop 32",
            "--crop 256": "--crop 32",
            "crop_size=(128, 128)": "crop_size=(32, 32)",
        },
        not_run={"torch-sr data download": DOWNLOAD},
    ),
    "guides/export.md": Tables(
        reduced={
            "export compact-x4 --format onnx": "export PSNR.pth compact-x4.onnx",
            '"compact-x4", "compact-x4.onnx", overwrite': '"PSNR.pth", "a.onnx", overwrite',
        },
        not_run={
            "torch-sr export compact-x4 compact": EXPORT,
            "torch-sr export realesrgan-x4plus": EXPORT,
            "torch-sr export mine.safetensors": EXPORT,
            "torch-sr export compact-x4 $format": EXPORT,
            "torch-sr upscale photos/ -m compact-x4.onnx --device cuda": GPU,
            "torch-sr serve": SERVE,
        },
    ),
    "guides/models.md": Tables(
        reduced={**AGAIN, **SMALL, **SHORT, "info realesrgan-x4plus": "info realesr-animevideov3"},
        not_run={"torch-sr interpolate esrgan-psnr-x4": DOWNLOAD, "torch-sr export": EXPORT},
    ),
    "guides/scale.md": Tables(
        reduced={"--constants constants.json": ""},
        not_run={
            "torch-sr plan --images 1000000 --megapixels 2 --device cuda": GPU,
            "torch-sr plan --images 1000000000 --megapixels 2 --device h100 --hours 720 "
            "--device-price 3 --model": "counts a large network: test_plan_command.py",
        },
    ),
    "guides/testing.md": Tables(
        reduced={"realesrgan-x4plus --strength 0:1:0.1": "--strength 0:1:0.5", ",niqe": ""}
    ),
    "guides/training.md": Tables(
        reduced={'device="cuda"': 'device="cpu"', "--crop 512": "--crop 32"},
        not_run={
            "torch-sr train configs/esrgan_default.json --set generator.num_basic_blocks": TRAINING,
            "torch-sr train configs/esrgan_default.json --data-root": TRAINING,
            "torch-sr train configs/esrgan_default.json -l": TRAINING,
            "torch-sr train configs/esrgan_default.json --name": TRAINING,
            "torch-sr train config.json": TRAINING,
            "torch-sr train configs/compact": TRAINING,
            "torch-sr train configs/starter": TRAINING,
            "torch-sr models extract": TRAINING,
        },
    ),
    "guides/upscaling.md": Tables(
        reduced=AGAIN | SMALL,
        not_run={
            "torch-sr upscale clip.mp4": VIDEO,
            "torch-sr upscale tape.mpg": VIDEO,
            "torch-sr upscale photo.jpg --device vulkan": GPU,
        },
    ),
    "coming_from/index.md": Tables(not_run={"torch-sr ": "files of others: test_importing.py"}),
    "reference/commands.md": Tables(not_run={"torch-sr doctor": "times engines: test_doctor.py"}),
}
"""Other pages whose commands are run. Those of the rest are only parsed, by test_readme.py."""
OWN_TESTS = {
    "guides/serving.md": "test_serving_docs.py",
    **{f"tutorials/{path.name}": "above" for path in page_path("tutorials").iterdir()},
}


@pytest.mark.parametrize("page", PAGES)
def test_other_page(page, follow):
    tables = PAGES[page]
    photo = np.asarray(Image.open("photo.jpg"))
    known = {"image": photo, "batch": np.stack([photo] * 2), "lr": torch.rand(1, 3, 12, 16)}
    shutil.copy("scan.tif", "a.tif")
    follow(page, reduced=tables.reduced, not_run=tables.not_run, known=known)


def test_no_example_in_python_is_left_out():
    docs = page_path("")
    pages = ["README.md", *(path.relative_to(docs).as_posix() for path in docs.rglob("*.md"))]
    python = {page for page in pages if any(language == "python" for language, _ in blocks(page))}
    assert python <= {*PAGES, *OWN_TESTS}

"""The tutorials, the guides and the README do what they show: commands and examples are run."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from page_kit import SIZE, Follower, make_folder
from PIL import Image

WIDTH, HEIGHT = SIZE


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

    def follow(page, **tables):
        return Follower(run, **tables).follow(page)

    return follow


def size(path):
    with Image.open(path) as image:
        return image.size


def test_upscale_photographs(follow):
    printed = follow(
        "tutorials/upscale_photographs.md",
        reduced={
            "torch-sr doctor": "torch-sr doctor --no-timing",
            "--width 3840": "--width 384",
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

"""The library, like the command, replaces existing files only on request."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from PIL import Image as PillowImage

from torch_sr.cli.main import main
from torch_sr.errors import ImageError
from torch_sr.inference.upscaler import Upscaler
from torch_sr.inference.video.upscaling import upscale_video


class Repeat:
    """An engine that must not be called before the target has been checked."""

    scale_factor = 2
    img_channels = 3
    tile_area = 400
    tiles_redone = 0

    def __init__(self):
        self.calls = 0

    def __call__(self, lr):
        self.calls += 1
        return lr.repeat(2, 2).repeat(2, 3)


@pytest.fixture
def engine():
    return Repeat()


@pytest.fixture
def source(tmp_path, save_photo):
    save_photo(tmp_path / "a.png")
    return tmp_path / "a.png"


def test_upscale_file_refuses_an_existing_target_before_the_work(source, tmp_path, engine):
    target = tmp_path / "b.png"
    target.write_text("precious")
    with pytest.raises(ImageError, match=r"b\.png exists; pass overwrite=True"):
        Upscaler(engine).upscale_file(source, target)
    assert target.read_text() == "precious"
    assert engine.calls == 0
    Upscaler(engine).upscale_file(source, target, overwrite=True)
    assert PillowImage.open(target).size == (64, 48)


def test_a_dangling_link_is_an_existing_target(source, tmp_path, engine):
    (tmp_path / "b.png").symlink_to("nowhere.png")
    with pytest.raises(ImageError, match="exists"):
        Upscaler(engine).upscale_file(source, tmp_path / "b.png")


def test_upscale_file_never_replaces_its_source(source, tmp_path, engine):
    before = source.read_bytes()
    (tmp_path / "link.png").symlink_to("a.png")
    for target in (source, tmp_path / "." / "a.png", tmp_path / "link.png"):
        with pytest.raises(ImageError, match="is the source; choose another name"):
            Upscaler(engine).upscale_file(source, target, overwrite=True)
    assert source.read_bytes() == before


def test_a_target_in_a_missing_folder_is_refused_before_the_work(source, tmp_path, engine):
    with pytest.raises(ImageError, match="folder"):
        Upscaler(engine).upscale_file(source, tmp_path / "new" / "b.png")
    assert engine.calls == 0


def test_upscale_video_refuses_an_existing_target(tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"")
    (tmp_path / "b.mp4").write_text("precious")
    with pytest.raises(ImageError, match=r"b\.mp4 exists; pass overwrite=True"):
        upscale_video(np.copy, 2, tmp_path / "a.mp4", tmp_path / "b.mp4")
    assert (tmp_path / "b.mp4").read_text() == "precious"


@pytest.mark.parametrize("command", ["convert", "extract"])
def test_models_that_exist_are_refused_before_the_work(tmp_path, monkeypatch, capsys, command):
    (tmp_path / "b.pth").write_text("precious")
    arguments = ["torch-sr", "models", command, "compact-x4", str(tmp_path / "b.pth")]
    monkeypatch.setattr(sys, "argv", arguments)
    with pytest.raises(SystemExit, match="1"):
        main()
    assert "b.pth exists; --overwrite replaces it" in capsys.readouterr().err
    assert (tmp_path / "b.pth").read_text() == "precious"


def test_a_converted_model_replaces_a_file_on_request(tmp_path, monkeypatch):
    (tmp_path / "b.pth").write_text("old")
    arguments = ["torch-sr", "models", "convert", "compact-x4", str(tmp_path / "b.pth")]
    monkeypatch.setattr(sys, "argv", [*arguments, "--overwrite"])
    with pytest.raises(SystemExit, match="0"):
        main()
    assert (tmp_path / "b.pth").stat().st_size > 10_000

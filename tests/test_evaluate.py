"""evaluate.py: models on data sets, from Python."""

import doctest
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image as Pillow

import torch_sr
from torch_sr.data.resize import imresize
from torch_sr.errors import DataError, ModelError
from torch_sr.evaluation.method import Method
from torch_sr.models.files.writing import save_generator
from torch_sr.networks.rrdb import RRDBNet


@pytest.fixture
def tiny(tmp_path):
    """Write a tiny network: ``tiny("a.safetensors", scale_factor=2)``."""

    def write(name, scale_factor=2):
        torch.manual_seed(0)
        network = RRDBNet(
            scale_factor=scale_factor, rrdb_channels=4, growth_channels=2, num_basic_blocks=1
        )
        save_generator(tmp_path / name, network)
        return tmp_path / name

    return write


@pytest.fixture
def data_root(tmp_path, save_photo, monkeypatch):
    monkeypatch.setenv("TORCH_SR_HOME", str(tmp_path / "home"))
    for number in range(2):
        save_photo(tmp_path / "data" / "photos" / f"{number}.png", 32, 40, seed=number)
    save_photo(tmp_path / "data" / "other" / "0.png", 32, 40, seed=9)
    return tmp_path / "data"


def test_names_files_models_and_methods_are_measured_together(tiny, data_root):
    path = tiny("a.safetensors")
    model = torch_sr.load(tiny("b.safetensors"))
    nearest = Method("nearest", lambda lr: lr.repeat(2, axis=0).repeat(2, axis=1))
    found = torch_sr.evaluate(
        [path, nearest, f"mine={path}", model], "photos,other", data_root=data_root, device="cpu"
    )
    assert list(found.means) == ["photos", "other"]
    assert list(found.means["photos"]) == ["bicubic", "a", "nearest", "mine", "b"]
    assert found.means["photos"]["a"] == found.means["photos"]["b"]
    assert len(found.scores) == 3 * 5
    assert {score.image for score in found.scores} == {"photos/0", "photos/1", "other/0"}


def test_means_are_those_of_the_images(tiny, data_root):
    found = torch_sr.evaluate(tiny("a.safetensors"), ["photos"], data_root=data_root, device="cpu")
    psnrs = [score.metrics["psnr"] for score in found.scores if score.method == "bicubic"]
    assert found.means["photos"]["bicubic"]["psnr"] == pytest.approx(np.mean(psnrs))
    hr = np.asarray(Pillow.open(data_root / "photos" / "0.png"))
    sr = imresize(imresize(hr, 0.5), 2.0)
    y = [image @ (65.481, 128.553, 24.966) / 255 + 16 for image in (sr, hr)]
    error = (y[0] - y[1])[2:-2, 2:-2]
    assert psnrs[0] == pytest.approx(10 * np.log10(255**2 / (error**2).mean()), abs=1e-6)


def test_every_protocol_has_its_scores(tiny, data_root):
    protocols = ("rgb", "paper")
    found = torch_sr.evaluate(
        tiny("a.safetensors"), "other", protocols=protocols, data_root=data_root, device="cpu"
    )
    assert found.protocols == ["rgb", "paper"]
    assert found.means["other"]["a"] == found.under("rgb")[1].metrics
    assert found.under("paper")[1].metrics != found.under("rgb")[1].metrics


def test_the_settings_of_cudnn_are_restored(tiny, data_root, monkeypatch):
    cudnn = torch.backends.cudnn
    monkeypatch.setattr(cudnn, "benchmark", True)
    monkeypatch.setattr(cudnn, "deterministic", False)
    seen = []

    def fail(comparison, number, total):
        seen.append((cudnn.deterministic, cudnn.benchmark, number, total))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        torch_sr.evaluate(
            tiny("a.safetensors"), "photos", data_root=data_root, device="cpu", on_comparison=fail
        )
    assert seen == [(True, False, 1, 2)]
    assert (cudnn.deterministic, cudnn.benchmark) == (False, True)


def test_what_cannot_be_measured_is_refused(tiny, data_root):
    path = tiny("a.safetensors")
    rest = {"data_root": data_root, "device": "cpu"}
    with pytest.raises(
        ModelError, match=r"choose models of the same scale factor to compare: a x2"
    ):
        torch_sr.evaluate([path, tiny("b.safetensors", 4)], "photos", **rest)
    with pytest.raises(ModelError, match="no model is given"):
        torch_sr.evaluate([], "photos", **rest)
    with pytest.raises(DataError, match="protocol 'y': choose one of paper, rgb"):
        torch_sr.evaluate(path, "photos", protocols=["y"], **rest)
    with pytest.raises(DataError, match="name a protocol: paper, rgb"):
        torch_sr.evaluate(path, "photos", protocols=[], **rest)
    with pytest.raises(DataError, match="name a data set to measure on"):
        torch_sr.evaluate(path, "", **rest)
    with pytest.raises(DataError, match="metric 'psrn'"):
        torch_sr.evaluate(path, "photos", metrics=["psrn"], **rest)


def test_the_example_of_the_docs(tmp_path, monkeypatch):
    colors = np.random.default_rng(0).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    (tmp_path / "photos").mkdir()
    squares = colors.repeat(12, axis=0).repeat(12, axis=1)
    Pillow.fromarray(squares).save(tmp_path / "photos" / "squares.png")
    monkeypatch.setenv("TORCH_SR_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    docs = Path(__file__).resolve().parents[1] / "docs" / "guides" / "testing.md"
    result = doctest.testfile(str(docs), module_relative=False)
    assert result.attempted
    assert not result.failed

"""backbones.py: torchvision's weights are downloaded once, resumed if needed, and verified."""

import hashlib
from contextlib import contextmanager
from functools import partial

import pytest
import torch
from hostile_server import break_off, run_site

from torch_sr.cli import measuring
from torch_sr.cli.test import run as command
from torch_sr.errors import DownloadError
from torch_sr.evaluation import metric_table
from torch_sr.losses import PerceptualLoss
from torch_sr.models import backbones
from torch_sr.models.backbones import backbone_file, download_backbone


@pytest.fixture
def server():
    yield from run_site()


@pytest.fixture
def served(server, vgg_file, tmp_path, monkeypatch):
    """The site, and the path that the weights it serves are downloaded to."""
    file = tmp_path / "served.pth"  # larger than the pieces in which it arrives
    torch.save(torch.load(vgg_file, weights_only=True) | {"classifier": torch.zeros(50_000)}, file)
    content = file.read_bytes()
    name = f"vgg11-{hashlib.sha256(content).hexdigest()[:8]}.pth"
    site, address = server
    site.files[f"/{name}"] = content
    found = tmp_path / "checkpoints" / name, f"{address}/{name}"
    monkeypatch.setattr(backbones, "backbone_file", lambda _: found)
    return site, found[0]


def test_torchvisions_name_holds_the_hash_that_is_checked():
    path, url = backbone_file("vgg19")
    assert path.name == "vgg19-dcbb9e9d.pth"
    assert url.endswith(f"/{path.name}")


def test_weights_are_downloaded_once(served):
    site, path = served
    reported = []
    found = download_backbone("vgg11", progress=lambda *so_far: reported.append(so_far))
    assert found == path
    size = path.stat().st_size
    assert reported[-1] == (size, size)
    assert download_backbone("vgg11") == path
    assert len(site.requests) == 1
    assert PerceptualLoss({"conv1_1": 1.0}, "vgg11").features.conv1_1.out_channels == 64


@pytest.mark.parametrize("plane", [False, True])
def test_a_test_shows_the_download_of_weights(
    plane, served, run, save_photo, tmp_path, monkeypatch
):
    _, path = served
    reported = []

    @contextmanager
    def progress():
        yield lambda *so_far: reported.append(so_far)

    for module in (measuring, command):
        monkeypatch.setattr(module, "download_progress", progress)
    small = partial(PerceptualLoss, {"conv1_1": 1.0}, "vgg11")
    monkeypatch.setattr(
        metric_table, "PerceptualLoss", lambda layers, weights: small(weights=weights)
    )
    save_photo(tmp_path / "photos" / "a.png", 80, 80)
    options = ["--plane", tmp_path / "plane.png"] if plane else []
    code, _, err = run(
        *("test", "compact-x4", "--datasets", tmp_path / "photos", "--device", "cpu"),
        *("--metrics", "perceptual_loss", *options),
    )
    assert code == 0, err
    assert reported[-1] == ("vgg19", path.stat().st_size, path.stat().st_size)


def test_an_interrupted_download_is_resumed(served, monkeypatch):
    monkeypatch.setattr("torch_sr.download.time.sleep", lambda seconds: None)
    site, path = served
    content = site.files[f"/{path.name}"]
    site.behaviors[f"/{path.name}"] = [break_off(100_000)]
    download_backbone("vgg11")
    assert path.read_bytes() == content
    first, second = (asked for _, asked in site.requests)
    assert first is None
    assert second.startswith("bytes=")


def test_other_content_is_refused(served):
    site, path = served
    site.files[f"/{path.name}"] = b"a web page"
    with pytest.raises(DownloadError, match=r"perceptual_loss\.weights.*serves a wrong file"):
        PerceptualLoss({"conv1_1": 1.0}, "vgg11")
    assert not path.exists()

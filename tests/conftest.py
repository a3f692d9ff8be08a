"""Fixtures for all tests: small images, tiny models and trainings, and commands in this process."""

import gc
import os
import shutil
import sys
from importlib.metadata import PackageNotFoundError

# The tests run in as many processes as there are cores, so each computes with one thread. Before
# PyTorch is imported, and for the processes that a test starts.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pytest
import requests
import torch
from PIL import Image as PillowImage
from skimage.data import chelsea
from training_kit import Recorder, WholeRun, make_both_stages, make_settings, weights_of

from torch_sr.cli.main import main
from torch_sr.images import Image, write_image
from torch_sr.models import weights
from torch_sr.models.files.writing import save_generator
from torch_sr.networks.rrdb import RRDBNet
from torch_sr.training.run import train_run


@pytest.hookimpl(wrapper=True)
def pytest_collection():
    """Leave what imported modules hold out of garbage collections: a third of the time."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.freeze()


def pytest_sessionfinish():
    """Let everything be freed in order at the end of the process."""
    gc.unfreeze()


def make_photo(height, width, channels=3, dtype=np.uint8, seed=0):
    """Gradients, an edge and texture, ``(H, W, C)``: something that interpolation can spoil."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    layers = [
        0.4 + 0.3 * np.sin(x / (3 + c) + c) * np.cos(y / (4 + c)) + 0.2 * (x > y + c)
        for c in range(channels)
    ]
    unit = np.clip(np.stack(layers, axis=2) + rng.normal(0, 0.05, (height, width, channels)), 0, 1)
    top = np.iinfo(dtype).max if np.issubdtype(dtype, np.integer) else 1
    return (unit * top).astype(dtype)


@pytest.fixture
def run(monkeypatch, capsys):
    """Run ``torch-sr`` in this process: its exit code, stdout and stderr."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["torch-sr", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            main()
        return stop.value.code or 0, *capsys.readouterr()

    return run


@pytest.fixture
def no_packages(monkeypatch):
    """Hide packages of models that are installed here."""

    def hide(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr("torch_sr.models.packages.distribution", hide)


@pytest.fixture
def offline(monkeypatch, tmp_path):
    """No network, and no weights of torchvision's networks on this machine."""

    def fail(url, **_):
        raise requests.exceptions.ConnectionError("(Caused by NameResolutionError(...))")

    monkeypatch.setattr(requests, "get", fail)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))


@pytest.fixture
def photo():
    """Make photo-like images: ``photo(height, width, channels, dtype, seed)``."""
    return make_photo


@pytest.fixture
def save_photo():
    """Write a photo-like image as a file, by Pillow, and return its pixels."""

    def save(path, height=24, width=32, seed=0):
        pixels = make_photo(height, width, seed=seed)
        path.parent.mkdir(parents=True, exist_ok=True)
        PillowImage.fromarray(pixels).save(path)
        return pixels

    return save


@pytest.fixture
def pair(tmp_path, monkeypatch):
    """A tiny pair in place of the shipped models, which stays in ``tmp_path / "pair"``."""
    return make_pair(tmp_path / "pair", monkeypatch)


def make_pair(folder, monkeypatch):
    """Train nothing: write a tiny pair into a folder, in place of the shipped models."""
    folder.mkdir()
    pair = weights.Pair("compact-x4", "compact-x4-real", 0.7)
    torch.manual_seed(0)
    network = RRDBNet(rrdb_channels=4, growth_channels=2, num_basic_blocks=1)
    for name in (pair.faithful, pair.restoring):
        with torch.no_grad():  # the second is the first, trained a little further
            for parameter in network.parameters():
                parameter += 0.05 * torch.randn_like(parameter)
            network.conv_last.bias.fill_(0.5)
        path = folder / f"{name}.safetensors"
        metadata = {"name": name, "license": "LGPL-2.1"}
        save_generator(path, network, metadata=metadata, dtype=torch.float16)
        monkeypatch.setitem(weights.SHIPPED, name, str(path))
    monkeypatch.setattr(weights, "PAIRS", (pair,))
    return pair


@pytest.fixture(scope="module")
def browser():
    """Chromium, if it is installed."""
    sync_api = pytest.importorskip("playwright.sync_api")
    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    path = next(filter(None, map(shutil.which, names)), None)
    if path is None:
        pytest.skip("needs Chromium")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def data_root(tmp_path_factory):
    """Five photographs of 64x48 pixels, in a folder named photos."""
    root = tmp_path_factory.mktemp("data")
    (root / "photos").mkdir()
    cat = chelsea()
    for number in range(5):
        pixels = np.ascontiguousarray(cat[40 * number : 40 * number + 48, 100:164])
        write_image(root / "photos" / f"{number}.png", Image.from_array(pixels))
    return root


@pytest.fixture
def settings(data_root, tmp_path):
    """Settings of a run on the CPU."""
    return make_settings(data_root, tmp_path)


@pytest.fixture(scope="session")
def whole_run(data_root, tmp_path_factory):
    """Train without interruption, each configuration once: its weights, losses and epochs."""
    runs = {}

    def run(config):
        key = config.to_json()
        if key not in runs:
            settings = make_settings(data_root, tmp_path_factory.mktemp("whole"))
            recorder = Recorder()
            model = train_run(config, settings, run="whole", loggers=[recorder]).model
            runs[key] = WholeRun(weights_of(model), recorder.losses, recorder.epochs)
        return runs[key]

    return run


@pytest.fixture(scope="session")
def vgg_file(tmp_path_factory):
    """Random weights for the first convolution of a VGG11: the trained ones are 500 MB."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("vgg") / "vgg11.pth"
    state = {
        "features.0.weight": 0.1 * torch.randn(64, 3, 3, 3),
        "features.0.bias": torch.zeros(64),
    }
    torch.save(state, path)
    return path


@pytest.fixture
def both_stages(vgg_file):
    """A configuration with two epochs of each stage."""
    return make_both_stages(vgg_file)

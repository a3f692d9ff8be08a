"""The shipped models keep the colors of a photograph and add no grid to it."""

import importlib
import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image as PillowImage
from skimage.data import chelsea

from torch_sr import Upscaler
from torch_sr.data.resize import downscale, imresize
from torch_sr.images import from_unit, to_nchw
from torch_sr.models.loading import load
from torch_sr.models.weights import PAIRS, SHIPPED

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
MOST_GRID = 20
"""Energy of a grid over that beside it, in dB. Bicubic interpolation reaches 6, and a checkerboard
of one level of 255 has 48 or more."""


MODELS = [(name, None) for name in SHIPPED]
MODELS += [(pair.faithful, pair.default_strength) for pair in PAIRS]


@pytest.fixture(scope="module", params=MODELS, ids=str)
def super_resolve(request):
    """Each shipped model and default, whole, bare borders: (H, W, 3) to (4 H, 4 W, 3), uint8."""
    name, strength = request.param
    network = load(name, strength=strength).network

    def super_resolve(lr):
        with torch.inference_mode():
            sr = network(torch.from_numpy(to_nchw(lr))).clamp(0, 1)
        return from_unit(sr[0].permute(1, 2, 0).numpy(), np.uint8)

    return super_resolve


@pytest.fixture
def grids(monkeypatch):
    """The benchmark's measure of grids, on the mean of red, green and blue, by period."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    measure = importlib.import_module("spectrum").grids
    return lambda rgb: measure(rgb.mean(axis=2))


def compressed(pixels, quality):
    file = io.BytesIO()
    PillowImage.fromarray(pixels).save(file, "JPEG", quality=quality)
    return np.asarray(PillowImage.open(file))


def noisy_waves(sigma=5, side=32):
    """A smooth image with Gaussian noise, which excites every frequency."""
    y, x = np.mgrid[:side, :side]
    waves = (128 + 60 * np.sin(x / 9) * np.cos(y / 11))[..., None]
    noise = np.random.default_rng(0).normal(0, sigma, (side, side, 3))
    return (waves + noise).round().clip(0, 255).astype(np.uint8)


def checkerboard(height, width, period):
    """-1 and 1 in squares of half a period."""
    squares = np.indices((height, width)) // (period // 2)
    return (squares.sum(axis=0) % 2 * 2 - 1)[..., None]


def test_colors_do_not_shift(super_resolve):
    lr = compressed(downscale(chelsea()[60:220, 100:260], 4), 60)
    shift = super_resolve(lr).mean(axis=(0, 1)) - lr.mean(axis=(0, 1))
    assert np.abs(shift).max() < 1


def test_no_grid_is_printed(super_resolve, grids):
    found = grids(super_resolve(noisy_waves()))
    assert max(found[2], found[4]) < MOST_GRID


@pytest.mark.parametrize("level", [0, 30, 128, 220, 255])
@pytest.mark.parametrize(("name", "strength"), MODELS, ids=str)
def test_flat_images_stay_flat_up_to_the_corners(name, strength, level):
    upscaler = Upscaler(name, strength=strength, device="cpu")
    flat = upscaler.upscale(np.full((16, 16, 3), level, np.uint8)).astype(int)
    assert np.abs(flat - level).max() <= 1
    assert np.ptp(flat, axis=(0, 1)).max() == 0


@pytest.mark.parametrize("sigma", [0, 5, 10])
def test_bicubic_interpolation_has_no_grid(grids, sigma):
    found = grids(imresize(noisy_waves(sigma), 4.0))
    assert max(found[2], found[4]) < MOST_GRID / 2


@pytest.mark.parametrize("period", [2, 4])
def test_a_checkerboard_of_one_level_is_a_grid(grids, period):
    smooth = imresize(noisy_waves(), 4.0).astype(int)
    found = grids(smooth + checkerboard(*smooth.shape[:2], period))
    assert found[period] > 2 * MOST_GRID
    assert found[6 - period] < MOST_GRID

"""Registration measures the shifts and color changes that were applied."""

import numpy as np
import pytest
from skimage.registration import phase_cross_correlation

from torch_sr.data.inspection.registration import find_shift, match_colors
from torch_sr.data.resize import downscale


@pytest.fixture
def texture():
    """A smooth random image, ``(H, W, 3)`` in [0, 1], larger than needed."""
    rng = np.random.default_rng(0)
    coarse = np.kron(rng.random((40, 40, 3)), np.ones((16, 16, 1)))
    return downscale(coarse.astype(np.float32), 2)


def shifted(image, dy, dx):
    """Moved by a Fourier transform, as scikit-image's documentation does."""
    rows = np.fft.fftfreq(image.shape[0])[:, None, None]
    columns = np.fft.fftfreq(image.shape[1])[None, :, None]
    phase = np.exp(-2j * np.pi * (rows * dy + columns * dx))
    return np.fft.ifft2(np.fft.fft2(image, axes=(0, 1)) * phase, axes=(0, 1)).real


SHIFTS = [(0, 0), (0.25, -0.25), (0.5, 0.03), (-1.4, 2.6), (7.3, -5.2)]


@pytest.mark.parametrize("shift", SHIFTS)
def test_shifts_are_found(texture, shift):
    moved = shifted(texture, *shift)[40:-40, 40:-40]
    fixed = texture[40:-40, 40:-40]
    assert find_shift(moved, fixed) == pytest.approx(shift, abs=0.01)
    expected, *_ = phase_cross_correlation(moved[..., 0], fixed[..., 0], upsample_factor=50)
    assert find_shift(moved, fixed) == pytest.approx(expected, abs=0.06)


def test_shift_is_found_under_other_colors_and_noise(texture):
    rng = np.random.default_rng(1)
    moved = 0.7 * shifted(texture, 0.25, 0.25).clip(0, 1) ** 1.2 + 0.1
    moved = (moved + rng.normal(0, 0.02, moved.shape))[40:-40, 40:-40]
    assert find_shift(moved, texture[40:-40, 40:-40]) == pytest.approx((0.25, 0.25), abs=0.03)


def test_flat_and_tiny_images_have_no_shift():
    flat = np.full((100, 100, 3), 0.5)
    assert find_shift(flat, flat) is None
    rng = np.random.default_rng(0)
    assert find_shift(rng.random((10, 100, 3)), rng.random((10, 100, 3))) is None


def test_different_images_give_a_finite_shift_or_none():
    rng = np.random.default_rng(0)
    found = find_shift(rng.random((100, 100, 3)), rng.random((100, 100, 3)))
    assert found is None or np.isfinite(found).all()


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        (lambda image: image, ""),
        (lambda image: image[..., ::-1], "swapping red and blue"),
        (lambda image: image**1.16, "a gamma of 1.16"),
        (lambda image: 0.8 * image + 0.1, "a contrast of 0.80 and a brightness of +2"),
    ],
)
def test_causes_of_other_colors_are_named(change, cause):
    rng = np.random.default_rng(0)
    image = np.kron(0.1 + 0.8 * rng.random((12, 12, 3)), np.ones((8, 8, 1)))
    match = match_colors(change(image), image)
    assert match.cause.startswith(cause)
    assert bool(match.cause) == bool(cause)
    assert (match.difference > 4) == bool(cause)


def test_gray_and_small_images_have_colors_too():
    gray = np.linspace(0, 1, 25).reshape(5, 5, 1)
    assert match_colors(gray, gray).difference == 0
    assert match_colors(gray * 0, gray).difference == pytest.approx(127.5)

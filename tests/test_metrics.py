"""metrics.py against scikit-image, and against the numbers that papers print for bicubic."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import bootstrap
from skimage.color import rgb2ycbcr
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

import torch_sr.config
import torch_sr.metrics
from torch_sr.errors import DataError
from torch_sr.evaluation.statistics import mean_interval
from torch_sr.metrics import PROTOCOLS, MetricProtocol, luma, measure, psnr, ssim


def nchw(image):
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))[None].double() / 255


@pytest.fixture
def images(photo):
    """A photo and a noisy copy, ``(H, W, 3)`` uint8."""
    hr = photo(40, 52)
    noise = np.random.default_rng(5).normal(0, 12, hr.shape)
    return np.clip(hr + noise, 0, 255).astype(np.uint8), hr


def skimage_ssim(a, b, data_range):
    """The map of scikit-image, averaged where the window fits completely."""
    _, values = structural_similarity(
        a,
        b,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        data_range=data_range,
        full=True,
    )
    return values[5:-5, 5:-5].mean()


def test_configurations_use_the_window_of_the_metric():
    # The configuration has its own constant, because it does not import PyTorch.
    assert torch_sr.config.SSIM_WINDOW == torch_sr.metrics.SSIM_WINDOW


def test_luma_is_that_of_scikit_image(images):
    for image in images:
        expected = rgb2ycbcr(image)[..., 0]
        np.testing.assert_allclose(luma(nchw(image))[0, 0] * 255, expected, atol=1e-9)


def test_luma_goes_from_16_to_235():
    gray = torch.linspace(0, 1, 12).view(1, 1, 3, 4).expand(1, 3, 3, 4)
    assert luma(gray).min().item() == pytest.approx(16 / 255)
    assert luma(gray).max().item() == pytest.approx(235 / 255)


def test_psnr_is_that_of_scikit_image(images):
    sr, hr = images
    expected = peak_signal_noise_ratio(hr, sr)
    assert psnr(nchw(sr), nchw(hr)).item() == pytest.approx(expected, abs=1e-9)
    assert psnr(torch.zeros(1, 1, 2, 2), torch.full((1, 1, 2, 2), 0.1)).item() == pytest.approx(20)


def test_ssim_is_that_of_scikit_image(images):
    sr, hr = images
    channels = [skimage_ssim(sr[..., c], hr[..., c], 255) for c in range(3)]
    assert ssim(nchw(sr), nchw(hr)).item() == pytest.approx(np.mean(channels), abs=1e-9)


@pytest.mark.parametrize("scale_factor", [2, 3, 4])
def test_paper_protocol(images, scale_factor):
    inner = (slice(scale_factor, -scale_factor), slice(scale_factor, -scale_factor))
    sr, hr = (rgb2ycbcr(image)[..., 0][inner] for image in images)
    result = measure(*map(nchw, images), scale_factor)
    assert result["psnr"] == pytest.approx(peak_signal_noise_ratio(hr, sr, data_range=255))
    assert result["ssim"] == pytest.approx(skimage_ssim(sr, hr, 255), abs=1e-9)


def test_rgb_protocol(images):
    sr, hr = (image[4:-4, 4:-4] for image in images)
    result = measure(*map(nchw, images), 4, PROTOCOLS["rgb"])
    assert result["psnr"] == pytest.approx(peak_signal_noise_ratio(hr, sr))
    channels = [skimage_ssim(sr[..., c], hr[..., c], 255) for c in range(3)]
    assert result["ssim"] == pytest.approx(np.mean(channels), abs=1e-9)


def test_results_are_rounded_and_clamped_as_a_stored_image_is(images):
    sr, hr = map(nchw, images)
    wild = sr + 0.4 / 255
    wild[sr == 1] = 7.0
    wild[sr == 0] = -7.0
    assert measure(wild, hr, 4) == measure(sr, hr, 4)
    exact = MetricProtocol("exact", "y", round_to_8_bit=False)
    assert measure(wild, hr, 4, exact)["psnr"] < measure(sr, hr, 4, exact)["psnr"]


def test_only_the_border_is_left_out(images):
    sr, hr = map(nchw, images)
    spoilt = sr.clone()
    spoilt[..., :4, :] = spoilt[..., -4:, :] = spoilt[..., :4] = spoilt[..., -4:] = 0
    assert measure(spoilt, hr, 4) == measure(sr, hr, 4)
    assert measure(spoilt, hr, 3)["psnr"] < measure(sr, hr, 3)["psnr"]
    whole = MetricProtocol("whole", "y", crop_border=False)
    assert measure(sr, hr, 2, whole) == measure(sr, hr, 4, whole)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_equal_images(images, protocol):
    hr = nchw(images[1])
    assert measure(hr, hr, 4, PROTOCOLS[protocol]) == {"psnr": math.inf, "ssim": pytest.approx(1)}


def test_single_precision_is_accepted(images):
    sr, hr = map(nchw, images)
    assert measure(sr.float(), hr.float(), 4) == measure(sr, hr, 4)


def test_gray_is_measured_as_it_is(images):
    sr, hr = (image[..., :1] for image in images)
    result = measure(nchw(sr), nchw(hr), 4)
    inner = (slice(4, -4), slice(4, -4), 0)
    assert result["psnr"] == pytest.approx(peak_signal_noise_ratio(hr[inner], sr[inner]))
    assert result["ssim"] == pytest.approx(skimage_ssim(sr[inner], hr[inner], 255))
    assert result == measure(nchw(sr), nchw(hr), 4, PROTOCOLS["rgb"])


def test_protocol_of_enhanced_srgan(images):
    """Gray of the full range, not cropped, not rounded; values out of range are clamped."""
    sr, hr = (image / 255 for image in images)
    unrounded = np.clip(sr + 0.3 / 255, 0, 1)
    result = measure(nchw(255 * (unrounded)), nchw(images[1]), 4, PROTOCOLS["enhanced-srgan"])
    gray_sr, gray_hr = (image @ [0.2989, 0.587, 0.114] for image in (unrounded, hr))
    assert result["psnr"] == pytest.approx(
        peak_signal_noise_ratio(gray_hr, gray_sr, data_range=1), abs=1e-6
    )
    assert result["ssim"] == pytest.approx(skimage_ssim(gray_sr, gray_hr, 1), abs=1e-6)
    beyond = measure(nchw(images[0]) + 1, nchw(images[1]), 4, PROTOCOLS["enhanced-srgan"])
    white = np.full_like(images[0], 255)
    assert beyond == measure(nchw(white), nchw(images[1]), 4, PROTOCOLS["enhanced-srgan"])


def test_interval_of_the_mean_is_that_of_scipy():
    values = np.random.default_rng(3).normal(30, 2, 40)
    low, high = mean_interval(values)
    expected = bootstrap(
        (values,), np.mean, n_resamples=5000, method="percentile", rng=np.random.default_rng(1)
    ).confidence_interval
    assert (low, high) == (
        pytest.approx(expected.low, abs=0.05),
        pytest.approx(expected.high, abs=0.05),
    )
    assert mean_interval(values) == (low, high)
    assert mean_interval([2.5]) == (2.5, 2.5)


def test_too_small_images():
    image = torch.rand(1, 3, 18, 40)
    with pytest.raises(DataError, match=r"11x11 pixels or more .*; got 32x10"):
        measure(image, image, 4)
    assert measure(image, image, 3)["ssim"] == pytest.approx(1)
    tiny = image[..., :5, :5]
    with pytest.raises(DataError, match="11x11"):
        measure(tiny, tiny, 4)


def test_images_of_two_shapes():
    with pytest.raises(DataError, match=r"\(1, 3, 20, 20\) and \(1, 3, 20, 24\)"):
        measure(torch.rand(1, 3, 20, 20), torch.rand(1, 3, 20, 24), 4)

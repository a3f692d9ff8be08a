"""data/degradation: every step against an independent computation, and the whole pipeline."""

import io
import math

import cv2
import numpy as np
import pytest
import scipy.ndimage
import scipy.special
import scipy.stats
import torch
from PIL import Image as PillowImage
from skimage.data import astronaut, chelsea
from skimage.registration import phase_cross_correlation

from torch_sr.config import BlurConfig, DegradationConfig, RoundConfig, SecondRoundConfig
from torch_sr.data.degradation import Degradation, sharpen
from torch_sr.data.degradation.filters import INTERPOLATIONS, blur, resize
from torch_sr.data.degradation.jpeg import compress_levels
from torch_sr.data.degradation.kernels import (
    draw_kernel,
    gaussian_kernel,
    generalized_kernel,
    plateau_kernel,
    sinc_kernel,
)
from torch_sr.data.degradation.levels import to_levels, to_samples, to_unit
from torch_sr.data.degradation.noise import add_gaussian_noise, add_poisson_noise
from torch_sr.data.resize import downscale
from torch_sr.errors import DataError

SCALE = 4
NO_BLUR = {"probability": 0.0}
KEEP = (0.0, 0.0, 1.0)


def calm(kind=RoundConfig, **changes):
    """A round that does nothing but what is requested."""
    quiet = {"noise_probability": 0.0, "jpeg_probability": 0.0, "resize_probabilities": KEEP}
    return kind(**{"blur": NO_BLUR, **quiet, **changes})


def config(first=None, second=None, **changes):
    return DegradationConfig(
        first=first or calm(), second=second or calm(SecondRoundConfig), **changes
    )


def floats(height=40, width=50, channels=3, seed=0):
    return np.random.default_rng(seed).random((height, width, channels), dtype=np.float32)


def photograph(height=128, width=160):
    return np.ascontiguousarray(chelsea()[60 : 60 + height, 90 : 90 + width])


# --- kernels ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("size", "sigma"), [(7, 0.2), (13, 1.7), (21, 3.0)])
def test_a_round_gaussian_is_the_product_of_two_normal_densities(size, sigma):
    line = scipy.stats.norm.pdf(np.arange(size) - size // 2, scale=sigma)
    line /= line.sum()
    np.testing.assert_allclose(
        gaussian_kernel(size, (sigma, sigma)), np.outer(line, line), atol=1e-6
    )


def covariance(sigma, angle):
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    return turn @ np.diag(np.square(sigma)) @ turn.T


def positions(size):
    """``(size, size, 2)``: x and y of every pixel from the middle."""
    y, x = np.mgrid[:size, :size] - size // 2
    return np.stack([x, y], axis=-1)


@pytest.mark.parametrize("angle", [0.0, 0.4, -2.0])
def test_an_elliptic_gaussian_is_the_normal_density_of_its_covariance(angle):
    matrix = covariance((3.0, 0.8), angle)
    density = scipy.stats.multivariate_normal(cov=matrix).pdf(positions(15))
    np.testing.assert_allclose(
        gaussian_kernel(15, (3.0, 0.8), angle), density / density.sum(), atol=1e-6
    )


@pytest.mark.parametrize("beta", [0.5, 1.0, 3.0])
def test_generalized_and_plateau_kernels_follow_their_formulas(beta):
    inverse = np.linalg.inv(covariance((2.0, 1.2), 0.7))
    squared = np.einsum("yxi,ij,yxj->yx", positions(11), inverse, positions(11))
    for kernel_f, expected in (
        (generalized_kernel, np.exp(-0.5 * squared**beta)),
        (plateau_kernel, 1 / (squared**beta + 1)),
    ):
        kernel = kernel_f(11, (2.0, 1.2), 0.7, beta)
        np.testing.assert_allclose(kernel, expected / expected.sum(), atol=1e-6)


def test_a_generalized_kernel_of_exponent_1_is_the_gaussian():
    expected = gaussian_kernel(9, (2.0, 1.0), 0.3)
    np.testing.assert_allclose(generalized_kernel(9, (2.0, 1.0), 0.3, 1.0), expected, atol=1e-7)


@pytest.mark.parametrize("size", [7, 21, 51])
@pytest.mark.parametrize("cutoff", [math.pi / 5, 2.0, math.pi])
def test_a_sinc_kernel_is_the_bessel_function_over_the_radius(size, cutoff):
    radius = np.hypot(*np.moveaxis(positions(size), -1, 0))
    radius[size // 2, size // 2] = 1  # any but 0
    expected = cutoff * scipy.special.j1(cutoff * radius) / (2 * math.pi * radius)
    expected[size // 2, size // 2] = cutoff**2 / (4 * math.pi)
    np.testing.assert_allclose(sinc_kernel(size, cutoff), expected / expected.sum(), atol=1e-7)


def test_a_sinc_kernel_passes_low_frequencies_and_stops_high_ones():
    response = np.abs(np.fft.fft2(sinc_kernel(51, 1.2), (256, 256)))
    frequency = np.hypot(*np.meshgrid(*[2 * math.pi * np.fft.fftfreq(256)] * 2))
    assert response[frequency < 0.9].min() > 0.9
    assert response[frequency > 1.5].max() < 0.1


def test_drawn_kernels_have_the_configured_sizes_and_shares():
    rng = np.random.default_rng(0)
    kernels = [draw_kernel(BlurConfig(kernel_size=13), rng) for _ in range(2000)]
    sizes, counts = np.unique([len(kernel) for kernel in kernels], return_counts=True)
    assert sizes.tolist() == [7, 9, 11, 13]
    assert np.abs(counts - 500).max() < 4 * math.sqrt(2000 * 0.25 * 0.75)
    for kernel in kernels:
        assert kernel.dtype == np.float32
        assert abs(kernel.sum() - 1) < 1e-5
        np.testing.assert_allclose(kernel, kernel[::-1, ::-1], atol=1e-7)
    rings = sum(kernel.min() < 0 for kernel in kernels)  # only a sinc filter has negative weights
    assert abs(rings - 200) < 4 * math.sqrt(2000 * 0.1 * 0.9)
    same_both_ways = [np.allclose(k, np.rot90(k), atol=1e-6) for k in kernels]
    share = 0.1 + 0.9 * (0.45 + 0.12 + 0.12)
    assert abs(sum(same_both_ways) / 2000 - share) < 0.05


@pytest.mark.parametrize(
    ("shape", "symmetric"), [("iso", True), ("plateau_iso", True), ("generalized_aniso", False)]
)
def test_only_the_named_kernels_are_drawn(shape, symmetric):
    blur_config = BlurConfig(kernels={shape: 1.0}, sinc_probability=0.0, sigma=(1.0, 3.0))
    for seed in range(20):
        kernel = draw_kernel(blur_config, np.random.default_rng(seed))
        assert np.allclose(kernel, np.rot90(kernel), atol=1e-6) == symmetric


# --- blur and resizing --------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("sigma", [(3.0, 0.7), (2.0, 2.0)])
@pytest.mark.parametrize("size", [7, 21])
def test_blur_is_a_convolution_with_a_mirrored_border(size, sigma, channels):
    image, kernel = floats(channels=channels), gaussian_kernel(size, sigma, 0.5)
    blurred = blur(image, kernel)
    assert blurred.dtype == np.float32
    assert blurred.shape == image.shape
    for channel in range(channels):
        expected = scipy.ndimage.convolve(image[..., channel], kernel, mode="mirror")
        np.testing.assert_allclose(blurred[..., channel], expected, atol=2e-6)


SIZES = [(20, 25), (17, 31), (40, 50), (57, 90)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", ["bilinear", "bicubic"])
def test_bilinear_and_bicubic_are_those_of_torch(name, size):
    image = floats()
    tensor = torch.from_numpy(image.transpose(2, 0, 1)[None].copy())
    expected = torch.nn.functional.interpolate(tensor, size, mode=name, align_corners=False)
    got = resize(image, size, name)
    np.testing.assert_allclose(got, expected[0].permute(1, 2, 0), atol=1e-4)


def box_weights(old, new):
    """Share of each old pixel in each new one, by the lengths that they have in common."""
    edges = np.arange(new + 1) * old / new
    low, high = edges[:-1, None], edges[1:, None]
    shared = np.minimum(high, np.arange(old) + 1) - np.maximum(low, np.arange(old))
    return np.clip(shared, 0, None) * new / old


@pytest.mark.parametrize("size", SIZES)
def test_area_is_the_mean_over_each_new_pixel(size):
    image = floats()
    rows, columns = box_weights(40, size[0]), box_weights(50, size[1])
    expected = np.einsum("yi,xj,ijc->yxc", rows, columns, image)
    np.testing.assert_allclose(resize(image, size, "area"), expected, atol=1e-5)


@pytest.mark.parametrize("name", INTERPOLATIONS)
def test_gray_images_keep_their_axis(name):
    assert resize(floats(channels=1), (9, 7), name).shape == (9, 7, 1)
    assert resize(floats(), (40, 50), name).shape == (40, 50, 3)


# --- noise --------------------------------------------------------------------------------------


@pytest.mark.parametrize("gray", [False, True])
def test_gaussian_noise_has_the_requested_sigma(gray):
    image = np.full((200, 200, 3), 0.5, np.float32)
    noisy = add_gaussian_noise(image, 20.0, np.random.default_rng(0), gray=gray)
    noise = (noisy - image) * 255
    assert noisy.dtype == np.float32
    assert abs(noise.std() - 20) < 0.3
    assert abs(noise.mean()) < 0.3
    between = np.corrcoef(noise.reshape(-1, 3).T)[np.triu_indices(3, 1)]
    assert (between > 0.999).all() if gray else (np.abs(between) < 0.03).all()
    assert scipy.stats.kstest(noise[..., 0].ravel() / 20, "norm").pvalue > 1e-3


@pytest.mark.parametrize("scale", [0.5, 1.0, 2.0])
def test_poisson_noise_has_a_variance_proportional_to_the_signal(scale):
    rng = np.random.default_rng(0)
    for level in (40, 80, 120):
        image = np.full((150, 150, 3), level / 255, np.float32)
        noise = (add_poisson_noise(image, scale, rng) - image) * 255
        assert abs(noise.var() / (scale**2 * level) - 1) < 0.05
        assert abs(noise.mean()) < 0.2
        assert np.abs(np.corrcoef(noise.reshape(-1, 3).T)[0, 1]) < 0.03


def test_poisson_noise_of_a_large_image_is_drawn_in_strips_as_at_once(monkeypatch):
    image = floats(33, 20)
    whole = add_poisson_noise(image, 1.0, np.random.default_rng(0))
    monkeypatch.setattr("torch_sr.data.degradation.noise._STRIP", 7 * 60)
    np.testing.assert_array_equal(add_poisson_noise(image, 1.0, np.random.default_rng(0)), whole)


def test_gray_poisson_noise_is_that_of_the_luma_in_all_channels():
    color = np.array([40, 120, 90])
    image = np.broadcast_to((color / 255).astype(np.float32), (150, 150, 3))
    noise = (add_poisson_noise(image, 1.0, np.random.default_rng(0), gray=True) - image) * 255
    np.testing.assert_allclose(noise, np.broadcast_to(noise[..., :1], noise.shape), atol=1e-3)
    assert abs(noise.var() / (color @ [0.299, 0.587, 0.114]) - 1) < 0.05


def test_noise_is_clipped_and_black_counts_no_photons():
    rng = np.random.default_rng(0)
    white = add_gaussian_noise(np.ones((30, 30, 1), np.float32), 30.0, rng)
    assert (white.min(), white.max()) == (pytest.approx(0.7, abs=0.25), 1.0)
    black = np.zeros((30, 30, 3), np.float32)
    np.testing.assert_array_equal(add_poisson_noise(black, 3.0, rng), black)


# --- JPEG, levels, sharpening -------------------------------------------------------------------


@pytest.mark.parametrize("quality", [1, 30, 75, 100])
@pytest.mark.parametrize("channels", [1, 3])
def test_jpeg_is_that_of_pillow_at_the_same_quality(channels, quality):
    image = photograph(67, 90)[..., :channels]
    file = io.BytesIO()
    PillowImage.fromarray(image if channels == 3 else image[..., 0]).save(
        file, "JPEG", quality=quality
    )
    expected = np.asarray(PillowImage.open(file)).reshape(image.shape)
    got = compress_levels(image, quality)
    assert got.dtype == np.uint8
    # Both use libjpeg-turbo; another build of it may round otherwise.
    assert np.abs(got.astype(int) - expected).max() <= 2


def test_an_image_too_large_for_jpeg_is_refused_with_a_remedy():
    compress_levels(np.zeros((1, 65500, 1), np.uint8), 50)
    with pytest.raises(DataError, match=r"crops: JPEG supports at most 65500 .* has 65501x1 when"):
        compress_levels(np.zeros((1, 65501, 1), np.uint8), 50)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_levels_survive_the_conversion_to_floats_and_back(dtype):
    white = np.iinfo(dtype).max
    samples = np.linspace(0, white, 3000).astype(dtype).reshape(10, 100, 3)
    unit = to_unit(samples)
    assert (unit.dtype, unit.min(), unit.max()) == (np.float32, 0, 1)
    np.testing.assert_array_equal(to_samples(unit, samples.dtype), samples)
    assert to_levels(np.float32([-1.0, 0.4999, 2.0])).tolist() == [0, 127, 255]


def unsharp_mask(image):
    """Real-ESRGAN's, by SciPy: weight 0.5, radius 50, threshold 10."""

    def smooth(channel):
        line = np.exp(-0.5 * (np.arange(-25, 26) / 8.0) ** 2)  # a radius of 50 means sigma 8
        rows = scipy.ndimage.convolve1d(channel, line / line.sum(), axis=0, mode="mirror")
        return scipy.ndimage.convolve1d(rows, line / line.sum(), axis=1, mode="mirror")

    channels = []
    for channel in np.moveaxis(image, 2, 0):
        residual = channel - smooth(channel)
        mask = smooth((np.abs(residual) * 255 > 10).astype(float))
        channels.append(mask * np.clip(channel + 0.5 * residual, 0, 1) + (1 - mask) * channel)
    return np.stack(channels, axis=2)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_sharpening_is_the_unsharp_mask_of_real_esrgan(dtype):
    white = np.iinfo(dtype).max
    image = (photograph(60, 80).astype(np.float64) / 255 * white).astype(dtype)
    sharpened = sharpen(image)
    assert sharpened.dtype == dtype
    expected = unsharp_mask(image / white) * white
    # where a difference is just at the threshold, float32 decides otherwise than float64
    assert np.abs(sharpened - expected).mean() < max(0.3, 2e-5 * white)
    assert np.abs(sharpened - expected).max() < 0.01 * white + 1
    assert sharpened.std() > image.std()


def test_sharpening_leaves_flat_areas_and_alpha():
    image = np.random.default_rng(0).integers(100, 104, (60, 60, 4)).astype(np.uint8)
    np.testing.assert_array_equal(sharpen(image), image)
    edge = np.zeros((80, 80, 4), np.uint8)
    edge[:, 40:] = 200
    assert (sharpen(edge)[..., 3] == edge[..., 3]).all()
    assert sharpen(edge)[40, 42, 0] > 200
    assert sharpen(edge[..., :1]).shape == (80, 80, 1)


# --- the pipeline -------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_every_kind_of_image_becomes_lr_of_8_bits(photo, channels, dtype):
    hr = photo(66, 51, channels, dtype)
    degrade = Degradation(DegradationConfig(), SCALE)
    for seed in range(12):
        lr = degrade(hr, np.random.default_rng(seed))
        assert (lr.shape, lr.dtype) == ((16, 12, channels), np.uint8)
    if channels == 4:
        bicubic = downscale(hr, SCALE)[..., 3] / np.iinfo(dtype).max * 255
        assert np.abs(lr[..., 3] - bicubic).max() <= 0.5


@pytest.mark.parametrize("scale", [1, 2, 3, 8])
def test_every_scale_factor_and_the_smallest_image(scale):
    hr = np.full((scale, 2 * scale, 3), 90, np.uint8)
    for seed in range(30):
        lr = Degradation(DegradationConfig(), scale)(hr, np.random.default_rng(seed))
        assert lr.shape == (1, 2, 3)


def test_the_result_depends_only_on_image_and_generator():
    degrade, hr = Degradation(DegradationConfig(), SCALE), photograph()
    before = hr.copy()
    results = [degrade(hr, np.random.default_rng(seed)) for seed in range(8)]
    np.testing.assert_array_equal(hr, before)
    np.random.seed(5)  # noqa: NPY002 -- to show that it does not matter
    threads = cv2.getNumThreads()
    try:
        for count in (1, 4):
            cv2.setNumThreads(count)
            for seed, expected in enumerate(results):
                again = degrade(hr, np.random.default_rng(seed))
                np.testing.assert_array_equal(again, expected)
    finally:
        cv2.setNumThreads(threads)
    assert len({result.tobytes() for result in results}) == len(results)


def test_views_and_copies_give_the_same_result():
    hr = photograph()[::-1].transpose(1, 0, 2)[:, ::-1]
    degrade = Degradation(DegradationConfig(), SCALE)
    expected = degrade(np.ascontiguousarray(hr), np.random.default_rng(1))
    np.testing.assert_array_equal(degrade(hr, np.random.default_rng(1)), expected)


def test_with_all_steps_off_only_the_resize_is_left():
    hr = photograph()
    degrade = Degradation(config(final_sinc_probability=0.0), SCALE)
    expected = {to_levels(resize(to_unit(hr), (32, 40), name)).tobytes() for name in INTERPOLATIONS}
    got = {degrade(hr, np.random.default_rng(seed)).tobytes() for seed in range(60)}
    # the second round may resize first; from LR's size to LR's size nothing happens
    assert got == expected


@pytest.mark.parametrize("second", [0.0, 1.0])
def test_the_second_round_is_as_frequent_as_configured(second):
    noisy = calm(SecondRoundConfig, noise_probability=1.0, probability=second)
    degrade = Degradation(config(second=noisy, final_sinc_probability=0.0), SCALE)
    flat = np.full((64, 64, 3), 128, np.uint8)
    for seed in range(10):
        assert (degrade(flat, np.random.default_rng(seed)).std() > 0.1) == bool(second)


def blockiness(lr):
    """Steps across the edges of 8x8 blocks against those between other columns."""
    steps = np.abs(np.diff(lr.astype(float), axis=1)).mean(axis=(0, 2))
    edges = np.arange(len(steps)) % 8 == 7
    return steps[edges].mean() / steps[~edges].mean()


def test_the_last_jpeg_comes_before_or_after_the_resize_equally_often():
    second = calm(SecondRoundConfig, jpeg_probability=1.0, jpeg_range=(5, 5))
    second = second.model_copy(
        update={"resize_probabilities": (0.0, 1.0, 0.0), "resize_range": (0.6, 1.0)}
    )
    degrade = Degradation(config(second=second, final_sinc_probability=0.0), 1)
    hr = photograph(160, 160)
    after = sum(blockiness(degrade(hr, np.random.default_rng(s))) > 1.5 for s in range(60))
    assert 15 <= after <= 45


def test_the_final_sinc_rings_at_an_edge():
    edge = np.zeros((128, 128, 3), np.uint8)
    edge[:, 64:] = 160
    for probability in (0.0, 1.0):
        degrade = Degradation(config(final_sinc_probability=probability), SCALE)
        top = [int(degrade(edge, np.random.default_rng(s)).max()) for s in range(20)]
        assert (np.median(top) > 164) == bool(probability)


def test_the_mean_color_is_kept():
    first = RoundConfig(noise_probability=0.0)
    second = SecondRoundConfig(noise_probability=0.0)
    degrade = Degradation(config(first, second), SCALE)
    hr = np.ascontiguousarray(astronaut()[80:208, 150:278])
    drift = [
        degrade(hr, np.random.default_rng(seed)).mean(axis=(0, 1)) - hr.mean(axis=(0, 1))
        for seed in range(150)
    ]
    assert np.abs(np.mean(drift, axis=0)).max() < 1


def test_degraded_lr_is_aligned_with_bicubic_lr():
    """A shift common to many draws would train a network to shift the image."""
    y, x = np.mgrid[:192, :192]
    waves = [np.sin(x / 9 + y / 23), np.cos(y / 11 - x / 31), np.sin((x + 2 * y) / 25)]
    hr = (128 + 80 * np.stack(waves, axis=2)).astype(np.uint8)
    bicubic = downscale(hr, SCALE).mean(axis=2)
    window = np.outer(np.hanning(48), np.hanning(48))
    degrade = Degradation(DegradationConfig(), SCALE)
    shifts = []
    for seed in range(40):
        lr = degrade(hr, np.random.default_rng(seed)).mean(axis=2)
        pair = [(image - image.mean()) * window for image in (bicubic, lr)]
        # without the usual normalization, which would amplify the noise
        shift, *_ = phase_cross_correlation(*pair, upsample_factor=50, normalization=None)
        shifts.append(shift)
    assert np.abs(np.mean(shifts, axis=0)).max() < 0.05
    assert np.abs(shifts).mean() < 0.1


def test_targets_are_sharpened_only_if_configured():
    hr = photograph()
    np.testing.assert_array_equal(Degradation(config(), SCALE).target(hr), hr)
    sharp = Degradation(config(sharpen_targets=True), SCALE).target(hr)
    np.testing.assert_array_equal(sharp, sharpen(hr))

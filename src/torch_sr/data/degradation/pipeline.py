"""Apply the degradations in order, in two rounds.

::

    HR -> blur -> resize -> noise -> JPEG                              first round
       -> blur -> resize -> noise -> | resize to LR, sinc -> JPEG |    second round
                                     | JPEG -> resize to LR, sinc |    (one of both orders)
"""

from __future__ import annotations

import math

import numpy as np

from torch_sr.aliases import Array, Bytes, Floats
from torch_sr.config import BlurConfig, DegradationConfig, RoundConfig
from torch_sr.data.degradation.filters import blur, draw_interpolation, resize
from torch_sr.data.degradation.jpeg import compress
from torch_sr.data.degradation.kernels import draw_kernel, draw_size, sinc_kernel
from torch_sr.data.degradation.levels import COLORS, to_levels, to_unit
from torch_sr.data.degradation.noise import add_gaussian_noise, add_poisson_noise
from torch_sr.data.degradation.sharpening import sharpen
from torch_sr.data.resize import crop_to_multiple, downscale
from torch_sr.images import convert

Rng = np.random.Generator
Size = tuple[int, int]
"""Height and width."""


class Degradation:
    """Make low resolution (LR) from high resolution (HR) by random degradations.

    Args:
        config: ranges and probabilities.
        scale_factor: whole factor between HR and LR.
    """

    def __init__(self, config: DegradationConfig, scale_factor: int) -> None:
        self.config = config
        self.scale_factor = scale_factor

    def __call__(self, hr: Array, rng: Rng) -> Bytes:
        """Degrade an image, regardless of ``config.probability``.

        The result depends only on the arguments.

        Args:
            hr: ``(H, W, C)``, uint8 or uint16: gray, RGB, or RGB and alpha. Alpha is only
                downscaled by the bicubic filter.
            rng: source of all random numbers.

        Returns:
            ``(H // s, W // s, C)``.

        Raises:
            DataError: the image is smaller than one LR pixel, or larger than JPEG supports.
        """
        hr = crop_to_multiple(hr, self.scale_factor)
        height, width = hr.shape[:2]
        size = height // self.scale_factor, width // self.scale_factor
        lr = to_levels(self._degrade(to_unit(hr[..., :COLORS]), size, rng))
        alpha = hr[..., COLORS:]
        if not alpha.shape[2]:
            return lr
        small = convert(downscale(alpha, self.scale_factor), np.uint8)
        return np.concatenate([lr, small], axis=2)

    def target(self, hr: Array) -> Array:
        """The target of the training, which is also the input of the degradation.

        Args:
            hr: ``(H, W, C)``, uint8 or uint16.

        Returns:
            the image, sharpened if ``config.sharpen_targets`` is set.
        """
        return sharpen(hr) if self.config.sharpen_targets else hr

    def _degrade(self, image: Floats, size: Size, rng: Rng) -> Floats:
        second = self.config.second
        image = _begin_round(image, image.shape[:2], self.config.first, rng)
        image = _compress(image, self.config.first, rng)
        if rng.random() >= second.probability:
            return self._finish(image, size, rng)
        image = _begin_round(image, size, second, rng)
        if rng.random() < 0.5:
            return _compress(self._finish(image, size, rng), second, rng)
        return self._finish(_compress(image, second, rng), size, rng)

    def _finish(self, image: Floats, size: Size, rng: Rng) -> Floats:
        """Resize to the size of LR; the sinc filter imitates the ringing of sharpened images."""
        image = resize(image, size, draw_interpolation(rng))
        if rng.random() >= self.config.final_sinc_probability:
            return image
        kernel_size = draw_size(self.config.second.blur, rng)
        return blur(image, sinc_kernel(kernel_size, rng.uniform(math.pi / 3, math.pi)))


def _begin_round(image: Floats, base: Size, config: RoundConfig, rng: Rng) -> Floats:
    """Blur, resize relative to the size ``base``, and add noise."""
    image = _blur(image, config.blur, rng)
    factor = _draw_factor(config, rng)
    size = max(1, int(base[0] * factor)), max(1, int(base[1] * factor))
    image = resize(image, size, draw_interpolation(rng))
    return _add_noise(image, config, rng)


def _blur(image: Floats, config: BlurConfig, rng: Rng) -> Floats:
    if rng.random() >= config.probability:
        return image
    return blur(image, draw_kernel(config, rng))


def _draw_factor(config: RoundConfig, rng: Rng) -> float:
    """Draw a factor above 1, below 1, or 1."""
    up, down, _ = config.resize_probabilities
    smallest, largest = config.resize_range
    choice = rng.random()
    if choice < up:
        return float(rng.uniform(1, largest))
    return float(rng.uniform(smallest, 1)) if choice < up + down else 1.0


def _add_noise(image: Floats, config: RoundConfig, rng: Rng) -> Floats:
    if rng.random() >= config.noise_probability:
        return image
    gaussian = rng.random() < config.gaussian_probability
    gray = bool(rng.random() < config.gray_noise_probability)
    if gaussian:
        return add_gaussian_noise(image, rng.uniform(*config.gaussian_range), rng, gray=gray)
    return add_poisson_noise(image, rng.uniform(*config.poisson_range), rng, gray=gray)


def _compress(image: Floats, config: RoundConfig, rng: Rng) -> Floats:
    if rng.random() >= config.jpeg_probability:
        return image
    low, high = config.jpeg_range
    return compress(image, int(rng.integers(low, high + 1)))

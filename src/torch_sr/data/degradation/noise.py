"""Add the noise of camera sensors to ``(H, W, C)`` float32 images in [0, 1]."""

from __future__ import annotations

import math

import numpy as np

from torch_sr.aliases import Bytes, Floats
from torch_sr.data.degradation.levels import to_levels
from torch_sr.images.compositing import LUMA

_LUMA = np.array(LUMA, np.float32)
_STRIP = 1 << 20  # samples


def add_gaussian_noise(
    image: Floats, sigma: float, rng: np.random.Generator, *, gray: bool = False
) -> Floats:
    """Add Gaussian noise and clip to [0, 1].

    Args:
        image: ``(H, W, C)``.
        sigma: standard deviation, on the scale of 0 to 255.
        rng: source of the random numbers.
        gray: add the same noise to all channels.
    """
    height, width, channels = image.shape
    shape = (height, width, 1 if gray else channels)
    noise = rng.standard_normal(shape, dtype=np.float32) * np.float32(sigma / 255)
    return _clip(image + noise)


def add_poisson_noise(
    image: Floats, scale: float, rng: np.random.Generator, *, gray: bool = False
) -> Floats:
    """Add the noise of counted photons, whose variance is proportional to the signal, and clip.

    The signal is the image in levels of 0 to 255, one photon per level. (Real-ESRGAN instead takes
    the number of different levels in the image, rounded up to a power of 2. This is 256 for most
    images, but much less for a plain sky, whose noise then becomes very strong.)

    Args:
        image: ``(H, W, C)``.
        scale: factor of the noise; its variance is ``scale ** 2 * signal``.
        rng: source of the random numbers.
        gray: use luma as the signal, and add the same noise to all channels.
    """
    signal = to_levels(_luma(image) if gray else image)
    noise = _count(signal, rng) - signal
    return _clip(image + noise * np.float32(scale / 255))


def _count(signal: Bytes, rng: np.random.Generator) -> Floats:
    """Poisson numbers, drawn in strips of rows because NumPy creates them as int64."""
    counts = np.empty(signal.shape, np.float32)
    rows = max(1, _STRIP // math.prod(signal.shape[1:]))
    for top in range(0, len(signal), rows):
        counts[top : top + rows] = rng.poisson(signal[top : top + rows])
    return counts


def _clip(image: Floats) -> Floats:
    return np.asarray(np.clip(image, 0, 1), np.float32)


def _luma(image: Floats) -> Floats:
    """Luma ``(H, W, 1)``."""
    return image if image.shape[2] == 1 else image @ _LUMA[:, None]

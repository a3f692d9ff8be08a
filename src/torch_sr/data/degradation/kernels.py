"""Blur kernels that imitate optics, motion and sharpening.

The shapes and their distributions are those of Real-ESRGAN (Wang et al. 2021, section 3.1 and
3.3) and, for the generalized and the plateau Gaussian, Liu et al. 2020 (https://arxiv.org/abs/
2005.12597). A kernel is a ``(size, size)`` float32 array and is symmetric under a rotation by 180
degrees, so that convolution and correlation are the same. An odd ``size`` does not shift the image.
"""

from __future__ import annotations

import math

import numpy as np

from torch_sr.aliases import Doubles, Floats
from torch_sr.config import BlurConfig

Sigma = tuple[float, float]
"""Standard deviations in pixels, along the two axes before the kernel is rotated."""

SMALLEST_SIZE = 7
_WIDE_SIZE = 13  # from this size, the cutoff of a sinc filter may be as low as pi / 5
_QUADRATURE = 128  # steps over half a period: exact to double precision up to 51 pixels


def gaussian_kernel(size: int, sigma: Sigma, angle: float = 0.0) -> Floats:
    """A Gaussian, isotropic if both ``sigma`` are equal.

    Args:
        size: length of each side, odd.
        sigma: standard deviation along x and along y, in pixels.
        angle: rotation in radians, from x to y (downwards).
    """
    return _normalize(np.exp(-0.5 * _squared_distance(size, sigma, angle)))


def generalized_kernel(size: int, sigma: Sigma, angle: float, beta: float) -> Floats:
    """A generalized Gaussian: peaked if ``beta`` is below 1, flat-topped if it is above 1.

    Args:
        size, sigma, angle: as for :func:`gaussian_kernel`.
        beta: exponent of the squared distance; 1 gives the Gaussian.
    """
    return _normalize(np.exp(-0.5 * _squared_distance(size, sigma, angle) ** beta))


def plateau_kernel(size: int, sigma: Sigma, angle: float, beta: float) -> Floats:
    """A plateau that decreases as ``1 / (1 + d ** beta)`` of the squared distance ``d``.

    Args:
        size, sigma, angle: as for :func:`gaussian_kernel`.
        beta: steepness of the slope.
    """
    return _normalize(1 / (1 + _squared_distance(size, sigma, angle) ** beta))


def sinc_kernel(size: int, cutoff: float) -> Floats:
    """The ideal low-pass filter in two dimensions, cut to a square; it causes ringing at edges.

    Args:
        size: length of each side, odd.
        cutoff: radius of the frequencies that pass, in radians per pixel, at most pi.
    """
    y, x = _grid(size)
    return _normalize(cutoff**2 / (2 * math.pi) * _jinc(cutoff * np.hypot(x, y)))


def draw_kernel(config: BlurConfig, rng: np.random.Generator) -> Floats:
    """Draw a kernel for a round: its size, its shape, and the parameters of the shape."""
    size = draw_size(config, rng)
    if rng.random() < config.sinc_probability:
        return sinc_kernel(size, _draw_cutoff(size, rng))
    names = list(config.kernels)
    shape = names[rng.choice(len(names), p=_shares(list(config.kernels.values())))]
    sigma, angle = _draw_sigma(config, rng, round_=shape.endswith("_iso") or shape == "iso")
    if shape.startswith("generalized"):
        return generalized_kernel(size, sigma, angle, _draw_exponent(config.betag, rng))
    if shape.startswith("plateau"):
        return plateau_kernel(size, sigma, angle, _draw_exponent(config.betap, rng))
    return gaussian_kernel(size, sigma, angle)


def draw_size(config: BlurConfig, rng: np.random.Generator) -> int:
    """Draw an odd size, from 7 to the largest of the configuration."""
    sizes = range(SMALLEST_SIZE, config.kernel_size + 1, 2)
    return sizes[rng.integers(len(sizes))]


def _draw_cutoff(size: int, rng: np.random.Generator) -> float:
    """Draw the cutoff of a sinc kernel of this size."""
    lowest = math.pi / 3 if size < _WIDE_SIZE else math.pi / 5
    return float(rng.uniform(lowest, math.pi))


def _draw_sigma(
    config: BlurConfig, rng: np.random.Generator, *, round_: bool
) -> tuple[Sigma, float]:
    sigma = float(rng.uniform(*config.sigma))
    if round_:
        return (sigma, sigma), 0.0
    return (sigma, float(rng.uniform(*config.sigma))), float(rng.uniform(-math.pi, math.pi))


def _draw_exponent(limits: tuple[float, float], rng: np.random.Generator) -> float:
    """Draw below and above 1 equally often, because most of the range may be on one side."""
    low, high = limits
    if low <= 1 <= high:
        low, high = (low, 1.0) if rng.random() < 0.5 else (1.0, high)
    return float(rng.uniform(low, high))


def _shares(weights: list[float]) -> Doubles:
    """Probabilities whose floating-point sum is 1."""
    shares: Doubles = np.asarray(weights, dtype=np.float64)
    return np.asarray(shares / shares.sum())


def _grid(size: int) -> tuple[Doubles, Doubles]:
    """Rows and columns of the pixels, relative to the center."""
    steps: Doubles = np.linspace(-(size - 1) / 2, (size - 1) / 2, size)
    return steps[:, None], steps[None, :]


def _squared_distance(size: int, sigma: Sigma, angle: float) -> Doubles:
    """Squared Mahalanobis distance of every pixel from the center."""
    y, x = _grid(size)
    along = x * math.cos(angle) + y * math.sin(angle)
    across = y * math.cos(angle) - x * math.sin(angle)
    return np.asarray((along / sigma[0]) ** 2 + (across / sigma[1]) ** 2)


def _jinc(x: Doubles) -> Doubles:
    """``J1(x) / x`` by its integral, because SciPy is not a dependency; 1/2 at the center.

    Poisson's integral ``(1/pi) * int_0^pi cos(x cos t) sin(t)^2 dt`` (DLMF 10.9.4), for which the
    trapezoidal rule is exact in double precision, because the integrand is periodic and smooth.
    """
    t = np.arange(_QUADRATURE) * (math.pi / _QUADRATURE)
    return np.asarray(np.cos(x[..., None] * np.cos(t)) @ np.sin(t) ** 2 / _QUADRATURE)


def _normalize(kernel: Doubles) -> Floats:
    return np.asarray(kernel / kernel.sum(), np.float32)

"""Blur kernels of optics, of motion and of sharpening in cameras; each sums to 1.

The shapes and the way they are drawn are those of Real-ESRGAN (Wang et al. 2021, section 3.1 and
3.3) and, for the generalized and the plateau Gaussian, Liu et al. 2020 (https://arxiv.org/abs/
2005.12597). A kernel is a ``(size, size)`` float32 array, the same when turned by 180 degrees, so
convolution and correlation with it are one. An odd ``size`` keeps the picture in its place.
"""

from __future__ import annotations

import math

import numpy as np

from torch_sr.aliases import Doubles, Floats
from torch_sr.config import BlurConfig

Sigma = tuple[float, float]
"""Standard deviations in pixels, along the two axes before the kernel is turned."""

SMALLEST_SIZE = 7
_WIDE_SIZE = 13  # from here on a sinc filter may be as narrow as pi / 5
_QUADRATURE = 128  # steps over half a period: exact to double precision up to 51 pixels


def gaussian_kernel(size: int, sigma: Sigma, angle: float = 0.0) -> Floats:
    """A Gaussian, round where both ``sigma`` are equal.

    Args:
        size: of each side, odd.
        sigma: standard deviation along x and along y, in pixels.
        angle: by which the kernel is turned, in radians, from x towards y (downwards).
    """
    return _normalise(np.exp(-0.5 * _squared_distance(size, sigma, angle)))


def generalized_kernel(size: int, sigma: Sigma, angle: float, beta: float) -> Floats:
    """A generalized Gaussian: pointed where ``beta`` is below 1, flat-topped above.

    Args:
        size, sigma, angle: as for :func:`gaussian_kernel`.
        beta: exponent of the squared distance; 1 gives the Gaussian.
    """
    return _normalise(np.exp(-0.5 * _squared_distance(size, sigma, angle) ** beta))


def plateau_kernel(size: int, sigma: Sigma, angle: float, beta: float) -> Floats:
    """A plateau that falls as ``1 / (1 + d ** beta)`` of the squared distance ``d``.

    Args:
        size, sigma, angle: as for :func:`gaussian_kernel`.
        beta: steepness of the slope.
    """
    return _normalise(1 / (1 + _squared_distance(size, sigma, angle) ** beta))


def sinc_kernel(size: int, cutoff: float) -> Floats:
    """The ideal low-pass filter of two dimensions, cut to a square; it rings at edges.

    Args:
        size: of each side, odd.
        cutoff: radius of the frequencies that pass, in radians a pixel, at most pi.
    """
    y, x = _grid(size)
    return _normalise(cutoff**2 / (2 * math.pi) * _jinc(cutoff * np.hypot(x, y)))


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
    """An odd size, from 7 to the largest of the configuration."""
    sizes = range(SMALLEST_SIZE, config.kernel_size + 1, 2)
    return sizes[rng.integers(len(sizes))]


def _draw_cutoff(size: int, rng: np.random.Generator) -> float:
    """A cutoff that a sinc kernel of this size can have."""
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
    """Below and above 1 equally often, since most of the range may lie on one side."""
    low, high = limits
    if low <= 1 <= high:
        low, high = (low, 1.0) if rng.random() < 0.5 else (1.0, high)
    return float(rng.uniform(low, high))


def _shares(weights: list[float]) -> Doubles:
    """Probabilities that sum to 1 in floating point too."""
    shares: Doubles = np.asarray(weights, dtype=np.float64)
    return np.asarray(shares / shares.sum())


def _grid(size: int) -> tuple[Doubles, Doubles]:
    """Rows and columns of the pixels, relative to the middle one."""
    steps: Doubles = np.linspace(-(size - 1) / 2, (size - 1) / 2, size)
    return steps[:, None], steps[None, :]


def _squared_distance(size: int, sigma: Sigma, angle: float) -> Doubles:
    """From every pixel to the middle one, in standard deviations (Mahalanobis)."""
    y, x = _grid(size)
    along = x * math.cos(angle) + y * math.sin(angle)
    across = y * math.cos(angle) - x * math.sin(angle)
    return np.asarray((along / sigma[0]) ** 2 + (across / sigma[1]) ** 2)


def _jinc(x: Doubles) -> Doubles:
    """``J1(x) / x`` by its integral, since SciPy is not a dependency; 1/2 in the middle.

    Poisson's integral ``(1/pi) * int_0^pi cos(x cos t) sin(t)^2 dt`` (DLMF 10.9.4), to which the
    trapezoidal rule is exact in double precision, since the integrand is periodic and smooth.
    """
    t = np.arange(_QUADRATURE) * (math.pi / _QUADRATURE)
    return np.asarray(np.cos(x[..., None] * np.cos(t)) @ np.sin(t) ** 2 / _QUADRATURE)


def _normalise(kernel: Doubles) -> Floats:
    return np.asarray(kernel / kernel.sum(), np.float32)

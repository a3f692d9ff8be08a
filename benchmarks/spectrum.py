"""Regular grids in the spectrum of an image, in dB above the neighboring frequencies.

``period 2`` and ``period 4`` are patterns that the upsampling of x4 networks causes (checkerboards
and the like): points of the two-dimensional spectrum at multiples of a half and a quarter of the
sampling rate. ``period 32`` are the edges of JPEG's 8x8 blocks, four times enlarged. Their sign
differs from block to block, so that they show only in the spectrum of how strongly neighboring
pixels differ (as in Wang, Sheikh and Bovik, "No-reference perceptual quality assessment of JPEG
compressed images", 2002).

Noise has values around 0, natural images up to a few dB, and JPEGs more. Compare with the values
of the original, and take the mean over several images.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import numpy as np

from torch_sr.aliases import Array

PERIODS = (2, 4, 32)
_PIECE = 128  # pixels
_BESIDE = range(3, 9)  # bins beside a frequency; nearer ones belong to it, by the window
_HARMONICS = range(1, 8)  # of period 32; edges four times enlarged are too smooth for higher ones


def grids(gray: Array) -> dict[int, float]:
    """Energy at each of :data:`PERIODS` over that of the frequencies beside it, in dB.

    Args:
        gray: ``(H, W)``, 64 pixels or more in each direction, of any range; its grids begin at its
            left and upper border. It is cropped to a multiple of 32.
    """
    height, width = (size - size % 32 for size in gray.shape)
    gray = gray[:height, :width].astype(np.float64)
    power = np.mean([_power(piece) for piece in _pieces(gray)], axis=0)
    levels: dict[int, list[float]] = {period: [] for period in PERIODS}
    for row, column in _quarters():
        period = 2 if row % 2 == column % 2 == 0 else 4
        levels[period].append(
            _over_beside(power, row * len(power) // 4, column * power.shape[1] // 4)
        )
    for activity in _activities(gray):
        line = _power(activity)[None]
        levels[32] += [_over_beside(line, 0, k * line.shape[1] // 32) for k in _HARMONICS]
    return {period: 10 * math.log10(float(np.mean(ratios))) for period, ratios in levels.items()}


def _pieces(gray: Array) -> Iterator[Array]:
    """Pieces that overlap by half: the mean of their spectra varies less than that of the whole."""
    height, width = (min(size, _PIECE) for size in gray.shape)
    for top in range(0, gray.shape[0] - height + 1, _PIECE // 2):
        for left in range(0, gray.shape[1] - width + 1, _PIECE // 2):
            yield gray[top : top + height, left : left + width]


def _quarters() -> Iterator[tuple[int, int]]:
    """The multiples of a quarter of the sampling rate, each once: others mirror them."""
    yield from ((0, 1), (0, 2), (1, 0), (2, 0), (1, 1), (1, 3), (1, 2), (2, 1), (2, 2))


def _activities(gray: Array) -> Iterator[Array]:
    """How strongly each column differs from the one before it, then each row."""
    for image in (gray, gray.T):
        # The last column before the first one: a column of zeros would be an edge of its own.
        yield np.abs(np.diff(image, axis=1, append=image[:, -1:])).mean(axis=0)


def _power(values: Array) -> Array:
    """The power spectrum, without the mean and under a Hann window along every axis."""
    windowed = values - values.mean()
    for axis, size in enumerate(values.shape):
        window = np.sin(np.pi * (np.arange(size) + 0.5) / size) ** 2
        windowed = windowed * window.reshape([-1 if axis == a else 1 for a in range(values.ndim)])
    power: Array = np.abs(np.fft.fftn(windowed)) ** 2
    return power


def _over_beside(power: Array, row: int, column: int) -> float:
    """The power of a bin over the mean of those beside it.

    On an axis, where natural images have more than elsewhere, only those on the axis count.
    """
    height, width = power.shape
    beside = []
    if column or height == 1:
        beside += [power[row, (column + d) % width] for d in _both(_BESIDE)]
    if row:
        beside += [power[(row + d) % height, column] for d in _both(_BESIDE)]
    return float(power[row, column] / max(np.mean(beside), 1e-30))


def _both(distances: Iterable[int]) -> list[int]:
    return [sign * d for d in distances for sign in (-1, 1)]

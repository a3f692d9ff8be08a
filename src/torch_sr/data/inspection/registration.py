"""Measure the shift and color difference of LR from the expected LR.

The expected LR is the HR image downscaled by MATLAB's bicubic. The shift is found in whole pixels
by phase correlation (Kuglin and Hines 1975) and refined by least squares on the gradients
(Lucas and Kanade 1981); between the steps, the image is moved by its Fourier transform. Colors are
compared by the means of blocks, which sharpening and small shifts do not change.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from torch_sr.aliases import Array
from torch_sr.images.compositing import LUMA

REGION = 256
"""Side of the middle part that is registered, in LR pixels."""
_MARGIN = 6
_STEPS = 6
_BLOCK = 8
_GAMMAS = [step / 100 for step in range(40, 252, 2)]
_LEAST_CONTRAST = 2 / 255
_LUMA = np.array(LUMA)


def find_shift(lr: Array, expected: Array) -> tuple[float, float] | None:
    """Measure how far an image is shifted down and to the right, in its pixels.

    Args:
        lr: ``(H, W, C)`` in [0, 1].
        expected: the unshifted image, of the same shape.

    Returns:
        ``(dy, dx)``; None if the images are too small, flat or different.
    """
    moved, fixed = (_standardized(image) for image in (lr, expected))
    if moved is None or fixed is None or min(moved.shape) < 4 * _MARGIN:
        return None
    shift = _whole_shift(moved, fixed)
    if max(abs(shift)) > min(moved.shape) / 6:  # different images
        return None
    for _ in range(_STEPS):
        margin = _MARGIN + math.ceil(max(abs(shift)))  # excludes pixels that wrapped around
        step = _gradient_step(moved, _translated(fixed, shift), margin)
        shift = shift + step
        if max(abs(step)) < 1e-4:
            break
    return float(shift[0]), float(shift[1])


def undo_shift(
    lr: Array, expected: Array, shift: tuple[float, float] | None
) -> tuple[Array, Array]:
    """Shift ``expected`` by the shift of ``lr``, and crop the border of both.

    Args:
        lr, expected: ``(H, W, C)`` of the same size.
        shift: the result of :func:`find_shift`; None returns both unchanged.
    """
    if shift is None:
        return lr, expected
    margin = _MARGIN + math.ceil(max(map(abs, shift)))
    inner = (slice(margin, -margin),) * 2
    channels = [_translated(channel, np.array(shift)) for channel in expected.transpose(2, 0, 1)]
    return lr[inner], np.stack(channels, axis=2)[inner]


def _standardized(image: Array) -> Array | None:
    """The luma of the middle part, with mean 0 and standard deviation 1; None if it is flat."""
    height, width = image.shape[:2]
    top, left = (max(0, (size - REGION) // 2) for size in (height, width))
    part = image[top : top + REGION, left : left + REGION].astype(np.float64)
    luma = part @ _LUMA if part.shape[2] == 3 else part[..., 0]
    deviation = luma.std()
    return None if deviation < _LEAST_CONTRAST else (luma - luma.mean()) / deviation


def _whole_shift(moved: Array, fixed: Array) -> Array:
    window = np.outer(np.hanning(moved.shape[0]), np.hanning(moved.shape[1]))
    spectrum = np.fft.rfft2(moved * window) * np.conj(np.fft.rfft2(fixed * window))
    correlation = np.fft.irfft2(spectrum / np.maximum(np.abs(spectrum), 1e-9), moved.shape)
    peak = np.array(np.unravel_index(correlation.argmax(), correlation.shape), dtype=float)
    size = np.array(moved.shape)
    # A low peak is noise: start without a shift.
    if correlation.max() < 0.05:
        return np.zeros(2)
    return np.where(peak > size / 2, peak - size, peak)


def _translated(image: Array, shift: Array) -> Array:
    """Move an image by its Fourier transform; pixels that leave it wrap around."""
    rows = np.fft.fftfreq(image.shape[0])[:, None]
    columns = np.fft.rfftfreq(image.shape[1])[None]
    phase = np.exp(-2j * np.pi * (rows * shift[0] + columns * shift[1]))
    moved: Array = np.fft.irfft2(np.fft.rfft2(image) * phase, image.shape)
    return moved


def _gradient_step(moved: Array, fixed: Array, margin: int) -> Array:
    """The small shift that best explains the difference between two images."""
    rows, columns = np.gradient(fixed)
    inner = (slice(margin, -margin),) * 2
    gradients = np.stack([rows[inner].ravel(), columns[inner].ravel()], axis=1)
    difference = (moved - fixed)[inner].ravel()
    solution, *_ = np.linalg.lstsq(gradients, -difference, rcond=None)
    step: Array = np.clip(solution, -1, 1)
    return step


@dataclass(frozen=True)
class ColorMatch:
    """The difference between the colors of an image and the expected colors.

    Args:
        difference: mean absolute difference of block means, on the scale of 0 to 255.
        cause: what explains the difference, in words; empty if nothing does.
    """

    difference: float
    cause: str = ""


def match_colors(lr: Array, expected: Array) -> ColorMatch:
    """Compare the colors of two images ``(H, W, C)`` in [0, 1] of the same shape."""
    found, wanted = (_block_means(image) for image in (lr, expected))
    error = _distance(found, wanted)
    causes = _explain(found, wanted)
    best = min(causes.values(), default=error)
    if error < 1 or best > 0.5 * error:
        return ColorMatch(error)
    # Prefer a simpler cause if a more complex one explains little more.
    return ColorMatch(error, next(c for c, left in causes.items() if left <= max(1, 1.5 * best)))


def _explain(found: Array, wanted: Array) -> dict[str, float]:
    """The difference, of 255, that remains when each cause is undone; the simplest first."""
    causes = {}
    if found.shape[1] == 3:
        causes["swapping red and blue"] = _distance(found[:, ::-1], wanted)
    gammas = {gamma: _distance(found, wanted.clip(0, 1) ** gamma) for gamma in _GAMMAS}
    gamma = min(gammas, key=lambda gamma: gammas[gamma])
    causes[f"a gamma of {gamma:.2f}"] = gammas[gamma]
    deviation = wanted.std()
    if deviation > 0.01:
        gain = float(((found - found.mean()) * (wanted - wanted.mean())).mean() / deviation**2)
        offset = float(found.mean() - gain * wanted.mean())
        words = f"a contrast of {gain:.2f} and a brightness of {255 * offset:+.0f}"
        causes[words] = _distance(found, gain * wanted + offset)
    return causes


def _block_means(image: Array) -> Array:
    """Means of blocks of 8x8 pixels, ``(N, C)``; of the whole image if it is smaller."""
    height, width, channels = image.shape
    block = max(1, min(_BLOCK, height, width))
    rows, columns = height // block, width // block
    cut = image[: rows * block, : columns * block].astype(np.float64)
    means = cut.reshape(rows, block, columns, block, channels).mean(axis=(1, 3))
    flat: Array = means.reshape(-1, channels)
    return flat


def _distance(found: Array, wanted: Array) -> float:
    return float(255 * np.abs(found - wanted).mean())

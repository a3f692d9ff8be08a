"""Choose the place of an image to show."""

from __future__ import annotations

import numpy as np

from torch_sr.aliases import Array
from torch_sr.evaluation.compare import Comparison
from torch_sr.evaluation.presentation.error_maps import error_map
from torch_sr.images.window_sums import window_sums

Box = tuple[int, int, int]
"""Top and left of a square, and its side."""

DETAIL = 64
"""Side of the place that a sheet enlarges, in pixels."""


def differing_place(comparison: Comparison, side: int = DETAIL) -> Box:
    """The square in which the methods differ most in their distance from the original.

    Args:
        comparison: an 8-bit image under its methods.
        side: of the square, in high-resolution pixels; at most the shorter side of the image.

    Returns:
        A square whose corner and side are multiples of the scale factor, so that it consists of
        whole low-resolution pixels.
    """
    scale = comparison.hr.shape[0] // comparison.lr.shape[0]
    height, width = comparison.lr.shape[:2]
    small = max(1, min(side // scale, height, width))  # in low-resolution pixels from here
    errors = np.stack(
        [_pool(error_map(sr, comparison.hr), scale) for sr in comparison.results.values()]
    )
    # For a single method, or equal ones, the place with the largest error is chosen.
    interest = errors.max(axis=0) - errors.min(axis=0) + 0.1 * errors.mean(axis=0)
    top, left = _largest(window_sums(interest, small))
    return top * scale, left * scale, small * scale


def busiest_place(image: Array, side: int = DETAIL) -> Box:
    """The square with the most edges.

    Args:
        image: ``(H, W, C)``.
        side: of the square, in pixels; at most the shorter side of the image.
    """
    side = max(1, min(side, *image.shape[:2]))
    gray = image.astype(np.float32).mean(axis=2)
    edges = np.zeros(gray.shape, dtype=np.float64)
    edges[1:] += np.abs(np.diff(gray, axis=0))
    edges[:, 1:] += np.abs(np.diff(gray, axis=1))
    return *_largest(window_sums(edges, side)), side


def _largest(sums: Array) -> tuple[int, int]:
    top, left = np.unravel_index(int(sums.argmax()), sums.shape)
    return int(top), int(left)


def _pool(image: Array, factor: int) -> Array:
    """Means over squares of ``factor`` pixels."""
    height, width = (size // factor for size in image.shape)
    cropped = image[: height * factor, : width * factor]
    pooled: Array = cropped.reshape(height, factor, width, factor).mean(axis=(1, 3))
    return pooled

"""Colour under transparency: fill what cannot be seen with what lies beside it.

Pixels that are wholly transparent have any colour, mostly black. A network would smear it into the
visible edge as a dark fringe. They get the mean colour of the visible pixels nearest to them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[Any]

_RADII = (1, 2, 4, 8, 16)
REACH = _RADII[-1]
"""Pixels further from all that is visible keep their colour; so does what lies beyond a tile."""


def bleed(layers: Pixels, opaque: int) -> Pixels:
    """Spread colours into wholly transparent pixels, up to `REACH` pixels far.

    Each takes the mean colour, weighed by opacity, of the smallest square around it that holds
    anything visible. What is visible, however faintly, keeps its colour, and alpha is not changed.

    Args:
        layers: ``(..., H, W, 2 or 4)`` with a straight alpha channel last.
        opaque: the value of full opacity.

    Returns:
        A copy, or ``layers`` itself where nothing is transparent or nothing visible.
    """
    alpha = layers[..., -1:]
    hidden = alpha[..., 0] == 0
    if not hidden.any() or hidden.all():
        return layers
    weights = alpha.astype(np.float64) / opaque
    sums = np.concatenate([layers[..., :-1] * weights, weights], axis=-1)
    result: Pixels = layers.copy()
    integer = np.issubdtype(layers.dtype, np.integer)
    for radius in _RADII:
        means = _box_sums(sums, radius)
        found = hidden & (means[..., -1] > 1e-9)
        colors = means[found]
        colors = colors[:, :-1] / colors[:, -1:]
        result[..., :-1][found] = np.rint(colors) if integer else colors
        hidden &= ~found
        if not hidden.any():
            break
    return result


def _box_sums(values: npt.NDArray[np.float64], radius: int) -> npt.NDArray[np.float64]:
    """Sums over squares of ``2 * radius + 1`` pixels, cut at the border: ``(..., H, W, C)``."""
    for axis in (-3, -2):
        size = values.shape[axis]
        total = np.cumsum(values, axis=axis)
        total = np.concatenate([np.zeros_like(np.take(total, [0], axis)), total], axis=axis)
        after = np.minimum(np.arange(size) + radius + 1, size)
        before = np.maximum(np.arange(size) - radius, 0)
        values = np.take(total, after, axis) - np.take(total, before, axis)
    return values

"""Edges of what is transparent: no fringes of hidden colours, no halos of opacity.

Pixels that are wholly transparent have any colour, mostly black. A network would smear it into the
visible edge as a dark fringe. They get the mean colour of the visible pixels nearest to them.
"""

from __future__ import annotations

import numpy as np

from torch_sr.aliases import Floats, Pixels
from torch_sr.images.window_sums import window_sums

_RADII = (1, 2, 4, 8, 16)
REACH = _RADII[-1]
"""Pixels further from all that is visible keep their colour; so does what lies beyond a tile."""


def bleed(layers: Pixels) -> Pixels:
    """Spread colours into wholly transparent pixels, up to `REACH` pixels far.

    Each takes the mean colour, weighed by opacity, of the smallest square around it that holds
    anything visible. What is visible, however faintly, keeps its colour, and alpha is not changed.

    Args:
        layers: ``(..., H, W, 2 or 4)`` with a straight alpha channel last.

    Returns:
        A copy, or ``layers`` itself where nothing is transparent or nothing visible.
    """
    alpha = layers[..., -1:]
    hidden = alpha[..., 0] == 0
    if not hidden.any() or hidden.all():
        return layers
    integer = np.issubdtype(layers.dtype, np.integer)
    # Integers add up exactly, whatever tile they are seen from.
    weights = alpha.astype(np.int64 if integer else np.float64)
    sums = np.concatenate([layers[..., :-1] * weights, weights], axis=-1)
    result: Pixels = layers.copy()
    for radius in _RADII:
        padded = np.pad(sums, [(0, 0)] * (sums.ndim - 3) + [(radius, radius)] * 2 + [(0, 0)])
        means = window_sums(padded, 2 * radius + 1, axes=(-3, -2))
        found = hidden & (means[..., -1] > (0 if integer else 1e-9))
        colors = means[found]
        colors = colors[:, :-1] / colors[:, -1:]
        result[..., :-1][found] = np.rint(colors) if integer else colors
        hidden &= ~found
        if not hidden.any():
            break
    return result


def without_halo(opacity: Floats, alpha: Floats, scale_factor: int) -> Floats:
    """Keep super-resolved opacity within what the source has close by.

    Networks ring beside hard edges. In a photograph that looks sharp; in a mask it is a halo.

    Args:
        opacity: ``(N, H * s, W * s, 1)``.
        alpha: what it was made from, ``(N, H, W, 1)`` in [0, 1].
        scale_factor: ``s``.

    Returns:
        ``opacity``, clipped to the least and the largest of the 3 x 3 pixels around.
    """
    height, width = alpha.shape[1:3]
    padded = np.pad(alpha, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="edge")
    around = [padded[:, y : y + height, x : x + width] for y in range(3) for x in range(3)]
    low, high = (
        extreme.repeat(scale_factor, 1).repeat(scale_factor, 2)
        for extreme in (np.minimum.reduce(around), np.maximum.reduce(around))
    )
    return np.clip(opacity, low, high)

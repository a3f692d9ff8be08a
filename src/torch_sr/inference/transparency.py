"""Avoid dark fringes and halos at the edges of transparent regions.

Fully transparent pixels have arbitrary colors, usually black, which a network would smear into
visible edges as dark fringes. So they get the mean color of the nearest visible pixels.
"""

from __future__ import annotations

import numpy as np

from torch_sr.aliases import Floats, Pixels
from torch_sr.images.window_sums import window_sums

_RADII = (1, 2, 4, 8, 16)
REACH = _RADII[-1]
"""Pixels further than this from anything visible keep their color, also across tiles."""


def bleed(layers: Pixels) -> Pixels:
    """Spread colors into fully transparent pixels, up to `REACH` pixels away.

    Each gets the mean color, weighted by opacity, of the smallest square around it that has
    visible pixels. Visible pixels keep their color, and alpha is not changed.

    Args:
        layers: ``(..., H, W, 2 or 4)`` with a straight alpha channel last.

    Returns:
        A copy, or ``layers`` itself if nothing is transparent or nothing is visible.
    """
    alpha = layers[..., -1:]
    hidden = alpha[..., 0] == 0
    if not hidden.any() or hidden.all():
        return layers
    integer = np.issubdtype(layers.dtype, np.integer)
    # Sums of integers are exact, so they do not depend on the tile.
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
    """Clip super-resolved opacity to the range of nearby source pixels.

    Networks ring at hard edges. In a photograph that looks sharp; in a mask it is a halo.

    Args:
        opacity: ``(N, H * s, W * s, 1)``.
        alpha: the source of the opacity, ``(N, H, W, 1)`` in [0, 1].
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

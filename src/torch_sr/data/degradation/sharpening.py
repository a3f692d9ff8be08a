"""Sharpen images with the unsharp mask of Real-ESRGAN."""

from __future__ import annotations

import cv2
import numpy as np

from torch_sr.aliases import Array, Floats
from torch_sr.data.degradation.levels import COLORS, to_samples, to_unit

WEIGHT = 0.5
"""Factor of the added difference from the blurred image."""
WINDOW = 51
"""Side of the Gaussian window: the radius 50 of Real-ESRGAN, made odd."""
SIGMA = 0.3 * ((WINDOW - 1) * 0.5 - 1) + 0.8
"""Standard deviation that OpenCV uses for this window, 8 pixels."""
THRESHOLD = 10
"""Difference on the scale of 0 to 255 above which an edge is sharpened."""


def sharpen(image: Array) -> Array:
    """Sharpen edges, but not flat areas with their noise.

    Args:
        image: ``(H, W, C)``, uint8 or uint16; alpha is not changed.

    Returns:
        a new image of the same shape and dtype.
    """
    colors = to_unit(image[..., :COLORS])
    residual = colors - _smooth(colors)
    edges = _smooth((np.abs(residual) * 255 > THRESHOLD).astype(np.float32))
    sharpened = np.clip(colors + np.float32(WEIGHT) * residual, 0, 1)
    mixed = edges * sharpened + (1 - edges) * colors
    return np.concatenate([to_samples(mixed, image.dtype), image[..., COLORS:]], axis=2)


def _smooth(image: Floats) -> Floats:
    smooth = cv2.GaussianBlur(
        image, (WINDOW, WINDOW), sigmaX=SIGMA, borderType=cv2.BORDER_REFLECT_101
    )
    return np.asarray(smooth, np.float32).reshape(image.shape)

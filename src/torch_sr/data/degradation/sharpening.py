"""The unsharp mask that Real-ESRGAN applies to its targets (Wang et al. 2021, section 3.4)."""

from __future__ import annotations

import cv2
import numpy as np

from torch_sr.aliases import Array, Floats
from torch_sr.data.degradation.levels import COLOURS, to_samples, to_unit

WEIGHT = 0.5
"""Share of the difference from the blurred image that is added."""
WINDOW = 51
"""Side of the Gaussian window: a radius of 50 pixels, in Real-ESRGAN's words, made odd."""
SIGMA = 0.3 * ((WINDOW - 1) * 0.5 - 1) + 0.8
"""Standard deviation that OpenCV takes for such a window, 8 pixels."""
THRESHOLD = 10
"""Difference in levels of 0 to 255 above which there is an edge to sharpen."""


def sharpen(image: Array) -> Array:
    """Sharpen edges and leave flat areas, with their noise, alone.

    Args:
        image: ``(H, W, C)``, uint8 or uint16; alpha stays as it is.

    Returns:
        a new image of the same shape and dtype.
    """
    colours = to_unit(image[..., :COLOURS])
    residual = colours - _smooth(colours)
    edges = _smooth((np.abs(residual) * 255 > THRESHOLD).astype(np.float32))
    sharpened = np.clip(colours + np.float32(WEIGHT) * residual, 0, 1)
    mixed = edges * sharpened + (1 - edges) * colours
    return np.concatenate([to_samples(mixed, image.dtype), image[..., COLOURS:]], axis=2)


def _smooth(image: Floats) -> Floats:
    smooth = cv2.GaussianBlur(
        image, (WINDOW, WINDOW), sigmaX=SIGMA, borderType=cv2.BORDER_REFLECT_101
    )
    return np.asarray(smooth, np.float32).reshape(image.shape)

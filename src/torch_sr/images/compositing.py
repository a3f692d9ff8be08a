"""Transparency on white, gray as RGB, and the weights of luma."""

from __future__ import annotations

import numpy as np

from torch_sr.aliases import Bytes, Pixels
from torch_sr.images.image import Image, convert, from_unit, to_unit

LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in luma (ITU-R BT.601)."""


def to_rgb(color: Pixels) -> Pixels:
    """Gray or RGB ``(H, W, 1 or 3)`` as RGB.

    >>> to_rgb(np.zeros((4, 5, 1), dtype=np.uint8)).shape
    (4, 5, 3)
    """
    return np.repeat(color, 3, axis=2) if color.shape[2] == 1 else color


def on_white(color: Pixels, alpha: Pixels) -> Pixels:
    """Composite colors over white.

    Args:
        color: ``(H, W, 1 or 3)``.
        alpha: ``(H, W, 1)``, straight; of any depth.

    Returns:
        What is seen, of the shape and dtype of ``color``.
    """
    opacity = to_unit(alpha)
    return from_unit(to_unit(color) * opacity + (1 - opacity), color.dtype)


def flatten(layers: Pixels) -> Bytes:
    """Layers ``(H, W, 1 to 4)`` of any depth as 8-bit gray or RGB, transparency on white."""
    image = Image.from_array(layers)
    color = convert(image.color, np.uint8)
    return color if image.alpha is None else on_white(color, image.alpha[..., None])

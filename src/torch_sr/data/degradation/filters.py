"""Blur and resize ``(H, W, C)`` float32 images with OpenCV."""

from __future__ import annotations

import cv2
import numpy as np

from torch_sr.aliases import Floats

INTERPOLATIONS = {"area": cv2.INTER_AREA, "bilinear": cv2.INTER_LINEAR, "bicubic": cv2.INTER_CUBIC}
"""Area is the mean over the square of a pixel. The other two downscale without antialiasing, like
simple software does. Bicubic has a = -0.75."""

_EXACT = 1e-7
"""Largest difference between weights that is negligible in float32."""


def blur(image: Floats, kernel: Floats) -> Floats:
    """Filter every channel; the image is mirrored at the centers of its border pixels.

    Args:
        image: ``(H, W, C)``.
        kernel: see :mod:`torch_sr.data.degradation.kernels`.
    """
    column, row = kernel.sum(axis=1), kernel.sum(axis=0)
    if np.allclose(np.outer(column, row), kernel, rtol=0, atol=_EXACT):  # a round Gaussian
        blurred = cv2.sepFilter2D(image, -1, row, column, borderType=cv2.BORDER_REFLECT_101)
    else:
        blurred = cv2.filter2D(image, -1, kernel, borderType=cv2.BORDER_REFLECT_101)
    return np.asarray(blurred, np.float32).reshape(image.shape)  # OpenCV drops an axis of 1


def resize(image: Floats, size: tuple[int, int], interpolation: str) -> Floats:
    """Resize to ``size``, height and width; the borders of the image stay in place.

    Args:
        image: ``(H, W, C)``.
        size: height and width of the result.
        interpolation: one of :data:`INTERPOLATIONS`.
    """
    if image.shape[:2] == size:
        return image
    flag = INTERPOLATIONS[interpolation]
    resized = cv2.resize(image, (size[1], size[0]), interpolation=flag)
    return np.asarray(resized, np.float32).reshape(*size, image.shape[2])


def draw_interpolation(rng: np.random.Generator) -> str:
    """Draw one of :data:`INTERPOLATIONS`, with equal probabilities."""
    return list(INTERPOLATIONS)[rng.integers(len(INTERPOLATIONS))]

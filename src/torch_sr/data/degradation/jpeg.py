"""Compress images as JPEG with libjpeg, with halved chroma."""

from __future__ import annotations

import cv2
import numpy as np

from torch_sr.aliases import Bytes, Floats
from torch_sr.data.degradation.levels import to_levels, to_unit
from torch_sr.errors import DataError

_LARGEST_SIDE = 65500  # libjpeg's


def compress(image: Floats, quality: int) -> Floats:
    """Compress and decompress.

    Args:
        image: ``(H, W, C)`` in [0, 1], gray or RGB; rounded to 8 bits and clipped.
        quality: on libjpeg's scale, 1 to 100.

    Raises:
        DataError: a side has more pixels than JPEG supports.
    """
    return to_unit(compress_levels(to_levels(image), quality))


def compress_levels(image: Bytes, quality: int) -> Bytes:
    """As :func:`compress`, for uint8 ``(H, W, 1)`` gray or ``(H, W, 3)`` RGB."""
    height, width = image.shape[:2]
    if max(height, width) > _LARGEST_SIDE:
        raise DataError(
            f"cut the image into crops: JPEG supports at most {_LARGEST_SIDE} pixels per side, and "
            f"the image has {width}x{height} when it is compressed"
        )
    # OpenCV's order is BGR.
    _, data = cv2.imencode(
        ".jpg", np.ascontiguousarray(image[..., ::-1]), [cv2.IMWRITE_JPEG_QUALITY, quality]
    )
    decoded = cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
    return np.asarray(decoded, np.uint8).reshape(image.shape)[..., ::-1]

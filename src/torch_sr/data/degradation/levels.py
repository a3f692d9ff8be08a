"""Convert between stored samples and the float32 colors of degradations."""

from __future__ import annotations

from typing import Any

import numpy as np

from torch_sr.aliases import Array, Bytes, Floats

COLORS = 3
"""Channels beyond these are alpha."""


def to_unit(image: Array) -> Floats:
    """Convert uint8 or uint16 to float32 in [0, 1], as a contiguous copy of the same shape."""
    white = np.float32(np.iinfo(image.dtype).max)
    unit: Floats = np.ascontiguousarray(image, dtype=np.float32) / white
    return unit


def to_levels(image: Floats) -> Bytes:
    """Convert float32 in [0, 1] to uint8, rounded and clipped."""
    return to_samples(image, np.dtype(np.uint8))


def to_samples(image: Floats, dtype: np.dtype[Any]) -> Array:
    """Convert float32 in [0, 1] to ``dtype``, uint8 or uint16, rounded and clipped."""
    white = np.iinfo(dtype).max
    samples: Array = np.clip(image * np.float32(white) + np.float32(0.5), 0, white).astype(dtype)
    return samples

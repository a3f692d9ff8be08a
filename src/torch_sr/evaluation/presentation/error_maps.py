"""Maps of the errors of a result, and their colors."""

from __future__ import annotations

import numpy as np

from torch_sr.aliases import Array, Bytes, Floats
from torch_sr.evaluation.compare import Comparison


def error_map(sr: Array, hr: Array) -> Floats:
    """Mean absolute difference over the channels, ``(H, W)`` in [0, 255]."""
    difference = np.abs(sr.astype(np.float32) - hr.astype(np.float32))
    error: Floats = difference.mean(axis=2)
    return error


def error_peak(comparison: Comparison) -> float:
    """The error that is drawn brightest, on the scale of 0 to 255, for all methods of an image."""
    errors = [
        np.percentile(error_map(sr, comparison.hr), 99.5) for sr in comparison.results.values()
    ]
    return max(float(max(errors, default=0.0)), 1.0)


def color_map(values: Array) -> Bytes:
    """Color values in [0, 1] by the color map inferno, dark to bright: ``(H, W, 3)`` uint8."""
    import matplotlib

    colored: Array = matplotlib.colormaps["inferno"](np.clip(values, 0, 1), bytes=True)
    return colored[..., :3]

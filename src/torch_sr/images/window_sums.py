"""Sums over all windows of an image, by running sums."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from torch_sr.aliases import Array


def window_sums(values: Array, side: int, axes: Sequence[int] = (0, 1)) -> Array:
    """Sum every square window that is inside an image.

    Args:
        values: of any shape; integers add up exactly.
        side: of the windows, at most the size of each axis.
        axes: those of height and width.

    Returns:
        The same shape, but each of the axes is shorter by ``side - 1``.

    >>> window_sums(np.ones((3, 4)), 2).tolist()
    [[4.0, 4.0, 4.0], [4.0, 4.0, 4.0]]
    """
    for axis in axes:
        count = values.shape[axis] - side + 1
        total = np.cumsum(values, axis=axis)
        total = np.concatenate([np.zeros_like(np.take(total, [0], axis)), total], axis=axis)
        windows = np.arange(count)
        values = np.take(total, windows + side, axis) - np.take(total, windows, axis)
    return values

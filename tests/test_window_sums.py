"""window_sums.py: sums of windows equal those added up one by one."""

import numpy as np
import pytest

from torch_sr.images.window_sums import window_sums


@pytest.mark.parametrize("side", [1, 3, 7])
def test_sums_are_those_of_every_window(side):
    values = np.random.default_rng(0).integers(0, 9, (2, 7, 9, 3))
    windows = np.lib.stride_tricks.sliding_window_view(values, (side, side), axis=(1, 2))
    expected = windows.sum(axis=(-2, -1))
    np.testing.assert_array_equal(window_sums(values, side, axes=(-3, -2)), expected)

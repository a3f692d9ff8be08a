"""Compute engines: each turns a batch of low resolution into super resolution, nothing else."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import numpy.typing as npt


class Backend(Protocol):
    """What the upscaler needs of an engine."""

    scale_factor: int
    """How many times higher and wider the result is."""
    img_channels: int
    """1 (gray), 3 (RGB) or 4."""
    tile_size: int
    """The largest square, in low-resolution pixels, that suits the device."""

    def __call__(self, lr: npt.NDArray[np.float32]) -> npt.NDArray[Any]:
        """``(N, C, H, W)`` float32 in [0, 1] to ``(N, C, H * s, W * s)`` float32, unclamped."""
        ...

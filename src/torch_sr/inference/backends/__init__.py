"""Compute engines: each turns a batch of low resolution into super resolution, nothing else."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import numpy.typing as npt


class Backend(Protocol):
    """What the upscaler needs of an engine."""

    scale_factor: int
    img_channels: int

    def __call__(self, lr: npt.NDArray[np.float32]) -> npt.NDArray[Any]:
        """``(1, C, H, W)`` float32 in [0, 1] to ``(1, C, H * s, W * s)`` float32, unclamped."""
        ...

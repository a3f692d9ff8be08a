"""Compute engines: each turns a batch of low resolution into super resolution, nothing else."""

from __future__ import annotations

from typing import Protocol

from torch_sr.aliases import Array, Floats


class Engine(Protocol):
    """What the upscaler needs of an engine."""

    scale_factor: int
    """How many times higher and wider the result is."""
    img_channels: int
    """1 (gray), 3 (RGB) or 4."""

    @property
    def tile_area(self) -> int:
        """The most low-resolution pixels at once that suit the device and its free memory."""
        ...

    @property
    def tiles_redone(self) -> int:
        """How many results were not finite in half precision and were computed again in full."""
        ...

    def __call__(self, lr: Floats) -> Array:
        """``(N, C, H, W)`` float32 in [0, 1] to ``(N, C, H * s, W * s)`` float32, unclamped.

        Raises:
            DeviceMemoryError: so many pixels do not fit; fewer may.
        """
        ...

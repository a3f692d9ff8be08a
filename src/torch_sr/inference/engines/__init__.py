"""Compute engines: low-resolution batch -> super-resolved batch."""

from __future__ import annotations

from typing import Protocol

from torch_sr.aliases import Array, Floats


class Engine(Protocol):
    """The interface of engines, for :class:`~torch_sr.Upscaler`.

    An engine may also have ``tiles_ahead``, how many tiles to start before the results of earlier
    ones are used; it is then called by several threads at once. One whose network takes images of
    one size only has it as ``input_size``, height and width, and pads smaller ones itself.
    """

    scale_factor: int
    """How many times higher and wider the result is."""
    img_channels: int
    """1 (gray), 3 (RGB) or 4."""

    @property
    def tile_area(self) -> int:
        """The most low-resolution pixels per call for this device and its free memory."""
        ...

    @property
    def tiles_redone(self) -> int:
        """How many results were not finite in half precision and were recomputed in fp32."""
        ...

    def __call__(self, lr: Floats) -> Array:
        """``(N, C, H, W)`` float32 in [0, 1] to ``(N, C, H * s, W * s)`` float32, unclamped.

        Raises:
            DeviceMemoryError: the batch does not fit into memory; a smaller one may.
        """
        ...

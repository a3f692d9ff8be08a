"""The PyTorch engine: CPU, CUDA or MPS."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from torch_sr.aliases import Floats
from torch_sr.devices import DTYPES, choose_device, choose_precision, free_memory
from torch_sr.errors import DeviceMemoryError, ModelError

_LARGEST_TILES = {
    "cpu": 512 * 2**20,
    "mps": 2**31,
    "cuda": 2**33,
}  # bytes; larger tiles are not faster
PROBE = 24
"""Side of the image for measuring memory, in pixels."""
_OUT_OF_MEMORY = ("out of memory", "allocate memory", "could not create a memory", "bad_alloc")


class PyTorchEngine:
    """Runs a network with PyTorch.

    Args:
        network: ``(N, C, H, W)`` in [0, 1] to ``(N, C, H * s, W * s)``; it is moved to the
            device.
        scale_factor: ``s``.
        img_channels: ``C``.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1`` or ``mps``.
        precision: ``auto``, ``fp32``, ``bf16`` or ``fp16``.
        large_tiles: use all free memory for one tile, although that is not faster.

    Raises:
        DeviceError: the device or the precision is not available.
    """

    def __init__(
        self,
        network: nn.Module,
        scale_factor: int,
        img_channels: int,
        device: str = "auto",
        precision: str = "auto",
        *,
        large_tiles: bool = False,
    ) -> None:
        self.scale_factor = scale_factor
        self.img_channels = img_channels
        self.device = choose_device(device)
        self.precision = choose_precision(precision, self.device)
        self.tiles_redone = 0
        self._largest = math.inf if large_tiles else _LARGEST_TILES[self.device.type]
        self._dtype = DTYPES[self.precision]
        self._network = network.eval().to(
            self.device,
            memory_format=torch.channels_last,  # type: ignore[call-overload]
        )
        self._bytes_per_pixel: float | None = None
        self._lock = threading.RLock()  # one tile at a time: the device is busy anyway

    @property
    def tiles_ahead(self) -> int:
        """How many tiles to start before results are used: a GPU need not wait for the CPU."""
        return 0 if self.device.type == "cpu" else 1

    @property
    def tile_area(self) -> int:
        """The most low-resolution pixels per call for this device and its free memory.

        At most half of the memory that is free now is used.
        """
        with self._lock:
            if self._bytes_per_pixel is None:
                shape = (1, self.img_channels, PROBE, PROBE)
                probe = torch.zeros(shape, device=self.device)
                self._bytes_per_pixel = measure_memory(self._network, self._forward, probe)
        room = min(free_memory(self.device) / 2, self._largest)
        return max(1, int(room / self._bytes_per_pixel))

    def __call__(self, lr: Floats) -> Floats:
        try:
            with torch.inference_mode():
                return self._compute(lr)
        except (RuntimeError, MemoryError) as error:  # PyTorch raises RuntimeErrors
            text = str(error).lower()
            if isinstance(error, RuntimeError) and not any(word in text for word in _OUT_OF_MEMORY):
                raise
        self._free()
        raise DeviceMemoryError(
            f"not enough memory on {self.device} for {lr.shape[3]}x{lr.shape[2]} pixels at once; "
            "free some, or choose a smaller model"
        )

    def _compute(self, lr: Floats) -> Floats:
        """Run the network, and once more in fp32 if half precision overflowed."""
        with self._lock:
            x = torch.from_numpy(lr).to(self.device, memory_format=torch.channels_last)
            sr = self._forward(x)
            if not torch.isfinite(sr).all():
                sr = self._recompute(x)
            result: Floats = sr.cpu().numpy()
        return result

    def _recompute(self, x: torch.Tensor) -> torch.Tensor:
        """Run the network in fp32, after half precision overflowed.

        Raises:
            ModelError: the result is not finite either.
        """
        if self.precision != "fp32":
            self.tiles_redone += 1  # half precision overflows on some images
            sr = self._forward(x, "fp32")
            if torch.isfinite(sr).all():
                return sr
        raise ModelError(
            "choose another model or an earlier checkpoint: from this image, the network "
            "computes NaN or infinite values"
        )

    def _free(self) -> None:
        """Give back memory that is kept for later tiles."""
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def _forward(self, x: torch.Tensor, precision: str | None = None) -> torch.Tensor:
        half = (precision or self.precision) != "fp32"
        with torch.autocast(self.device.type, self._dtype, enabled=half):
            sr: torch.Tensor = self._network(x)
        return sr.float()


def measure_memory(
    network: nn.Module, forward: Callable[[torch.Tensor], torch.Tensor], lr: torch.Tensor
) -> float:
    """Bytes that a network needs per low-resolution pixel.

    In addition to the layer with the largest tensors, there are earlier tensors that are not yet
    freed, and copies made by the device's libraries; therefore the largest tensors are counted two
    and a half times.

    Args:
        network: whose layers are measured.
        forward: runs it.
        lr: a small batch ``(1, C, H, W)``, on the network's device.
    """
    largest = 0

    def watch(_: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        nonlocal largest
        tensors = [t for t in (*inputs, output) if isinstance(t, torch.Tensor)]
        largest = max(largest, sum(t.numel() * t.element_size() for t in tensors))

    leaves = [module for module in network.modules() if not any(True for _ in module.children())]
    hooks = [leaf.register_forward_hook(watch) for leaf in leaves]
    try:
        with torch.inference_mode():
            result = forward(lr)
    finally:
        for hook in hooks:
            hook.remove()
    return 2.5 * max(largest, result.numel() * 4) / (lr.shape[-2] * lr.shape[-1])

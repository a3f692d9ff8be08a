"""PyTorch on CPU, CUDA or MPS."""

from __future__ import annotations

import threading

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from torch_sr.devices import DTYPES, choose_device, choose_precision
from torch_sr.errors import DeviceError

_TILE_SIZES = {"cpu": 192, "mps": 256, "cuda": 512}


class PyTorchBackend:
    """Run a network.

    Args:
        network: ``(N, C, H, W)`` in [0, 1] to ``(N, C, H * s, W * s)``; it is moved to the
            device.
        scale_factor: ``s``.
        img_channels: ``C``.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1`` or ``mps``.
        precision: ``auto``, ``fp32``, ``bf16`` or ``fp16``.

    Raises:
        DeviceError: when device or precision is not available.
    """

    def __init__(
        self,
        network: nn.Module,
        scale_factor: int,
        img_channels: int,
        device: str = "auto",
        precision: str = "auto",
    ) -> None:
        self.scale_factor = scale_factor
        self.img_channels = img_channels
        self.device = choose_device(device)
        self.precision = choose_precision(precision, self.device)
        self.tile_size = _TILE_SIZES[self.device.type]
        self._dtype = DTYPES[self.precision]
        self._network = network.eval().to(
            self.device,
            memory_format=torch.channels_last,  # type: ignore[call-overload]
        )
        self._once = threading.Lock()  # one tile at a time: the device is busy anyway

    def __call__(self, lr: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        try:
            return self._run(lr)
        except torch.OutOfMemoryError as error:
            raise DeviceError(
                f"{self.device} has not enough memory for {lr.shape[3]}x{lr.shape[2]} pixels at "
                "once; lower --tile-size"
            ) from error

    def _run(self, lr: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        autocast = torch.autocast(self.device.type, self._dtype, enabled=self.precision != "fp32")
        with self._once, torch.inference_mode(), autocast:
            x = torch.from_numpy(lr).to(self.device, memory_format=torch.channels_last)
            sr = self._network(x).float()
            if self.precision != "fp32" and not bool(torch.isfinite(sr).all()):
                # Half precision overflows on some images; black squares are no answer.
                with torch.autocast(self.device.type, enabled=False):
                    sr = self._network(x).float()
            result: npt.NDArray[np.float32] = sr.cpu().numpy()
        return result

"""The ONNX engine: ONNX files, computed by ONNX Runtime on a CPU or a GPU.

Devices are those of the installed build of ONNX Runtime: CUDA, DirectML, Core ML, and the CPU.
"""

from __future__ import annotations

import threading

import numpy as np

from torch_sr.aliases import Floats
from torch_sr.errors import DeviceError, DeviceMemoryError, ModelError
from torch_sr.machine import free_ram, usable_cpus
from torch_sr.models.onnx.network import OnnxNetwork
from torch_sr.models.onnx.session import Session, choose_device, first_line

_LARGEST_TILES = 512 * 2**20
"""Bytes for one tile; larger tiles are not faster."""
_FEATURES = 64
"""Channels of the largest feature maps, which are assumed to have the size of the result."""
_COPIES = 5.0
"""How many of these feature maps are held at once: input and output of a layer, and copies."""
_OUT_OF_MEMORY = ("out of memory", "bad allocation", "bad_alloc", "failed to allocate")


class OnnxEngine:
    """Runs a network with ONNX Runtime.

    Args:
        network: the file.
        device: ``auto`` (CUDA or DirectML if ONNX Runtime has it, otherwise the CPU), ``cpu``,
            ``cuda``, ``cuda:1``, ``directml`` or ``mps`` (Core ML).
        precision: ``auto``, or that of the file.
        threads: on a CPU; by default all that this process may use.

    Raises:
        DeviceError: the device is not available, or the file has another precision.
        ModelError: the file cannot be loaded.
        MissingExtraError: ONNX Runtime is not installed.
    """

    def __init__(
        self,
        network: OnnxNetwork,
        device: str = "auto",
        precision: str = "auto",
        *,
        threads: int | None = None,
    ) -> None:
        self.scale_factor = network.scale_factor
        self.img_channels = network.img_channels
        self.tiles_redone = 0
        self.precision = network.precision
        self.input_size = network.size
        self._network = network
        if precision not in ("auto", network.precision):
            raise DeviceError(
                f"precision {precision}: use auto; {network.path} computes in {network.precision}"
            )
        self.device = choose_device(device)
        self._session = Session(network.source, self.device, threads or usable_cpus())
        self._lock = threading.Lock()  # one tile at a time: the device is busy anyway

    @property
    def tile_area(self) -> int:
        """The most low-resolution pixels per call, for the memory that is free now."""
        if self.input_size is not None:
            return self.input_size[0] * self.input_size[1]
        room = min(free_ram() / 2, _LARGEST_TILES)
        pixel = 4 * _COPIES * _FEATURES * max(self.scale_factor, 2) ** 2
        return max(1, int(room / pixel))

    def __call__(self, lr: Floats) -> Floats:
        try:
            with self._lock:
                sr = self._network.run(self._session, lr)
        except Exception as error:  # ONNX Runtime has a class for every code
            raise self._explain(error, lr) from error
        if not np.isfinite(sr).all():
            raise ModelError(
                f"choose another model, or one in fp32: from this image, {self._network.path} "
                "computes NaN or infinite values"
            )
        return sr

    def _explain(self, error: Exception, lr: Floats) -> Exception:
        """The error of torch-sr for one of ONNX Runtime."""
        if not type(error).__module__.startswith("onnxruntime"):
            return error
        size = f"{lr.shape[3]}x{lr.shape[2]} pixels"
        if any(words in str(error).lower() for words in _OUT_OF_MEMORY):
            return DeviceMemoryError(
                f"not enough memory on {self.device} for {size} at once; free some, or choose a "
                "smaller model"
            )
        return ModelError(
            f"{self._network.path}: export it again, for images of any size or of one fixed size; "
            f"it fails on {size}: {first_line(error)}"
        )

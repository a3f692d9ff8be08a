"""Choose PyTorch's device and precision; measure the free memory of a device."""

from __future__ import annotations

import torch

from torch_sr.errors import DeviceError
from torch_sr.machine import free_ram

DEVICES = ("auto", "cpu", "cuda", "mps")
PRECISIONS = ("auto", "fp32", "bf16", "fp16")
FABRIC_PRECISIONS = {"fp32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def choose_device(name: str = "auto") -> torch.device:
    """Resolve ``auto`` (cuda, then mps, then cpu), ``cpu``, ``cuda``, ``cuda:1`` or ``mps``.

    Raises:
        DeviceError: the device is unknown, or this machine does not have it.
    """
    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": _has_mps()}
    if name == "auto":
        return torch.device(next(kind for kind in ("cuda", "mps", "cpu") if available[kind]))
    try:
        device = torch.device(name)
    except RuntimeError:
        raise DeviceError(f"device {name!r}: unknown; use {', '.join(DEVICES)}") from None
    if not available.get(device.type, False):
        found = ", ".join(kind for kind, there in available.items() if there)
        raise DeviceError(f"device {name!r}: not available here; there is {found}")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise DeviceError(f"device {name!r}: there are {torch.cuda.device_count()} CUDA devices")
    return device


def choose_precision(name: str, device: torch.device) -> str:
    """Resolve a precision for a device: ``auto`` is fp16 on CUDA and fp32 elsewhere.

    Raises:
        DeviceError: for an unknown name, or fp16 on a CPU, where it is slower than fp32.
    """
    if name not in PRECISIONS:
        raise DeviceError(f"precision {name!r}: unknown; use {', '.join(PRECISIONS)}")
    if name == "auto":
        return "fp16" if device.type == "cuda" else "fp32"
    if name == "fp16" and device.type == "cpu":
        raise DeviceError("precision fp16: not on a CPU; use fp32 or bf16")
    return name


def free_memory(device: torch.device) -> int:
    """Bytes that are free on a device now, within the limit of a container if there is one.

    On a CPU, these are what :func:`~torch_sr.machine.free_ram` measures.
    """
    if device.type == "cuda":
        # Memory in PyTorch's cache counts as free.
        cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0] + cached)
    if device.type == "mps":
        return int(torch.mps.recommended_max_memory() - torch.mps.current_allocated_memory())
    return free_ram()


def _has_mps() -> bool:
    return torch.backends.mps.is_available()

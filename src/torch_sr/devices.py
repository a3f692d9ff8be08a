"""Choose the device and the precision; measure the free memory."""

from __future__ import annotations

import contextlib
import math
from pathlib import Path

import psutil
import torch

from torch_sr.errors import DeviceError

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

    Linux's cache of files counts as free, because it is given up when memory is needed.
    """
    if device.type == "cuda":
        # Memory in PyTorch's cache counts as free.
        cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0] + cached)
    if device.type == "mps":
        return int(torch.mps.recommended_max_memory() - torch.mps.current_allocated_memory())
    return int(min(psutil.virtual_memory().available, _free_in_container()))


def _free_in_container(
    root: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")
) -> float:
    """Bytes that Linux's control groups, version 2 or 1, leave to this process.

    Args:
        root: where the groups are mounted; in a container, its own group.
        own: lists the groups of this process; outside containers, those of a batch system or a
            service.
    """
    free = math.inf
    for tree, folder in ((root, ""), (root / "memory", "memory")):
        version = 1 if folder else 2
        for group in _groups(tree, own, folder):
            free = min(free, _free_in_group(group, version))
    return free


def _groups(tree: Path, own: Path, controller: str) -> list[Path]:
    """The group of this process and those around it, up to the root of the tree."""
    groups = [tree]
    with contextlib.suppress(OSError):
        for line in own.read_text(encoding="utf-8").splitlines():
            _, controllers, path = line.split(":", 2)
            if controller in controllers.split(","):
                parts = [part for part in path.split("/") if part]
                groups += [tree.joinpath(*parts[:n]) for n in range(1, len(parts) + 1)]
    return groups


def _free_in_group(group: Path, version: int) -> float:
    names = {
        2: ("memory.max", "memory.current", ("inactive_file", "active_file")),
        1: (
            "memory.limit_in_bytes",
            "memory.usage_in_bytes",
            ("total_inactive_file", "total_active_file"),
        ),
    }
    limit, used, cache = names[version]
    with contextlib.suppress(OSError, ValueError):  # no such group, or no limit: "max"
        most, now = (int((group / name).read_text(encoding="ascii")) for name in (limit, used))
        rows = (group / "memory.stat").read_text(encoding="ascii").splitlines()
        cached = sum(int(row.split()[1]) for row in rows if row.split()[0] in cache)
        return max(0, most - now + cached)
    return math.inf


def _has_mps() -> bool:
    return torch.backends.mps.is_available()

"""Measure how much memory a training step takes."""

from __future__ import annotations

import ctypes
import gc
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch

from torch_sr.errors import DeviceError

_USABLE = 0.9
"""The share of the free memory that can be used: allocators leave gaps."""


@dataclass(frozen=True)
class StepMemory:
    """Memory of a step, which grows linearly with its number of crops.

    Args:
        fixed: bytes that do not depend on the crops, such as weights and averages.
        per_crop: bytes that each crop adds.
    """

    fixed: int
    per_crop: int

    def needed(self, crops: int) -> int:
        """Bytes that a step with a number of crops needs."""
        return self.fixed + crops * self.per_crop

    def largest_batch(self, free: int) -> int:
        """The largest number of crops that fits into ``free`` bytes."""
        return max(0, int(_USABLE * free) - self.fixed) // max(1, self.per_crop)


def measure_step_memory(
    step: Callable[[int], object], device: torch.device, base: int
) -> StepMemory:
    """Measure the memory of steps with one crop and with two.

    Args:
        step: runs a step with a given number of crops.
        device: the device of the step.
        base: :func:`used_memory` before the networks were built.

    Raises:
        DeviceError: two crops do not fit.
    """
    peaks = []
    for crops in (1, 1, 2):  # the first step allocates Adam's averages
        _reset_peak(device)
        try:
            step(crops)
        except torch.OutOfMemoryError:
            raise DeviceError(
                f"lower cr_patch_size or the sizes of the networks: {crops} crops at once are too "
                f"many for the memory of {device}"
            ) from None
        peaks.append(_peak(device) - base)
    _, one, two = peaks
    per_crop = max(0, two - one)
    return StepMemory(fixed=max(0, one - per_crop), per_crop=per_crop)


def gigabytes(count: int) -> str:
    """A number of bytes, in words."""
    return f"{count / 1e9:.2f} GB"


def used_memory(device: torch.device) -> int:
    """Bytes that this process uses on the device; on a CPU, all of its memory."""
    if device.type == "cuda":
        return torch.cuda.memory_allocated(device)
    if device.type == "mps":
        return torch.mps.driver_allocated_memory()
    with suppress(OSError):
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")
    return _peak(device)


def _read_kilobytes(file: Path, key: str) -> int | None:
    """Read a number of kilobytes from a Linux status file, and return bytes."""
    with suppress(OSError, ValueError, StopIteration):
        lines = file.read_text(encoding="ascii").splitlines()
        return 1024 * int(next(line for line in lines if line.startswith(key)).split()[1])
    return None


def _reset_peak(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    elif device.type == "cpu":
        gc.collect()
        _trim_heap()
        with suppress(OSError):  # Linux measures the peak from now on
            Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def _trim_heap() -> None:
    """Return free memory to the system, so that a step that reuses it is measured."""
    with suppress(OSError, AttributeError, TypeError):  # only in glibc
        ctypes.CDLL(None).malloc_trim(0)


def _peak(device: torch.device) -> int:
    """Peak of the bytes in use since the reset, or since the start if it cannot be reset."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if device.type == "mps":
        return torch.mps.driver_allocated_memory()
    peak = _read_kilobytes(Path("/proc/self/status"), "VmHWM")
    if peak is not None:
        return peak
    if sys.platform == "win32":
        return 0
    from resource import RUSAGE_SELF, getrusage

    return getrusage(RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)

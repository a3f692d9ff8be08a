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
"""The share of the free memory that is counted on: allocators leave gaps."""


@dataclass(frozen=True)
class StepMemory:
    """Memory of a step, which grows evenly with the crops in it.

    Args:
        fixed: bytes of weights, averages and all else that does not depend on the crops.
        per_crop: bytes that each crop adds.
    """

    fixed: int
    per_crop: int

    def needed(self, crops: int) -> int:
        """Bytes that a step with so many crops at once takes."""
        return self.fixed + crops * self.per_crop

    def largest_batch(self, free: int) -> int:
        """How many crops at once fit into so many bytes."""
        return max(0, int(_USABLE * free) - self.fixed) // max(1, self.per_crop)


def measure_step_memory(
    step: Callable[[int], object], device: torch.device, base: int
) -> StepMemory:
    """Run steps with one crop and with two.

    Args:
        step: does one with so many crops.
        device: on which it does.
        base: what :func:`used_memory` was before the networks were there.

    Raises:
        DeviceError: when two crops are too many already.
    """
    peaks = []
    for crops in (1, 1, 2):  # the first step makes Adam's averages
        _reset_peak(device)
        try:
            step(crops)
        except torch.OutOfMemoryError:
            raise DeviceError(
                f"{crops} crops at once are too many for the memory of {device}; lower "
                "cr_patch_size or the networks' sizes"
            ) from None
        peaks.append(_peak(device) - base)
    _, one, two = peaks
    per_crop = max(0, two - one)
    return StepMemory(fixed=max(0, one - per_crop), per_crop=per_crop)


def used_memory(device: torch.device) -> int:
    """Bytes in use: of the device by this process, or by the process as a whole on a CPU."""
    if device.type == "cuda":
        return torch.cuda.memory_allocated(device)
    if device.type == "mps":
        return torch.mps.driver_allocated_memory()
    with suppress(OSError):
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")
    return _peak(device)


def _read_kilobytes(file: Path, key: str) -> int | None:
    """A number of bytes out of a file of Linux, which has it in kilobytes."""
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
    """Give free memory back to the system; a step that takes it again would seem to take none."""
    with suppress(OSError, AttributeError, TypeError):  # glibc alone has it
        ctypes.CDLL(None).malloc_trim(0)


def _peak(device: torch.device) -> int:
    """The most bytes in use since the reset, or since the start where there is no resetting."""
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

"""Measure this machine: free memory, usable processors, graphics cards; needs no PyTorch."""

from __future__ import annotations

import contextlib
import ctypes
import math
import os
import sys
from collections.abc import Iterator
from pathlib import Path

_GROUPS = Path("/sys/fs/cgroup")
"""Where Linux's control groups are mounted; in a container, its own group."""
_OWN = Path("/proc/self/cgroup")
"""Lists the groups of this process; outside containers, those of a batch system or a service."""


def free_ram() -> int:
    """Bytes of memory that are free now, within the limit of a container if there is one.

    Linux's cache of files counts as free, because it is given up when memory is needed.
    """
    return int(min(_available(), _free_in_container()))


def usable_cpus() -> int:
    """Processors that this process may use: those of its affinity, within a container's quota."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, min(count or 1, _cpus_of_container()))


def _available(table: Path = Path("/proc/meminfo")) -> int:
    """Bytes that programs can get without swapping."""
    with contextlib.suppress(OSError, ValueError, IndexError):  # not Linux, or before 3.14
        _, _, row = table.read_text(encoding="ascii").partition("\nMemAvailable:")
        return int(row.split()[0]) * 1024
    import psutil

    return int(psutil.virtual_memory().available)


def may_have_gpu() -> bool:
    """Whether PyTorch may find a graphics card; without one, it need not be imported to ask."""
    if sys.platform == "darwin":
        return True
    return Path("/dev/kfd").exists() or _count_nvidia_cards() != 0  # kfd: AMD's driver


def _count_nvidia_cards() -> int:
    """How many cards the CUDA driver finds; 0 without a driver."""
    try:
        if sys.platform == "win32":
            driver = ctypes.WinDLL("nvcuda.dll")
        else:
            driver = ctypes.CDLL("libcuda.so.1")
        count = ctypes.c_int(0)
        if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0:
            return 0
    except (OSError, AttributeError):
        return 0
    return count.value


def _free_in_container(root: Path = _GROUPS, own: Path = _OWN) -> float:
    """Bytes that Linux's control groups, version 2 or 1, leave to this process."""
    found = [_free_in_group(group, 2) for group in _groups(root, own, "")]
    found += [_free_in_group(group, 1) for group in _groups(root / "memory", own, "memory")]
    return min(found)


def _cpus_of_container(root: Path = _GROUPS, own: Path = _OWN) -> int:
    """Processors that the quotas of control groups allow, rounded up."""
    quotas = [_read_quota(group, "cpu.max") for group in _groups(root, own, "")]
    separate = ("cpu.cfs_quota_us", "cpu.cfs_period_us")
    quotas += [_read_quota(group, *separate) for group in _groups(root / "cpu", own, "cpu")]
    return math.ceil(min(*quotas, sys.maxsize))


def _groups(tree: Path, own: Path, controller: str) -> Iterator[Path]:
    """The root of a tree of groups, and those on the way to the group of this process."""
    yield tree
    with contextlib.suppress(OSError):
        for line in own.read_text(encoding="utf-8").splitlines():
            _, controllers, path = line.split(":", 2)
            if controller in controllers.split(","):
                parts = [part for part in path.split("/") if part]
                yield from (tree.joinpath(*parts[:n]) for n in range(1, len(parts) + 1))


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


def _read_quota(group: Path, *files: str) -> float:
    """The time on processors that a group may use, divided by the time that passes."""
    with contextlib.suppress(OSError, ValueError):  # no such group, or no limit: "max"
        words = " ".join((group / file).read_text(encoding="ascii") for file in files).split()
        quota, period = map(int, words)
        if quota > 0 and period > 0:  # version 1 has -1 if there is no limit
            return quota / period
    return math.inf

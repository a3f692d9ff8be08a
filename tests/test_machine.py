"""Free memory, usable processors and graphics cards of this machine."""

from __future__ import annotations

import ctypes
import math
import os
from types import SimpleNamespace

import psutil
import pytest
import torch

from torch_sr import machine
from torch_sr.devices import free_memory


@pytest.mark.parametrize("version", [2, 1])
def test_free_memory_in_a_container_counts_the_cache_of_files(tmp_path, monkeypatch, version):
    """8 GB, of which 7.5 are used, 6 of these by the cache of files."""
    names = {
        2: ("", "memory.max", "memory.current", "inactive_file 5000000000", "active_file"),
        1: (
            "memory", "memory.limit_in_bytes", "memory.usage_in_bytes",
            "total_inactive_file 5000000000", "total_active_file",
        ),
    }  # fmt: skip
    folder, limit, used, inactive, active = names[version]
    group = tmp_path / folder / "batch" / "job 7"
    group.mkdir(parents=True)
    (group / limit).write_text("8000000000\n")
    (group / used).write_text("7500000000\n")
    (group / "memory.stat").write_text(f"anon 1500000000\n{inactive}\n{active} 1000000000\n")
    own = tmp_path / "own"
    own.write_text(f"4:{folder},cpu:/batch/job 7\n" if folder else "0::/batch/job 7\n")
    assert machine._free_in_container(tmp_path, own) == 6_500_000_000
    (group / limit).write_text("max\n")
    assert machine._free_in_container(tmp_path, own) == math.inf


def test_available_memory_is_what_psutil_finds(tmp_path):
    found, expected = machine._available(), psutil.virtual_memory().available
    assert abs(found - expected) < 0.2 * expected
    (tmp_path / "meminfo").write_text("MemTotal:  8 kB\nMemFree:  4 kB\nMemAvailable:  6 kB\n")
    assert machine._available(tmp_path / "meminfo") == 6 * 1024
    for text in ("MemTotal:  8 kB\n", ""):
        (tmp_path / "meminfo").write_text(text)
        found, expected = (
            machine._available(tmp_path / "meminfo"),
            psutil.virtual_memory().available,
        )
        assert abs(found - expected) < 0.2 * expected


def test_a_container_has_its_own_limit(monkeypatch):
    monkeypatch.setattr(machine, "_free_in_container", lambda: 3_000_000)
    assert machine.free_ram() == free_memory(torch.device("cpu")) == 3_000_000


@pytest.mark.parametrize(
    ("folder", "files", "cpus"),
    [
        ("", {"cpu.max": "150000 100000"}, 2),
        ("", {"cpu.max": "max 100000"}, math.inf),
        ("", {"cpu.max": ""}, math.inf),
        ("cpu", {"cpu.cfs_quota_us": "50000", "cpu.cfs_period_us": "100000"}, 1),
        ("cpu", {"cpu.cfs_quota_us": "-1", "cpu.cfs_period_us": "100000"}, math.inf),
        ("cpu", {"cpu.cfs_quota_us": "50000"}, math.inf),
    ],
)
def test_a_quota_of_processors_is_rounded_up(tmp_path, folder, files, cpus):
    group = tmp_path / folder / "batch" / "job 7"
    group.mkdir(parents=True)
    for name, text in files.items():
        (group / name).write_text(f"{text}\n")
    own = tmp_path / "own"
    own.write_text(f"4:{folder},cpuacct:/batch/job 7\n" if folder else "0::/batch/job 7\n")
    found = machine._cpus_of_container(tmp_path, own)
    assert found == cpus or (cpus == math.inf and found > 10**6)


def test_usable_processors_are_those_of_the_affinity(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 5, 7}, raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setattr(machine, "_cpus_of_container", lambda: 100)
    assert machine.usable_cpus() == 3
    monkeypatch.setattr(machine, "_cpus_of_container", lambda: 2)
    assert machine.usable_cpus() == 2
    monkeypatch.delattr(os, "sched_getaffinity")  # as on macOS
    monkeypatch.setattr(machine, "_cpus_of_container", lambda: 100)
    assert machine.usable_cpus() == 64
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert machine.usable_cpus() == 1


def _driver(started, cards):
    def count(pointer):
        pointer._obj.value = cards
        return 0

    return SimpleNamespace(cuInit=lambda flags: started, cuDeviceGetCount=count)


@pytest.mark.skipif(machine.sys.platform != "linux", reason="the driver of Linux")
@pytest.mark.parametrize(("started", "cards", "found"), [(0, 2, 2), (0, 0, 0), (100, 2, 0)])
def test_the_cuda_driver_counts_the_cards(monkeypatch, started, cards, found):
    monkeypatch.setattr(ctypes, "CDLL", lambda name: _driver(started, cards))
    assert machine._count_nvidia_cards() == found


def test_without_a_driver_there_are_no_cards(monkeypatch):
    def missing(name):
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr(ctypes, "CDLL", missing)
    assert machine._count_nvidia_cards() == 0


def test_on_a_mac_pytorch_decides(monkeypatch):
    monkeypatch.setattr(machine.sys, "platform", "darwin")
    assert machine.may_have_gpu()

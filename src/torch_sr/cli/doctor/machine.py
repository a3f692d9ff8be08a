"""The processor, memory and graphics cards of this machine."""

from __future__ import annotations

import platform
import sys
from dataclasses import dataclass
from pathlib import Path

import psutil

from torch_sr.errors import TorchSRError
from torch_sr.machine import free_ram, usable_cpus


@dataclass(frozen=True)
class Machine:
    """Processor and memory.

    Args:
        system: operating system and architecture.
        processor: its model.
        cpus: how many processors there are.
        usable_cpus: how many this process may use.
        total_memory, free_memory: in bytes.
    """

    system: str
    processor: str
    cpus: int
    usable_cpus: int
    total_memory: int
    free_memory: int


@dataclass(frozen=True)
class Card:
    """A graphics card.

    Args:
        device: as ``--device`` takes it.
        name: as its driver reports it.
    """

    device: str
    name: str


def describe_machine() -> Machine:
    """Measure this machine."""
    return Machine(
        system=f"{platform.system()} {platform.machine()}",
        processor=find_processor(),
        cpus=psutil.cpu_count() or 1,
        usable_cpus=usable_cpus(),
        total_memory=psutil.virtual_memory().total,
        free_memory=free_ram(),
    )


def find_processor(info: Path = Path("/proc/cpuinfo")) -> str:
    """The model of the processor."""
    try:
        lines = info.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:  # not Linux
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def find_cards() -> list[Card]:
    """The graphics cards that PyTorch and ncnn can use; none if these are missing."""
    return [*_torch_cards(), *_vulkan_cards()]


def _torch_cards() -> list[Card]:
    try:
        import torch
    except (ImportError, OSError):
        return []
    cards = [
        Card(f"cuda:{index}", torch.cuda.get_device_name(index))
        for index in range(torch.cuda.device_count())
    ]
    if sys.platform == "darwin" and torch.backends.mps.is_available():
        cards.append(Card("mps", find_processor()))
    return cards


def _vulkan_cards() -> list[Card]:
    from torch_sr.inference.engines.ncnn import VULKAN, vulkan_devices

    try:
        found = vulkan_devices()
    except TorchSRError:
        return []
    return [Card(f"{VULKAN}:{each.index}", f"{each.name}, {each.kind}") for each in found]

"""Start one or several training processes, connected by a Fabric."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from inspect import signature
from typing import Any

import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies.ddp import DDPStrategy
from torch.nn.parallel import DistributedDataParallel

from torch_sr.devices import FABRIC_PRECISIONS, choose_device, choose_precision
from torch_sr.errors import DeviceError, TrainingError
from torch_sr.training.settings import RunSettings

# PyTorch renamed the option, and warns about the old name.
_SYNC_BUFFERS = next(
    name
    for name in ("forward_sync_buffers", "broadcast_buffers")
    if name in signature(DistributedDataParallel).parameters
)


_LOST = ("gloo", "Connection closed by peer", "Connection reset by peer", "Broken pipe")
"""Words in the RuntimeError of gloo; other backends raise subclasses."""


def is_first_process() -> bool:
    """Whether this process logs and prints: the only one, or the first of several."""
    # torchrun sets the rank among all processes, Lightning's launcher only the local rank.
    return os.environ.get("RANK", os.environ.get("LOCAL_RANK", "0")) == "0"


def launch(settings: RunSettings) -> Fabric:
    """Start the processes that the settings ask for, or join those that torchrun started.

    Raises:
        DeviceError: the device, the number of devices or the precision is not available.
    """
    device = choose_device(settings.device)
    precision = choose_precision(settings.precision, device)
    processes, here = _count_processes(settings, device)
    # Buffers are statistics of batch normalization. They need not be equal in all processes, and
    # must not change between the two passes of a discriminator's step.
    unsynced: dict[str, Any] = {_SYNC_BUFFERS: False}
    with _quiet_fabric():
        fabric = Fabric(
            accelerator=device.type,
            devices=here if device.index is None else [device.index],  # cuda:1: only that one
            num_nodes=processes // here,
            strategy=DDPStrategy(**unsynced) if processes > 1 else "auto",
            precision=FABRIC_PRECISIONS[precision],  # type: ignore[arg-type]
        )
        fabric.launch()
    return fabric


@contextmanager
def _quiet_fabric() -> Iterator[None]:
    """Silence Fabric's logs about precision and processes, which the user chose."""
    log = logging.getLogger("lightning_fabric")
    before = log.level
    log.setLevel(logging.WARNING)
    try:
        yield
    finally:
        log.setLevel(before)


@contextmanager
def leave_in_order() -> Iterator[None]:
    """Destroy a process group created inside; otherwise processes sometimes abort at exit."""
    joined_before = torch.distributed.is_initialized()
    try:
        yield
    finally:
        if torch.distributed.is_initialized() and not joined_before:
            torch.distributed.destroy_process_group()


@contextmanager
def explain_lost_process() -> Iterator[None]:
    """Turn the errors of a connection to a process that ended into one line.

    Raises:
        TrainingError: another process ended or cannot be reached.
    """
    try:
        yield
    except RuntimeError as error:
        lost = isinstance(error, torch.distributed.DistError)
        if not lost and not any(words in str(error) for words in _LOST):
            raise
        raise TrainingError(
            "start the training again with --name and --resume auto, which resumes its last "
            "checkpoint (torchrun --max-restarts does so itself): another process ended or cannot "
            f"be reached ({_shorten(error)}); see its own error"
        ) from error


def _shorten(error: RuntimeError) -> str:
    """The first line of an error, without the place in the sources where it occurred."""
    return re.sub(r"^\[[^]]*\][\s:]*", "", str(error).partition("\n")[0])[:100]


def _count_processes(settings: RunSettings, device: torch.device) -> tuple[int, int]:
    """The number of processes in total and on this machine."""
    if "WORLD_SIZE" in os.environ and "RANK" in os.environ:  # torchrun has started them
        here = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
        total = int(os.environ["WORLD_SIZE"])
        if total % here:
            raise DeviceError(
                f"start equally many processes on all machines with --nproc-per-node: {here} of "
                f"{total} processes are on this one"
            )
        return total, here
    gpus = torch.cuda.device_count() if device.type == "cuda" and device.index is None else 1
    wanted = settings.devices or gpus
    if wanted > gpus and device.type != "cpu":
        raise DeviceError(f"{wanted} devices: this machine has {gpus} of {device}; ask for fewer")
    return wanted, wanted

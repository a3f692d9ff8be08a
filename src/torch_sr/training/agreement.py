"""Check that all processes of a training agree, before they exchange gradients.

Processes on several machines read their own configuration, images and checkpoints. If these
differ, the processes would wait for each other forever, or train something else without an error.
"""

from __future__ import annotations

import hashlib
import json
import socket
from collections.abc import Mapping
from typing import Any

import torch
from lightning_fabric import Fabric

from torch_sr._version import __version__
from torch_sr.config import STAGES, Hyperparameters, to_overrides
from torch_sr.data.crops.random_crops import RandomCrops
from torch_sr.errors import CheckpointError, ConfigError, DataError
from torch_sr.training.runs.starting_point import StartingPoint
from torch_sr.training.settings import RunSettings
from torch_sr.training.stage_data import StageData


def check_same_run(fabric: Fabric, config: Hyperparameters, settings: RunSettings) -> None:
    """Refuse processes with different hyper-parameters, options or versions.

    Raises:
        ConfigError: on all processes, if one differs from the first.
    """
    mine = {
        "the version of torch-sr": __version__,
        "--precision": settings.precision,
        "--accumulate": str(settings.accumulate),
        "intervals": str(settings.intervals),
        **dict(override.split("=", 1) for override in to_overrides(config.to_dict())),
    }
    for place, other, first in _compare(fabric, mine):
        key = next(key for key in {**first, **other} if first.get(key) != other.get(key))
        raise ConfigError(
            f"start all processes with the same command and configuration: {key} is "
            f"{other.get(key)} in {place}, and {first.get(key)} in process 0"
        )


def share_start(fabric: Fabric, start: StartingPoint) -> StartingPoint:
    """Let all processes resume the checkpoint of the first; the others need not have the file.

    Args:
        fabric: the processes.
        start: what this process would start from.

    Returns:
        the start of the first process; ``start`` itself if it is not a checkpoint.

    Raises:
        CheckpointError: on all processes, if another one has a newer checkpoint, or one of another
            run: the folders of the machines are not the same.
    """
    if fabric.world_size == 1:
        return start
    for place, other, first in _compare(fabric, _describe(start)):
        if _is_older(other, first):
            continue
        raise CheckpointError(
            "give all machines the same --out, or copy the newest checkpoint to the first machine: "
            f"{place} found {_spell(other)}, and process 0 found {_spell(first)}"
        )
    shared: Any = fabric.broadcast(None if start.checkpoint is None else vars(start))
    return start if shared is None or fabric.is_global_zero else StartingPoint(**shared)


def check_same_images(fabric: Fabric, stages: Mapping[str, StageData]) -> None:
    """Refuse processes with different training images.

    Raises:
        DataError: on all processes, if one differs from the first.
    """
    mine = {name: _describe_images(data) for name, data in stages.items()}
    for place, other, first in _compare(fabric, mine):
        if other.keys() != first.keys():
            raise DataError(
                f"start all processes with the same command: {place} trains the stages "
                f"{', '.join(other)}, and process 0 {', '.join(first)}"
            )
        name = next(name for name in first if first[name] != other[name])
        raise DataError(
            f"{name}.train_datasets: copy the same files to all machines, or give them a shared "
            f"--data-root: {place} has {other[name]}, and process 0 has {first[name]}"
        )


def _compare(fabric: Fabric, mine: Any) -> list[tuple[str, Any, Any]]:
    """Each process whose value differs from that of the first: its name, its value, the first."""
    if fabric.world_size == 1:
        return []
    gathered: list[Any] = [None] * fabric.world_size
    torch.distributed.all_gather_object(gathered, (socket.gethostname(), mine))
    _, first = gathered[0]
    return [
        (f"process {rank} on {host}", value, first)
        for rank, (host, value) in enumerate(gathered)
        if value != first
    ]


def _describe(start: StartingPoint) -> tuple[str, int, int, str] | None:
    """The run, the number of the stage, the step and the file of a checkpoint."""
    state = start.checkpoint
    if state is None:
        return None
    step = int(state["progress"].get("step", 0))
    return str(state["run"]), STAGES.index(state["stage"]), step, str(start.path)


def _is_older(
    other: tuple[str, int, int, str] | None, first: tuple[str, int, int, str] | None
) -> bool:
    """Whether a process has nothing that the first one does not have."""
    if other is None or first is None:
        return other is None
    return other[0] == first[0] and other[1:3] <= first[1:3]


def _spell(found: tuple[str, int, int, str] | None) -> str:
    if found is None:
        return "no checkpoint"
    run, stage, step, path = found
    return f"step {step} of {STAGES[stage]} of the run {run} ({path})"


def _describe_images(data: StageData) -> str:
    """The number of training images, and a short hash of their contents and order."""
    crops = data.loader.dataset
    assert isinstance(crops, RandomCrops)
    pairs = crops.pairs
    known = json.dumps([data.notes["data"], pairs.names]).encode()
    return f"{len(pairs)} images ({hashlib.sha256(known).hexdigest()[:8]})"

"""Training checkpoints: written whole or not at all, read without running any code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from torch_sr.errors import CheckpointError
from torch_sr.files import atomic_write

FORMAT = "torch-sr-checkpoint-1"


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write tensors and plain values atomically.

    Raises:
        CheckpointError: when the file cannot be written; an older one of that name is then kept.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as temporary:
            torch.save({"format": FORMAT, **state}, temporary)
    except (OSError, RuntimeError) as error:  # torch reports a full disk as a RuntimeError
        reason = error.strerror if isinstance(error, OSError) else str(error).splitlines()[0]
        raise CheckpointError(f"{path}: cannot write the checkpoint: {reason}") from error


def is_checkpoint(path: Path) -> bool:
    """Whether a file is a whole training checkpoint of torch-sr; a model, for one, is not."""
    try:
        load_checkpoint(path)
    except CheckpointError:
        return False
    return True


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint onto the CPU.

    Raises:
        CheckpointError: when the file is missing, damaged, or not a checkpoint of torch-sr.
    """
    if not path.is_file():
        raise CheckpointError(f"{path}: no such checkpoint")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for damaged files
        raise CheckpointError(
            f"{path}: not a readable checkpoint; it may be truncated, use an earlier one"
        ) from error
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise CheckpointError(f"{path}: no training checkpoint of torch-sr ({FORMAT})")
    return state

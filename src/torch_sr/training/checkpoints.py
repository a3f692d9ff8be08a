"""Training checkpoints: written whole or not at all, sealed by a hash, read without running code.

A checkpoint is a file of ``torch.save``, readable by ``torch.load(…, weights_only=True)``. PyTorch
does not notice a flipped bit in one, so its SHA-256 stands in the comment at the end of the zip
archive. The older checkpoints of a run are kept beside the newest, as ``…_checkpoint_1.pth``,
``…_checkpoint_2.pth``, and serve where the newest is broken.
"""

from __future__ import annotations

import hashlib
import logging
import os
from pathlib import Path
from typing import Any

import torch

from torch_sr.errors import CheckpointError
from torch_sr.files import atomic_write

FORMAT = "torch-sr-checkpoint-2"
_SEAL = b"sha256:"
_SEAL_LENGTH = len(_SEAL) + 2 * hashlib.sha256().digest_size
_log = logging.getLogger(__name__)


def save_checkpoint(path: Path, state: dict[str, Any], keep: int = 0) -> None:
    """Write tensors and plain values atomically.

    Args:
        path: the newest checkpoint.
        state: what to store.
        keep: how many older ones to keep beside it.

    Raises:
        CheckpointError: when the file cannot be written; an older one of that name is then kept.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as temporary:
            torch.save({"format": FORMAT, **state}, temporary)
            _seal(temporary)
            _rotate(path, keep)
    except (OSError, RuntimeError) as error:  # torch reports a full disk as a RuntimeError
        reason = error.strerror if isinstance(error, OSError) else str(error).splitlines()[0]
        raise CheckpointError(f"{path}: cannot write the checkpoint: {reason}") from error


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read one checkpoint onto the CPU, after checking its hash.

    Raises:
        CheckpointError: when the file is missing, damaged, or not a checkpoint of torch-sr.
    """
    if not path.is_file():
        raise CheckpointError(f"{path}: no such checkpoint")
    try:
        _verify(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except CheckpointError:
        raise
    except Exception as error:  # torch raises many kinds for damaged files
        raise CheckpointError(f"{path}: not a readable checkpoint; use an earlier one") from error
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise CheckpointError(f"{path}: no training checkpoint of torch-sr ({FORMAT})")
    return state


def load_newest(path: Path) -> dict[str, Any] | None:
    """Read a checkpoint, or where it is broken the newest whole one that was kept beside it.

    A warning is logged where it is not the one asked for. None is returned where there is no
    checkpoint at all: the file may be a model.

    Raises:
        CheckpointError: when there are checkpoints and all of them are broken.
    """
    candidates = (path, *_older(path))
    failures = []
    for candidate in candidates:
        try:
            state = load_checkpoint(candidate)
        except CheckpointError as error:
            failures.append(error)
            continue
        if failures:
            _log.warning("%s; going on from the one before: %s", failures[0], candidate)
        return state
    if len(candidates) > 1 or _is_sealed(path):
        raise failures[0]
    return None


def load_last_good(path: Path, best: Path) -> dict[str, Any]:
    """Read the newest checkpoint that validation found good, or else the newest of all.

    Args:
        path: the newest checkpoint; the older ones beside it come next.
        best: the checkpoint of the best model, for when none of these was validated.

    Raises:
        CheckpointError: when there is none at all.
    """
    newest = None
    for candidate in (path, *_older(path), best):
        try:
            state = load_checkpoint(candidate)
        except CheckpointError as error:
            _log.debug("%s", error)
            continue
        if state["good"]:
            return state
        newest = newest or state
    if newest is None:
        raise CheckpointError(f"{path}: there is no checkpoint to go back to")
    return newest


def _older(path: Path) -> list[Path]:
    """The checkpoints kept beside the newest, the newer ones first."""
    candidates = (_numbered(path, number) for number in range(1, 100))
    return [candidate for candidate in candidates if candidate.exists()]


def _numbered(path: Path, number: int) -> Path:
    return path.with_name(f"{path.stem}_{number}{path.suffix}") if number else path


def _rotate(path: Path, keep: int) -> None:
    """Number what is there one higher, the oldest first, and drop what is too old."""
    for number in range(keep, 0, -1):
        newer = _numbered(path, number - 1)
        if newer.exists():
            newer.replace(_numbered(path, number))


def _seal(path: Path) -> None:
    """Put the hash into the comment of a zip archive that has none: its last two bytes say so."""
    with path.open("rb+") as file:
        file.seek(-2, os.SEEK_END)
        end = file.tell()
        assert file.read() == b"\0\0"
        seal = _SEAL + _digest(file, end).encode()
        file.seek(end)
        file.write(len(seal).to_bytes(2, "little") + seal)


def _is_sealed(path: Path) -> bool:
    """Whether a file ends as checkpoints do, be the hash right or wrong."""
    try:
        with path.open("rb") as file:
            file.seek(max(file.seek(0, os.SEEK_END) - _SEAL_LENGTH, 0))
            return file.read(len(_SEAL)) == _SEAL
    except OSError:
        return False


def _verify(path: Path) -> None:
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        start = size - _SEAL_LENGTH
        file.seek(max(start, 0))
        seal = file.read()
        if not seal.startswith(_SEAL):
            raise CheckpointError(
                f"{path}: no checkpoint of torch-sr, or one that was cut short; use an earlier one"
            )
        if seal != _SEAL + _digest(file, start - 2).encode():
            raise CheckpointError(f"{path}: damaged, its hash is wrong; use an earlier one")


def _digest(file: Any, length: int) -> str:
    """The SHA-256 of the first ``length`` bytes."""
    digest = hashlib.sha256()
    file.seek(0)
    while length > 0:
        chunk = file.read(min(length, 1 << 20))
        digest.update(chunk)
        length -= len(chunk)
    return digest.hexdigest()

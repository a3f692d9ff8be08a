"""Write checkpoints atomically with a hash, and read them safely.

A checkpoint is a file of ``torch.save``, readable by ``torch.load(…, weights_only=True)``. Because
PyTorch does not detect flipped bits, its SHA-256 is in the comment at the end of the zip archive.
The older checkpoints of a run are kept next to the newest, as ``…_checkpoint_1.pth``,
``…_checkpoint_2.pth``, and are used if the newest is damaged.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch

from torch_sr.config import STAGES, Hyperparameters, parse_config
from torch_sr.errors import CheckpointError
from torch_sr.files import atomic_write, write_failure

_FAMILY = "torch-sr-checkpoint-"
FORMAT = f"{_FAMILY}2"
_FIELDS: dict[str, type] = {
    "run": str,
    "stage": str,
    "hparams": dict,
    "model_state_dict": dict,
    "params_ema": dict,
    "stage_state": dict,
    "progress": dict,
    "metrics": dict,
    "sums": dict,
    "watch": dict,
    "samples": dict,
    "scaler": dict,
    "random": dict,
    "good": bool,
}
"""The fields of every checkpoint; later versions may add some."""
_SETTINGS = ("download",)
"""Hyper-parameters of older checkpoints that are now settings of a run."""
_SEAL = b"sha256:"
_SEAL_LENGTH = len(_SEAL) + 2 * hashlib.sha256().digest_size
_log = logging.getLogger(__name__)


def save_checkpoint(
    path: Path, state: dict[str, Any], keep: int = 0, *, replace: bool = False
) -> None:
    """Write tensors and plain values atomically.

    Args:
        path: the newest checkpoint.
        state: what to store.
        keep: number of older checkpoints to keep next to it.
        replace: overwrite the newest, which is of the same step, and keep the older ones.

    Raises:
        CheckpointError: the file cannot be written; an older one of that name is then kept.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as temporary:
            torch.save({"format": FORMAT, **state}, temporary)
            _seal(temporary)
            if not replace:
                _rotate(path, keep)
        _drop_older(path, keep)
    except (OSError, RuntimeError) as error:  # torch reports a full disk as a RuntimeError
        reason = write_failure(error, path.parent, _count_bytes(state))
        kept = f"; the previous checkpoint is kept: {path}" if path.is_file() else ""
        raise CheckpointError(f"{path}: cannot write the checkpoint: {reason}{kept}") from error


def _count_bytes(state: Any) -> int:
    """Total size of all tensors, including nested ones."""
    if isinstance(state, torch.Tensor):
        return state.nbytes
    parts = state.values() if isinstance(state, Mapping) else state
    if isinstance(parts, str) or not isinstance(parts, Iterable):
        return 0
    return sum(map(_count_bytes, parts))


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read one checkpoint onto the CPU, after checking its hash.

    A checkpoint without a hash, for example one that another program saved again, is read with a
    warning.

    Raises:
        CheckpointError: the file is missing, damaged, of another version, or not a checkpoint of
            torch-sr.
    """
    if not path.is_file():
        raise CheckpointError(f"{path}: no such checkpoint")
    sealed = _verify(path)
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many types for damaged files
        raise _NotOursError(
            f"{path}: use an earlier checkpoint; this is not one of torch-sr, or it is truncated"
        ) from error
    _check_content(path, state)
    if not sealed:
        _log.warning(
            "%s: has no hash, as if another program saved it: damage cannot be detected", path
        )
    return dict(state)


class _NotOursError(CheckpointError):
    """A file that may be a model, or anything else."""


def _check_content(path: Path, state: Any) -> None:
    found = state.get("format") if isinstance(state, dict) else None
    if not isinstance(found, str) or not found.startswith(_FAMILY):
        raise _NotOursError(
            f"{path}: this is not a training checkpoint of torch-sr, but may be a model"
        )
    if found != FORMAT:
        raise CheckpointError(
            f"{path}: resume it with the version of torch-sr that wrote it: its format is {found}, "
            f"and this version reads {FORMAT}"
        )
    missing = [name for name in _FIELDS if name not in state]
    if missing:
        raise CheckpointError(
            f"{path}: use an earlier checkpoint: the fields {', '.join(missing)} are missing from "
            "this one"
        )
    for name, kind in _FIELDS.items():
        if not isinstance(state[name], kind):
            raise CheckpointError(
                f"{path}: use an earlier checkpoint: the field {name} of this one is of the wrong "
                f"type {type(state[name]).__name__}"
            )
    if state["stage"] not in STAGES:
        raise CheckpointError(f"{path}: there is no stage {state['stage']!r}; {STAGES} are known")


def read_hparams(path: Path, checkpoint: Mapping[str, Any]) -> Hyperparameters:
    """The configuration in a checkpoint; missing keys have their defaults.

    Raises:
        ConfigError: this version does not support one of its keys or values.
    """
    data = {key: value for key, value in checkpoint["hparams"].items() if key not in _SETTINGS}
    return parse_config(data, str(path))


def load_newest(path: Path) -> dict[str, Any] | None:
    """Read a checkpoint; if it is damaged, the newest intact one that is kept next to it.

    In that case, a warning is logged. None is returned for a file that is not a checkpoint of
    torch-sr, and may be a model.

    Raises:
        CheckpointError: all checkpoints are damaged.
    """
    if path.suffix.lower() == ".safetensors":
        return None
    failures = []
    for candidate in (path, *_older(path)):
        try:
            state = load_checkpoint(candidate)
        except CheckpointError as error:
            failures.append(error)
            if isinstance(error, _NotOursError) and error.__cause__ is None:
                break  # it is readable, but is another kind of file
            continue
        if failures:
            _log.warning("%s; resuming from the previous checkpoint: %s", failures[0], candidate)
        return state
    ours = [error for error in failures if not isinstance(error, _NotOursError)]
    if ours and path.is_file():
        raise ours[0]
    return None


def load_last_good(path: Path, best: Path) -> dict[str, Any]:
    """Read the newest checkpoint that a validation confirmed, otherwise the newest one.

    Args:
        path: the newest checkpoint; the older ones next to it are tried next.
        best: the checkpoint of the best model, which is tried last.

    Raises:
        CheckpointError: there is no readable checkpoint.
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
        raise CheckpointError(f"{path}: there is no checkpoint to roll back to")
    return newest


def withdraw_checkpoint(path: Path) -> None:
    """Replace the newest checkpoint by the previous one, if there is one."""
    for number, older in enumerate(_older(path)):
        older.replace(_numbered(path, number))


def _drop_older(path: Path, keep: int) -> None:
    for older in _older(path)[keep:]:
        older.unlink(missing_ok=True)


def _older(path: Path) -> list[Path]:
    """The older checkpoints next to the newest, in order from new to old."""
    if not path.name:  # a folder, such as "."
        return []
    candidates = (_numbered(path, number) for number in range(1, 100))
    return [candidate for candidate in candidates if candidate.exists()]


def _numbered(path: Path, number: int) -> Path:
    return path.with_name(f"{path.stem}_{number}{path.suffix}") if number else path


def _rotate(path: Path, keep: int) -> None:
    """Increase the numbers of the checkpoints by one; the oldest is overwritten."""
    for number in range(keep, 0, -1):
        newer = _numbered(path, number - 1)
        if newer.exists():
            newer.replace(_numbered(path, number))


def _seal(path: Path) -> None:
    """Write the hash into the comment of a zip archive, whose size is in its last two bytes."""
    with path.open("rb+") as file:
        file.seek(-2, os.SEEK_END)
        end = file.tell()
        assert file.read() == b"\0\0"
        seal = _SEAL + _digest(file, end).encode()
        file.seek(end)
        file.write(len(seal).to_bytes(2, "little") + seal)


def _verify(path: Path) -> bool:
    """Check the hash; return False if there is none.

    Raises:
        CheckpointError: the hash is wrong.
    """
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        start = size - _SEAL_LENGTH
        file.seek(max(start, 0))
        seal = file.read()
        if not seal.startswith(_SEAL):
            return False
        if seal != _SEAL + _digest(file, start - 2).encode():
            raise CheckpointError(
                f"{path}: use an earlier checkpoint: this one is damaged, its hash is wrong"
            )
    return True


def _digest(file: Any, length: int) -> str:
    """The SHA-256 of the first ``length`` bytes."""
    digest = hashlib.sha256()
    file.seek(0)
    while length > 0:
        chunk = file.read(min(length, 1 << 20))
        digest.update(chunk)
        length -= len(chunk)
    return digest.hexdigest()

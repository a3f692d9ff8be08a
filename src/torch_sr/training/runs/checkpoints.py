"""Training checkpoints: written atomically, sealed by a hash, read without running code.

A checkpoint is a file of ``torch.save``, readable by ``torch.load(…, weights_only=True)``. PyTorch
does not notice a flipped bit in one, so its SHA-256 stands in the comment at the end of the zip
archive. The older checkpoints of a run are kept beside the newest, as ``…_checkpoint_1.pth``,
``…_checkpoint_2.pth``, and serve where the newest is broken.
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
"""What every checkpoint holds; later versions may add to it."""
_SETTINGS = ("download",)
"""Hyper-parameters of older checkpoints that are settings of a run now."""
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
        keep: how many older ones to keep beside it.
        replace: overwrite the newest, which is of the same step, and leave the older ones.

    Raises:
        CheckpointError: when the file cannot be written; an older one of that name is then kept.
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
        kept = f"; the one before is kept: {path}" if path.is_file() else ""
        raise CheckpointError(f"{path}: cannot write the checkpoint: {reason}{kept}") from error


def _count_bytes(state: Any) -> int:
    """Of all tensors, however deep."""
    if isinstance(state, torch.Tensor):
        return state.nbytes
    parts = state.values() if isinstance(state, Mapping) else state
    if isinstance(parts, str) or not isinstance(parts, Iterable):
        return 0
    return sum(map(_count_bytes, parts))


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read one checkpoint onto the CPU, after checking its hash.

    One without a hash, as a program that saved it again leaves it, is read with a warning.

    Raises:
        CheckpointError: when the file is missing, damaged, of another version, or not a
            checkpoint of torch-sr.
    """
    if not path.is_file():
        raise CheckpointError(f"{path}: no such checkpoint")
    sealed = _verify(path)
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for damaged files
        raise _NotOursError(
            f"{path}: no checkpoint of torch-sr, or one that was cut short; use an earlier one"
        ) from error
    _check_content(path, state)
    if not sealed:
        _log.warning("%s: has no hash, as if another program saved it: damage goes unnoticed", path)
    return dict(state)


class _NotOursError(CheckpointError):
    """A file that may be a model, or anything else."""


def _check_content(path: Path, state: Any) -> None:
    found = state.get("format") if isinstance(state, dict) else None
    if not isinstance(found, str) or not found.startswith(_FAMILY):
        raise _NotOursError(f"{path}: no training checkpoint of torch-sr, but perhaps a model")
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
    """The configuration that a checkpoint holds; keys that it leaves out have their defaults.

    Raises:
        ConfigError: when this version does not know one of its keys or values.
    """
    data = {key: value for key, value in checkpoint["hparams"].items() if key not in _SETTINGS}
    return parse_config(data, str(path))


def load_newest(path: Path) -> dict[str, Any] | None:
    """Read a checkpoint, or where it is broken the newest sound one that was kept beside it.

    A warning is logged when it is not the one asked for. None is returned for what was never a
    checkpoint of torch-sr: it may be a model.

    Raises:
        CheckpointError: when there are checkpoints and all of them are broken.
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
                break  # it can be read, and is something else
            continue
        if failures:
            _log.warning("%s; resuming from the one before: %s", failures[0], candidate)
        return state
    ours = [error for error in failures if not isinstance(error, _NotOursError)]
    if ours and path.is_file():
        raise ours[0]
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


def withdraw_checkpoint(path: Path) -> None:
    """Put the checkpoint before the newest in its place, where there is one."""
    for number, older in enumerate(_older(path)):
        older.replace(_numbered(path, number))


def _drop_older(path: Path, keep: int) -> None:
    for older in _older(path)[keep:]:
        older.unlink(missing_ok=True)


def _older(path: Path) -> list[Path]:
    """The checkpoints kept beside the newest, the newer ones first."""
    if not path.name:  # a folder, such as "."
        return []
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


def _verify(path: Path) -> bool:
    """Check the hash; False when there is none.

    Raises:
        CheckpointError: when it is wrong.
    """
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        start = size - _SEAL_LENGTH
        file.seek(max(start, 0))
        seal = file.read()
        if not seal.startswith(_SEAL):
            return False
        if seal != _SEAL + _digest(file, start - 2).encode():
            raise CheckpointError(f"{path}: use an earlier one: its hash is wrong, it is damaged")
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

"""The records of a weights file: version, date, license, hash, parents.

Each file that is written has, next to its parameters, the version of torch-sr, the date, a license
and a hash of the parameters; a training adds its configuration, metrics and a fingerprint of its
data, an interpolation its parents. The hash is that of the parameters under RRDBNet's names, so it
is the same in every layout and file format.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import os
import pickle
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from torch_sr._version import __version__
from torch_sr.errors import ModelError
from torch_sr.files import atomic_write
from torch_sr.models.files.header import rename_former_keys, with_metadata
from torch_sr.models.files.reading import load_state
from torch_sr.models.files.tensors import AnyTensor, as_stored

UNSTATED = "unstated"
"""The license of a model without a stated license."""
WRITTEN = ("format", "architecture", "version", "date", "weights_sha256", "hparams", "scale_factor")
"""Records that are computed whenever a model is written."""
ANNOTATIONS = ("name", "author", "license", "description", "dataset")
"""Records that a user may set."""


def records(
    state: Mapping[str, AnyTensor],
    given: Mapping[str, Any] | None = None,
    architecture: str = "RRDBNet",
) -> dict[str, str]:
    """The records to store next to the parameters.

    Args:
        state: parameters under RRDBNet's names, as they are stored.
        given: further records; what is not text becomes JSON. Those in `WRITTEN` are ignored.
        architecture: name of the network.
    """
    kept = {
        key: value for key, value in rename_former_keys(given or {}).items() if key not in WRITTEN
    }
    return {
        "format": "torch-sr",
        "architecture": architecture,
        "version": __version__,
        "date": _now(),
        "weights_sha256": weights_sha256(state),
        "license": UNSTATED,
        **{key: _as_text(value) for key, value in kept.items()},
    }


def weights_sha256(state: Mapping[str, AnyTensor]) -> str:
    """Hash parameters: names, types, shapes and numbers, in the order of their names."""
    found = hashlib.sha256()
    for name in sorted(state):
        value = as_stored(state[name])
        found.update(f"{name} torch.{value.dtype} {value.shape}\n".encode())
        found.update(np.ascontiguousarray(value.data).reshape(-1).view(np.uint8).data)
    return found.hexdigest()


def common_license(licenses: Iterable[str | None]) -> str:
    """The license of a model that is made from several: their license, or the names of all.

    >>> common_license(["Apache-2.0", "Apache-2.0"]), common_license(["Apache-2.0", "MIT", None])
    ('Apache-2.0', 'Apache-2.0 and MIT and unstated')
    """
    return " and ".join(dict.fromkeys(license or UNSTATED for license in licenses)) or UNSTATED


def annotate(path: str | Path, changes: Mapping[str, Any]) -> None:
    """Change the records of a model that torch-sr wrote; its parameters do not change.

    Args:
        path: a ``.safetensors`` file, or a ``.pth`` with records.
        changes: values by name; what is not text becomes JSON, and None removes a record.

    Raises:
        ModelError: the file cannot be read or written, or has no records.
    """
    path = Path(path)
    if load_state(path).layout == "ncnn":  # which also refuses what is damaged or unsafe
        raise ModelError(f"{path}: convert it to .safetensors first; ncnn files hold no records")
    try:
        with path.open("rb") as file:
            plain = file.read(9)[8:] == b"{"  # a safetensors header, after its length
        rewrite = _rewrite_safetensors if plain else _rewrite_pickle
        rewrite(path, changes)
    except (OSError, RuntimeError) as error:  # PyTorch's, if the disk is full
        reason = getattr(error, "strerror", None) or error
        raise ModelError(f"{path} cannot be written: {reason}") from error


def append_results(path: str | Path, results: Mapping[str, Mapping[str, float]]) -> None:
    """Record the results of a test, in addition to those of earlier ones.

    Args:
        path: a model that torch-sr wrote.
        results: metrics by what they were measured on, such as ``set5 x4, protocol paper``.

    Raises:
        ModelError: as :func:`annotate` does.
    """
    known = load_state(path).metadata.get("results", "{}")
    try:
        before = json.loads(known)
    except ValueError:
        before = None
    before = before if isinstance(before, dict) else {}  # otherwise data of another program
    rounded = {
        name: {metric: round(value, 5) for metric, value in metrics.items()}
        for name, metrics in results.items()
    }
    annotate(path, {"results": {**before, **rounded}})


def _rewrite_safetensors(path: Path, changes: Mapping[str, Any]) -> None:
    data = with_metadata(path.read_bytes(), lambda before: _changed(before, changes))
    with atomic_write(path) as temporary:
        temporary.write_bytes(data)


def _rewrite_pickle(path: Path, changes: Mapping[str, Any]) -> None:
    import torch

    try:
        with path.open("rb") as file:
            content = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:  # another program's, with numbers of NumPy
        content = None
    if not isinstance(content, dict) or not isinstance(content.get("metadata"), dict):
        raise ModelError(
            f"{path} has no place for records; convert it to .safetensors, or to the layout "
            "enhanced-srgan"
        )
    content = {**content, "metadata": _changed(content["metadata"], changes)}
    with atomic_write(path) as temporary, temporary.open("wb") as file:
        torch.save(content, file)


def _changed(before: Mapping[str, str], changes: Mapping[str, Any]) -> dict[str, str]:
    before = rename_former_keys(before)
    after = {**before, **{k: _as_text(v) for k, v in changes.items() if v is not None}}
    return {key: value for key, value in after.items() if changes.get(key, value) is not None}


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _now() -> str:
    """The time in UTC, or that of ``$SOURCE_DATE_EPOCH``, which makes builds reproducible."""
    given = os.environ.get("SOURCE_DATE_EPOCH", "")
    utc = datetime.timezone.utc
    now = datetime.datetime.fromtimestamp(int(given), utc) if given.isdecimal() else None
    return (now or datetime.datetime.now(utc)).isoformat(timespec="seconds")

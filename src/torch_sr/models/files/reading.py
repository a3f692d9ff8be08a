"""Read named tensors from safetensors, ``torch.save`` or ncnn files.

The kind of a file is detected by its first bytes, not by its suffix, except the ``.bin`` of ncnn,
which may begin with zeros. Nothing in a file is executed: pickles are read with
``weights_only=True``, which refuses all but tensors and plain containers.
The network is built by :mod:`torch_sr.models.reading`.
"""

from __future__ import annotations

import contextlib
import json
import math
import pickle
import re
import warnings
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors import SafetensorError, safe_open

from torch_sr.errors import ModelError
from torch_sr.files import explain
from torch_sr.models.files.header import rename_former_keys
from torch_sr.models.files.hparams import flatten_hparams
from torch_sr.models.files.ncnn.reading import find_graph, is_graph, is_weights, read_ncnn
from torch_sr.models.files.tensors import StoredTensor, as_stored, numpy_dtype

if TYPE_CHECKING:
    from torch import Tensor

WRAPPERS = (
    "params_ema",
    "params-ema",
    "params",
    "model_state_dict",
    "g_model_state_dict",
    "state_dict",
    "model",
    "net",
    "generator",
)
"""Keys under which training programs keep a generator's parameters, the best first."""

_DEEPEST = 4  # wrappers within wrappers; a pickle can also hold itself

_SAFE_REMEDY = "ask for it as .safetensors, or save its bare state_dict with torch.save"

_SAFETENSORS_TYPES = {
    "BOOL": "bool",
    "U8": "uint8",
    "I8": "int8",
    "U16": "uint16",
    "I16": "int16",
    "U32": "uint32",
    "I32": "int32",
    "U64": "uint64",
    "I64": "int64",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2",
    "F16": "float16",
    "BF16": "bfloat16",
    "F32": "float32",
    "F64": "float64",
    "C64": "complex64",
}
"""The names of types in a safetensors file, and those of PyTorch."""

_SIGNATURES = {
    b"PK\x03\x04": "zip",
    b"\x80": "pickle",
    b"version https://git-lfs": (
        "is a Git LFS pointer, not the weights themselves; run `git lfs pull`"
    ),
    b"\x89PNG": "is an image, not weights",
    b"\xff\xd8\xff": "is an image, not weights",
    b"GIF8": "is an image, not weights",
    b"RIFF": "is an image or sound, not weights",
    b"BM": "is an image, not weights",
    b"II*\x00": "is an image, not weights",
    b"MM\x00*": "is an image, not weights",
    b"\x1f\x8b": "is a gzip archive; unpack it first",
    b"Rar!": "is a RAR archive; unpack it first",
    b"7z\xbc\xaf": "is a 7-Zip archive; unpack it first",
    b"\xdd\x85v\x00": "is a binary graph of ncnn; use the .param that is text",
}
"""First bytes of a file, and its kind or what is wrong with it."""


@dataclass(frozen=True)
class RawWeights:
    """The tensors of a file under their names in the file, and everything else in it.

    Args:
        path: the file.
        tensors: parameters by name, as stored.
        wrapper: keys that led to them, joined by ``/``; None if the file has nothing else.
        hparams: hyper-parameters found, sections lifted to the top.
        stage: the stage of training, if recorded.
        metadata: everything else recorded as text.
        layout: ``ncnn``, or None if the names of the tensors show the layout.
    """

    path: Path
    tensors: dict[str, StoredTensor]
    wrapper: str | None = None
    hparams: dict[str, Any] = field(default_factory=dict)
    stage: str | None = None
    metadata: dict[str, str] = field(default_factory=dict)
    layout: str | None = None

    def to_torch(self) -> dict[str, Tensor]:
        """The parameters as tensors."""
        return {key: value.to_torch() for key, value in self.tensors.items()}


def load_state(path: str | Path) -> RawWeights:
    """Read the parameters of a generator from a file.

    Args:
        path: the file; for ncnn one of the two files, or their common name without suffix.

    Raises:
        ModelError: the file cannot be read, is damaged, unsafe, not weights, or has no generator.
    """
    path = Path(path)
    try:
        if not path.is_file():
            path = find_graph(path) or path
        if path.is_dir():
            raise ModelError(f"{path} is a folder; name the weights file in it")
        if path.suffix.lower() == ".onnx":
            raise ModelError(
                f"{path}: use the model it was exported from; an ONNX file has no weights to read "
                "or records to change"
            )
        with path.open("rb") as file:
            head = file.read(512)
        if is_graph(head) or is_weights(path, head):
            graph, found = read_ncnn(path)
            tensors = {key: as_stored(value) for key, value in found.tensors.items()}
            return RawWeights(graph, tensors, hparams=found.hparams, layout="ncnn")
        kind = _find_kind(head)
        reader = {"zip": _read_zip, "pickle": _read_pickle, "safetensors": _read_safetensors}
        if kind not in reader:
            raise ModelError(f"{path} {kind}")
        return reader[kind](path)
    except FileNotFoundError:
        raise ModelError(f"{path} does not exist") from None
    except OSError as error:
        raise ModelError(f"{path}: {explain(error)}") from error


def _find_kind(head: bytes) -> str:
    """Name a reader, or say what the file is instead of weights."""
    if not head:
        return "is empty"
    if head[8:9] == b"{" and head[5:8] == bytes(
        3
    ):  # first: the length before it may look like any signature
        return "safetensors"
    for signature, kind in _SIGNATURES.items():
        if head.startswith(signature):
            return kind
    if re.match(rb"(\xef\xbb\xbf)?\s*<(!doctype|html|\?xml|head|body)", head, re.IGNORECASE):
        return "is a web page, not weights; download the file itself"
    if all(byte >= 32 or byte in b"\t\n\r\f" for byte in head):
        return "is a text, not weights"
    if head[8:9] == b"{":  # which announces a header of terabytes
        return "safetensors"
    return "is not a known weights file; use .safetensors or PyTorch's .pth"


def _read_safetensors(path: Path) -> RawWeights:
    with path.open("rb") as file:
        declared, size = int.from_bytes(file.read(8), "little"), path.stat().st_size
    if declared > size - 8:
        raise ModelError(
            f"{path} is truncated or damaged: it announces a header of {declared} bytes "
            f"and has {size} in all"
        )
    try:
        with safe_open(path, framework="numpy") as header:  # checks sizes and places
            unordered = header.metadata() or {}
            metadata = rename_former_keys(dict(sorted(unordered.items())))
            names = list(header.keys())
        tensors = _read_tensors(path, names, declared)
    except (SafetensorError, RuntimeError, ValueError, KeyError) as error:
        raise ModelError(f"{path} is truncated or damaged: {_first_line(error)}") from error
    if not tensors:
        raise ModelError(f"{path} has no tensors")
    stage = metadata.pop("stage", None)
    hparams = _flatten(_parse_json(metadata.pop("hparams", "")))
    return RawWeights(path, tensors, None, hparams, stage, metadata)


def _read_tensors(path: Path, names: Sequence[str], header_size: int) -> dict[str, StoredTensor]:
    """Read the numbers after a header that was checked; NumPy's reader does not know bfloat16."""
    tensors = {}
    with path.open("rb") as file:
        file.seek(8)
        header = json.loads(file.read(header_size))
        for name in names:
            shape, (start, _) = header[name]["shape"], header[name]["data_offsets"]
            dtype = _SAFETENSORS_TYPES.get(header[name]["dtype"])
            if dtype is None:
                raise ModelError(
                    f"{path} has {name} as {header[name]['dtype']}; only floating point of 8 bits "
                    "or more is supported"
                )
            kind = numpy_dtype(dtype)
            file.seek(8 + header_size + start)
            numbers = np.fromfile(file, kind.newbyteorder("<"), math.prod(shape))
            native = numbers.astype(kind, copy=False)
            tensors[name] = StoredTensor(dtype, native.reshape(shape))
    return tensors


def _read_zip(path: Path) -> RawWeights:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise ModelError(f"{path} is truncated or damaged; download or copy it again") from error
    if any(name.endswith("/constants.pkl") or "/code/" in name for name in names):
        raise ModelError(
            f"{path} is a TorchScript program, which would run its code; {_SAFE_REMEDY}"
        )
    if not any(name.endswith("data.pkl") for name in names):
        raise ModelError(f"{path} is a zip archive without weights; unpack it first")
    return _read_pickle(path)


def _read_pickle(path: Path) -> RawWeights:
    import torch

    try:
        # Given a path instead of a file, PyTorch would choose the format by the suffix.
        with path.open("rb") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about pickle protocols, which do not help a user
            with torch.serialization.safe_globals(_numpy_scalars()):
                content = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ModelError(f"{path} {_explain_refusal(str(error))}") from error
    except OSError:
        raise
    except Exception as error:  # a damaged pickle can raise anything
        raise ModelError(f"{path} is truncated or damaged: {_first_line(error)}") from error
    if not isinstance(content, Mapping):
        raise ModelError(f"{path} has a {type(content).__name__} instead of named tensors")
    return _unwrap(path, content)


def _explain_refusal(message: str) -> str:
    if named := re.search(r"GLOBAL (\S+)", message):
        return f"was refused: reading it would run code ({named[1]}); {_SAFE_REMEDY}"
    return f"is not a pickle of plain tensors, or is damaged; {_SAFE_REMEDY}"


def _unwrap(path: Path, content: Mapping[Any, Any]) -> RawWeights:
    """Follow the wrappers down to named tensors; keep the other values."""
    keys: list[str] = []
    state, around = content, dict(content)
    while len(keys) < _DEEPEST:
        inner = next((key for key in WRAPPERS if _has_tensors(state.get(key))), None)
        if inner is None:
            break
        keys.append(inner)
        state = state[inner]
        around |= state
    tensors = {
        str(key): _stored(path, key, value) for key, value in state.items() if _is_tensor(value)
    }
    if not tensors:
        names = ", ".join(map(str, list(content)[:4])) or "nothing"
        if {"optimizers", "schedulers"} <= content.keys():  # BasicSR's training states
            remedy = "name the model of the same step, such as net_g_5000.pth"
            raise ModelError(f"{path} has no generator, but the state of a training; {remedy}")
        raise ModelError(f"{path} has no generator; it has {names}")
    hparams, stage, given = around.get("hparams"), around.get("stage"), around.get("metadata")
    records = rename_former_keys(_mapping(given))
    metadata = {key: str(value) for key, value in records.items()}
    if "epoch_i" in around:
        metadata["epoch_i"] = str(around["epoch_i"])
    return RawWeights(
        path,
        tensors,
        "/".join(keys) or None,
        _flatten(_mapping(hparams)),
        None if stage is None else str(stage),
        metadata,
    )


def _has_tensors(value: Any, depth: int = _DEEPEST) -> bool:
    if not isinstance(value, Mapping) or depth == 0:
        return False
    return any(_is_tensor(item) or _has_tensors(item, depth - 1) for item in value.values())


def _is_tensor(value: Any) -> bool:
    import torch

    return isinstance(value, torch.Tensor)


def _stored(path: Path, key: Any, value: Tensor) -> StoredTensor:
    try:
        return as_stored(value)
    except ModelError as error:
        raise ModelError(f"{path}: {key} {error}") from error


def _flatten(hparams: Mapping[str, Any]) -> dict[str, Any]:
    """Lift the generator's section; turn NumPy's numbers into Python's."""
    flat = flatten_hparams(hparams)
    return {str(k): v.item() if isinstance(v, np.generic) else v for k, v in flat.items()}


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _parse_json(text: str) -> Mapping[str, Any]:
    with contextlib.suppress(ValueError, RecursionError):  # data of another program
        return _mapping(json.loads(text))
    return {}


def _numpy_scalars() -> list[Any]:
    """Allow NumPy's numbers, which training programs leave among losses and epochs."""
    rebuild = np.float64(0).__reduce__()[0]
    types = {type(np.dtype(code)) for code in "?bhilqBHILQefd"}
    return [
        rebuild,
        (rebuild, "numpy.core.multiarray.scalar"),
        (rebuild, "numpy._core.multiarray.scalar"),
        np.dtype,
        *types,
    ]


def _first_line(error: BaseException) -> str:
    text = str(error).strip()
    return re.split(r"[\n.]\s", text, maxsplit=1)[0][:160] if text else type(error).__name__

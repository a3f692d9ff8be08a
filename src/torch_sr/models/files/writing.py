"""Write a generator to a file with everything needed to rebuild it.

``.safetensors`` is the format of torch-sr: RRDBNet's parameter names, everything else as text in
the metadata. ``.pth`` is the format of enhanced-srgan: ``model_state_dict``, ``hparams`` nested
like the JSON configuration, ``stage``. Other layouts are for other programs; in a ``.pth`` of
``old`` or ``mid`` these expect only parameters, so no records are written. ``.param`` is the format
of ncnn, with a ``.bin`` next to it (:mod:`torch_sr.models.files.ncnn`); it has no place for records
either.

SRVGGNetCompact, which comes from other programs, is written in the same formats under its own
names.
"""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save
from torch import Tensor

from torch_sr.aliases import Floats
from torch_sr.errors import ModelError
from torch_sr.files import atomic_write, write_failure
from torch_sr.models.files.header import with_metadata
from torch_sr.models.files.hparams import nest_hparams
from torch_sr.models.files.layouts import DEFAULT_RESIDUAL_SCALING, from_canonical
from torch_sr.models.files.ncnn.reading import weights_path
from torch_sr.models.files.ncnn.weights import FLAGS
from torch_sr.models.files.ncnn.writing import Graph, graph_of_compact, graph_of_rrdbnet, write_ncnn
from torch_sr.models.files.records import UNSTATED, WRITTEN, records
from torch_sr.networks.rrdb import RRDBNet

NCNN = ".param"

_log = logging.getLogger(__name__)


def save_generator(
    path: str | Path,
    network: RRDBNet,
    *,
    stage: str | None = None,
    metadata: Mapping[str, Any] | None = None,
    dtype: torch.dtype | None = None,
    layout: str | None = None,
) -> None:
    """Write a generator, completely or not at all; create folders, replace an existing file.

    Args:
        path: ends in ``.safetensors``, ``.pth``, ``.pt`` or ``.param``, which chooses the format;
            next to a ``.param`` a ``.bin`` is written.
        network: the generator, on any device.
        stage: the stage of training it comes from.
        metadata: other records, such as ``dataset`` or ``metrics``; what is not text is
            written as JSON.
        dtype: type to store the parameters in, such as ``torch.float16``; None keeps theirs.
            In ncnn files only weights are float16, and biases stay float32.
        layout: one of :data:`~torch_sr.models.files.layouts.LAYOUTS`, for other programs; None for
            ``new`` in ``.safetensors`` and ``enhanced-srgan`` in ``.pth``; ncnn has none.

    Raises:
        ModelError: unknown suffix or layout, parameters not finite, what a layout cannot hold, or
            a file that cannot be written.
    """
    path = Path(path)
    check_target(path)
    if path.suffix.lower() == NCNN:
        if layout is not None:
            raise ModelError(f"{path}: leave out the layout {layout!r}; ncnn has no layouts")
        state = _checked(path, network.state_dict(), torch.float32)
        graph = graph_of_rrdbnet(_as_arrays(state), network.config)
        _save_ncnn(path, state, graph, dtype, {"stage": stage, **(metadata or {})})
        return
    state = _checked(path, network.state_dict(), dtype)
    config, plain = network.config, path.suffix.lower() == ".safetensors"
    foreign = layout not in (None, "enhanced-srgan") and not plain
    if foreign and config.residual_scaling != DEFAULT_RESIDUAL_SCALING:
        raise ModelError(
            f"{path}: layout {layout!r} cannot hold residual_scaling {config.residual_scaling}, "
            f"its readers assume {DEFAULT_RESIDUAL_SCALING}; write .safetensors or enhanced-srgan"
        )
    layout = layout or default_layout(path)
    _Contents(
        tensors=from_canonical(state, layout, config.residual_scaling),
        hparams=config.to_dict() if plain else nest_hparams(config),
        stage=stage,
        notes=records(state, metadata),
        wrapper=_WRAPPERS.get(layout),
    ).save(path)


def save_compact(
    path: str | Path,
    state: Mapping[str, Tensor],
    *,
    output_scale: int | None = None,
    stage: str | None = None,
    metadata: Mapping[str, Any] | None = None,
    dtype: torch.dtype | None = None,
) -> None:
    """Write an SRVGGNetCompact, completely or not at all.

    Args:
        path, stage, metadata, dtype: as for :func:`save_generator`; a ``.pth`` is like
            Real-ESRGAN's, with records next to the parameters.
        state: its parameters, ``body.0.weight`` and so on.
        output_scale: the scale that its result is resized to, if it is not its own.

    Raises:
        ModelError: as :func:`save_generator` does.
    """
    path = Path(path)
    check_target(path)
    if path.suffix.lower() == NCNN:
        full = _checked(path, state, torch.float32)
        graph = graph_of_compact(_as_arrays(full), output_scale)
        _save_ncnn(path, full, graph, dtype, {"stage": stage, **(metadata or {})})
        return
    stored = _checked(path, state, dtype)
    _Contents(
        tensors=stored,
        hparams={} if output_scale is None else {"output_scale": output_scale},
        stage=stage,
        notes=records(stored, metadata, architecture="SRVGGNetCompact"),
        wrapper="params",
    ).save(path)


def written_files(path: Path) -> list[Path]:
    """The files that a model of this name consists of: two for ncnn."""
    return [path, weights_path(path)] if path.suffix.lower() == NCNN else [path]


def default_layout(path: Path) -> str:
    """The layout of a file for which none is named."""
    return "new" if path.suffix.lower() == ".safetensors" else "enhanced-srgan"


def check_target(path: str | Path) -> None:
    """Refuse a name that :func:`save_generator` could not write, before any work.

    Raises:
        ModelError: for an unknown suffix, a folder of that name, or a ``.bin`` next to a
            ``.param`` that belongs to something else.
    """
    path = Path(path)
    if path.suffix.lower() not in (*_WRITERS, NCNN):
        raise ModelError(f"{path}: the suffix must be one of {', '.join((*_WRITERS, NCNN))}")
    for file in written_files(path):
        if file.is_dir():
            raise ModelError(f"{file}: name a file; this is a folder")
    if path.suffix.lower() == NCNN and not path.exists():
        _check_companion(path)


def _check_companion(path: Path) -> None:
    """Refuse to replace a ``.bin`` of another program, such as ``pytorch_model.bin``."""
    numbers = weights_path(path)
    with contextlib.suppress(OSError), numbers.open("rb") as file:
        if file.read(4) not in (*FLAGS, b""):
            raise ModelError(f"{path}: choose another name; {numbers} is not an ncnn file")


@dataclass(frozen=True)
class _Contents:
    """What a file holds.

    Args:
        tensors: the parameters under the names of the file's layout.
        hparams: the hyper-parameters, as the format arranges them.
        stage: the stage of training, if known.
        notes: the other records.
        wrapper: the key of the parameters in a ``.pth``; None for one without anything else, which
            is what the programs of some layouts expect.
    """

    tensors: dict[str, Tensor]
    hparams: dict[str, Any]
    stage: str | None
    notes: dict[str, str]
    wrapper: str | None

    def save(self, path: Path) -> None:
        """Write the file, in the format of its suffix."""
        write = _WRITERS[path.suffix.lower()]
        with _written(path, self.tensors), atomic_write(path) as temporary:
            write(temporary, self)


def _write_safetensors(path: Path, contents: _Contents) -> None:
    metadata = dict(contents.notes)
    if contents.hparams:
        metadata["hparams"] = json.dumps(contents.hparams)
    if "scale_factor" in contents.hparams:
        metadata["scale_factor"] = str(contents.hparams["scale_factor"])
    if contents.stage is not None:
        metadata["stage"] = contents.stage
    # safetensors.save_file would create a file that only its owner can read.
    path.write_bytes(with_metadata(save(contents.tensors), lambda _: metadata))


def _write_pickle(path: Path, contents: _Contents) -> None:
    content: dict[str, Any] = contents.tensors
    if contents.wrapper is not None:
        content = {
            contents.wrapper: contents.tensors,
            "hparams": contents.hparams,
            "stage": contents.stage,
            "metadata": contents.notes,
        }
    with path.open("wb") as file:  # a path's temporary name would be stored in the file
        torch.save(content, file)


_WRITERS = {".safetensors": _write_safetensors, ".pth": _write_pickle, ".pt": _write_pickle}
_WRAPPERS = {"enhanced-srgan": "model_state_dict", "new": "params_ema"}
"""Of a .pth: in the other layouts it has parameters only, as their programs expect."""


def _checked(
    path: Path, state: Mapping[str, Tensor], dtype: torch.dtype | None = None
) -> dict[str, Tensor]:
    """Parameters as they will be stored; ModelError if they are not finite."""
    stored = {key: value.detach().to("cpu", dtype).contiguous() for key, value in state.items()}
    for key, value in stored.items():
        if not torch.isfinite(value).all():
            raise ModelError(f"{path} is not written: {key} has NaN or infinite numbers")
    return stored


def _as_arrays(state: Mapping[str, Tensor]) -> dict[str, Floats]:
    return {key: value.numpy() for key, value in state.items()}


@contextlib.contextmanager
def _written(path: Path, state: Mapping[str, Tensor]) -> Iterator[None]:
    """Create the folder of a file; report why the file could not be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield
    except (OSError, SafetensorError, RuntimeError) as error:
        need = sum(value.nbytes for value in state.values())
        reason = write_failure(error, path.parent, need)
        raise ModelError(f"{path} cannot be written: {reason}") from error


def _save_ncnn(
    path: Path,
    state: Mapping[str, Tensor],
    graph: Graph,
    dtype: torch.dtype | None,
    notes: Mapping[str, Any],
) -> None:
    """Write the two files; a warning names the records that they have no place for."""
    if dtype not in (None, torch.float32, torch.float16):
        name = str(dtype).removeprefix("torch.")
        raise ModelError(f"{path}: choose fp16 or fp32; ncnn has no {name}")
    half = dtype == torch.float16
    if half:
        _checked(path, {key: value for key, value in state.items() if value.ndim == 4}, dtype)
    with _written(path, state):
        write_ncnn(path, graph, half=half)
    lost = [
        f"{key} {value}" if key == "license" else key
        for key, value in notes.items()
        if value not in (None, UNSTATED) and key not in WRITTEN
    ]
    if lost:
        _log.warning("%s: ncnn files hold no records; left out: %s", path, ", ".join(lost))

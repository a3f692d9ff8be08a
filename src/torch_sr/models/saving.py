"""Write a generator to a file that carries all that is needed to rebuild it.

``.safetensors`` is our form: RRDBNet's parameter names, everything else as text in the metadata.
``.pth`` is the form of enhanced-srgan: ``model_state_dict``, ``hparams`` nested like the JSON
configuration, ``stage``. Other layouts are for other programs; in a ``.pth`` of ``old`` or ``mid``
these find parameters and nothing else, so no records go along.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save
from torch import Tensor

from torch_sr.errors import ModelError
from torch_sr.files import atomic_write, write_failure
from torch_sr.models.hparams import nest_hparams
from torch_sr.models.layouts import DEFAULT_RESIDUAL_SCALING, from_canonical
from torch_sr.models.provenance import records, with_metadata
from torch_sr.models.rrdb import RRDBNet


def save_generator(
    path: str | Path,
    network: RRDBNet,
    *,
    stage: str | None = None,
    metadata: Mapping[str, Any] | None = None,
    dtype: torch.dtype | None = None,
    layout: str | None = None,
) -> None:
    """Write a generator, whole or not at all; missing folders are made, an old file is replaced.

    Args:
        path: ends in ``.safetensors``, ``.pth`` or ``.pt``, which chooses the form.
        network: the generator, on any device.
        stage: the stage of training it comes from.
        metadata: whatever else to record, such as ``dataset`` or ``metrics``; what is not text is
            written as JSON.
        dtype: type to store the parameters in, such as ``torch.float16``; None keeps theirs.
        layout: one of :data:`~torch_sr.models.layouts.LAYOUTS`, for other programs; None for
            ``new`` in ``.safetensors`` and ``enhanced-srgan`` in ``.pth``.

    Raises:
        ModelError: unknown suffix or layout, parameters not finite, what a layout cannot hold, or
            a file that cannot be written.
    """
    path = Path(path)
    check_target(path)
    write = _WRITERS[path.suffix.lower()]
    state = {
        key: value.detach().to("cpu", dtype).contiguous()
        for key, value in network.state_dict().items()
    }
    for key, value in state.items():
        if not torch.isfinite(value).all():
            raise ModelError(f"{path} is not written: {key} has NaN or infinite numbers")
    scaling = float(network.hparams["residual_scaling"])
    foreign = layout not in (None, "enhanced-srgan") and path.suffix.lower() != ".safetensors"
    if foreign and scaling != DEFAULT_RESIDUAL_SCALING:
        raise ModelError(
            f"{path}: layout {layout!r} cannot hold residual_scaling {scaling}, its readers assume "
            f"{DEFAULT_RESIDUAL_SCALING}; write .safetensors or enhanced-srgan"
        )
    notes = records(state, metadata)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as temporary:
            write(temporary, state, network.hparams, stage, notes, layout)
    except (OSError, SafetensorError, RuntimeError) as error:
        need = sum(value.nbytes for value in state.values())
        reason = write_failure(error, path.parent, need)
        raise ModelError(f"{path} cannot be written: {reason}") from error


def default_layout(path: Path) -> str:
    """The layout of a file for which none is named."""
    return "new" if path.suffix.lower() == ".safetensors" else "enhanced-srgan"


def check_target(path: str | Path) -> None:
    """Refuse a name that :func:`save_generator` could not write, before any work.

    Raises:
        ModelError: for an unknown suffix, or a folder of that name.
    """
    path = Path(path)
    if path.suffix.lower() not in _WRITERS:
        raise ModelError(f"{path}: the suffix must be one of {', '.join(_WRITERS)}")
    if path.is_dir():
        raise ModelError(f"{path}: name a file; this is a folder")


def _write_safetensors(
    path: Path,
    state: dict[str, Tensor],
    hparams: Mapping[str, int | float | bool],
    stage: str | None,
    notes: dict[str, str],
    layout: str | None,
) -> None:
    state = from_canonical(
        state, layout or default_layout(path), float(hparams["residual_scaling"])
    )
    metadata = notes | {
        "hparams": json.dumps(hparams),
        "scale_factor": str(hparams["scale_factor"]),
    }
    if stage is not None:
        metadata["stage"] = stage
    # Its save_file would let nobody else read the file.
    path.write_bytes(with_metadata(save(state), lambda _: metadata))


def _write_pickle(
    path: Path,
    state: dict[str, Tensor],
    hparams: Mapping[str, int | float | bool],
    stage: str | None,
    notes: dict[str, str],
    layout: str | None,
) -> None:
    layout = layout or default_layout(path)
    renamed = from_canonical(state, layout, float(hparams["residual_scaling"]))
    content: dict[str, Any] = renamed  # as ESRGAN's own programs and their descendants read it
    if layout in _WRAPPERS:
        content = {
            _WRAPPERS[layout]: renamed,
            "hparams": nest_hparams(hparams),
            "stage": stage,
            "metadata": notes,
        }
    with path.open("wb") as file:  # given a name, torch would write the temporary one inside
        torch.save(content, file)


_WRAPPERS = {"enhanced-srgan": "model_state_dict", "new": "params_ema"}
"""Of a .pth: in the other layouts it holds parameters and nothing else, for so it is read."""
_WRITERS = {".safetensors": _write_safetensors, ".pth": _write_pickle, ".pt": _write_pickle}

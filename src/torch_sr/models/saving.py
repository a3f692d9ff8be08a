"""A model -> a file of any layout, format and number type."""

from __future__ import annotations

import logging
from pathlib import Path

import torch
from torch import nn

from torch_sr.devices import DTYPES
from torch_sr.errors import ModelError
from torch_sr.models.files.writing import NCNN, save_compact, save_generator
from torch_sr.models.foreign import ForeignGenerator
from torch_sr.models.info import ModelInfo
from torch_sr.models.network_weights import COMPACT
from torch_sr.networks.rrdb import RRDBNet

_log = logging.getLogger(__name__)


def save_model(
    network: nn.Module,
    info: ModelInfo,
    target: Path,
    *,
    layout: str | None = None,
    dtype: str | torch.dtype | None = None,
) -> Path:
    """Write a network and its records; see :meth:`torch_sr.models.model.Model.save`.

    Raises:
        ModelError: as there.
    """
    stored_as = _choose_dtype(info, target, dtype)
    if isinstance(network, RRDBNet):
        save_generator(
            target,
            network,
            stage=info.stage,
            metadata=info.metadata,
            dtype=stored_as,
            layout=layout,
        )
        return target
    if not isinstance(network, ForeignGenerator) or network.architecture != COMPACT:
        raise ModelError(
            f"{info.origin} is a {info.architecture}; only RRDBNet and SRVGGNetCompact can be "
            "written"
        )
    if layout is not None:
        raise ModelError(f"{target}: leave out the layout {layout!r}; SRVGGNetCompact has one form")
    save_compact(
        target,
        network.network.state_dict(),
        output_scale=network.output_scale,
        stage=info.stage,
        metadata=info.metadata,
        dtype=stored_as,
    )
    if network.output_scale is not None and target.suffix.lower() != NCNN:
        _log.warning(
            "%s: only torch-sr resizes the results of this file to x%d; in other programs they "
            "are those of the network itself",
            target,
            network.output_scale,
        )
    return target


def find_dtype(name: str) -> torch.dtype:
    """The type with this name.

    Raises:
        ModelError: there is none.
    """
    if name not in DTYPES:
        raise ModelError(f"dtype {name!r} is unknown; use fp32, fp16 or bf16")
    return DTYPES[name]


def _choose_dtype(info: ModelInfo, target: Path, dtype: str | torch.dtype | None) -> torch.dtype:
    """The requested type, otherwise that of the source if the format has it."""
    if isinstance(dtype, torch.dtype):
        if not dtype.is_floating_point:
            raise ModelError(f"{target}: choose a floating-point type, not {dtype}")
        return dtype
    if dtype is not None:
        return find_dtype(dtype)
    stored: torch.dtype = getattr(torch, info.dtype)
    from_ncnn, to_ncnn = info.layout == "ncnn", target.suffix.lower() == NCNN
    if from_ncnn != to_ncnn and not (to_ncnn and stored == torch.float16):
        return torch.float32  # ncnn has no other type, and stores biases as float32
    return stored

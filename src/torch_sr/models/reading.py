"""A weights file of any kind -> a Model: :func:`read_model`.

The file is read (:mod:`~torch_sr.models.files.reading`), its parameters get RRDBNet's names
(:mod:`~torch_sr.models.files.layouts`), the hyper-parameters follow from their shapes
(:mod:`~torch_sr.models.files.hparams`), and an RRDBNet is filled with them. Other architectures
go through spandrel (:mod:`~torch_sr.models.foreign`).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from torch_sr.errors import ModelError
from torch_sr.models.files.hparams import infer_config
from torch_sr.models.files.layouts import (
    CanonicalState,
    detect_layout,
    strip_prefixes,
    to_canonical,
)
from torch_sr.models.files.reading import RawWeights, load_state
from torch_sr.models.files.records import weights_sha256
from torch_sr.models.foreign import ForeignGenerator, build_foreign
from torch_sr.models.info import ModelInfo
from torch_sr.models.model import Model, count_parameters, count_types, dtype_name, foreign_rules
from torch_sr.networks.configs import RRDBConfig
from torch_sr.networks.rrdb import RRDBNet

_HPARAMS = frozenset(field.name for field in dataclasses.fields(RRDBConfig))


def read_model(path: str | Path) -> Model:
    """Read a model of any layout or architecture from a file, once.

    The network is on the CPU, in float32 and evaluation mode.

    Raises:
        ModelError: the file cannot be read, is damaged or unsafe, or has no usable generator.
    """
    raw = load_state(path)
    try:
        state = strip_prefixes(raw.tensors)
        if not state:
            raise ModelError("has a discriminator and no generator")
        network: RRDBNet | ForeignGenerator
        layout = raw.layout
        if detect_layout(state) is None:
            network = _build_foreign(state, raw.hparams)
        else:
            canonical = to_canonical(state)
            network = _build(canonical, raw.hparams)
            state, layout = canonical.state, raw.layout or canonical.layout
    except ModelError as error:
        raise ModelError(f"{raw.path}: {error}") from error
    info = _describe(raw, network, layout, state)
    return Model(network, info, weights_sha256=weights_sha256(state))


def _build(canonical: CanonicalState, stored: Mapping[str, Any]) -> RRDBNet:
    """Build the RRDBNet that fits the parameters, and load them."""
    for key, value in canonical.state.items():
        if value.is_quantized or not value.is_floating_point():
            raise ModelError(f"has {key} as {dtype_name(value)}; only floating point is supported")
        if value.layout != torch.strided or value.device.type != "cpu":
            raise ModelError(f"has {key} as a {value.layout} tensor on {value.device.type}")
    stored = {key: _number(key, value) for key, value in stored.items() if key in _HPARAMS}
    if canonical.residual_scaling is not None:  # what the network was trained with
        stored["residual_scaling"] = canonical.residual_scaling
    config = infer_config(canonical.state, stored)
    with torch.device("meta"):  # no memory yet, and no random numbers drawn
        network = RRDBNet.from_config(config)
    for key, expected in network.state_dict().items():
        found = canonical.state.get(key)
        if found is None or found.shape != expected.shape:
            shape = None if found is None else tuple(found.shape)
            raise ModelError(f"has {key} as {shape}, where {tuple(expected.shape)} is needed")
    for key in canonical.state.keys() - network.state_dict().keys():
        raise ModelError(f"has {key}, which an RRDBNet of x{network.scale_factor} does not have")
    weights = {key: value.to(torch.float32, copy=True) for key, value in canonical.state.items()}
    _check_finite(weights)
    network.load_state_dict(weights, assign=True)
    return network.eval()


def _build_foreign(state: Mapping[str, Tensor], stored: Mapping[str, Any]) -> ForeignGenerator:
    """Build the network of another architecture that fits the parameters, and load them."""
    network = build_foreign(state, _output_scale(stored))
    network.float().eval()
    _check_finite(dict(network.named_parameters()))
    return network


def _output_scale(hparams: Mapping[str, Any]) -> int | None:
    """The scale that the result of the network is resized to, if any is recorded."""
    scale = hparams.get("output_scale")
    if scale is not None and (not isinstance(scale, int) or scale < 1):
        raise ModelError(f"records output_scale as {scale!r}; it must be a whole number above 0")
    return scale


def _describe(
    raw: RawWeights,
    network: RRDBNet | ForeignGenerator,
    layout: str | None,
    state: Mapping[str, Tensor],
) -> ModelInfo:
    rules = foreign_rules(network) if isinstance(network, ForeignGenerator) else {}
    return ModelInfo(
        path=raw.path,
        name=raw.metadata.get("name", raw.path.stem),
        layout=layout,
        wrapper=raw.wrapper,
        scale_factor=network.scale_factor,
        img_channels=network.img_channels,
        config=network.config if isinstance(network, RRDBNet) else None,
        num_parameters=count_parameters(network),
        dtype=dtype_name(next(iter(state.values()))),
        stage=raw.stage,
        metadata=dict(raw.metadata),
        tensor_types=count_types(state),
        **{"architecture": "RRDBNet", **rules},
    )


def _check_finite(weights: Mapping[str, Tensor]) -> None:
    for key, value in weights.items():
        if not torch.isfinite(value).all():
            raise ModelError(f"has NaN or infinite numbers in {key}; its training went wrong")


def _number(key: str, value: Any) -> int | float | bool:
    if not isinstance(value, int | float) or not math.isfinite(value):
        raise ModelError(f"records {key} as {value!r}, which is not a number")
    return value

"""A weights file of any kind -> a Model: :func:`read_model`.

The file is read (:mod:`~torch_sr.models.files.reading`), its parameters get RRDBNet's names
(:mod:`~torch_sr.models.files.layouts`), the hyper-parameters follow from their shapes
(:mod:`~torch_sr.models.files.hparams`). SRVGGNetCompact is recognized too. PyTorch is needed only
for pickles, and for other architectures, which go through spandrel
(:mod:`~torch_sr.models.foreign`).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from torch_sr.aliases import Floats
from torch_sr.errors import ModelError
from torch_sr.files import find_digest
from torch_sr.models.files.hparams import infer_config
from torch_sr.models.files.layouts import (
    CanonicalState,
    detect_layout,
    strip_prefixes,
    to_canonical,
)
from torch_sr.models.files.reading import RawWeights, load_state
from torch_sr.models.files.records import weights_sha256
from torch_sr.models.files.tensors import StoredTensor, count_types
from torch_sr.models.info import ModelInfo
from torch_sr.models.model import Model
from torch_sr.models.network_weights import NetworkWeights, infer_compact
from torch_sr.models.onnx.reading import SUFFIX, read_onnx
from torch_sr.networks.configs import CompactConfig, RRDBConfig

if TYPE_CHECKING:
    from torch_sr.models.foreign import ForeignGenerator

_HPARAMS = frozenset(field.name for field in dataclasses.fields(RRDBConfig))


def read_model(path: str | Path) -> Model:
    """Read a model of any layout or architecture from a file, once.

    Its network is built when it is needed: on the CPU, in float32 and evaluation mode. An ONNX file
    is run by ONNX Runtime instead.

    Raises:
        ModelError: the file cannot be read, is damaged or unsafe, or has no usable generator.
        MissingExtraError: it is an ONNX file, and ONNX Runtime is not installed.
    """
    if Path(path).suffix.lower() == SUFFIX:
        found, info = read_onnx(Path(path))
        return Model(found, info, weights_sha256=find_digest(found.path))
    raw = load_state(path)
    try:
        state = strip_prefixes(raw.tensors)
        if not state:
            raise ModelError("has a discriminator and no generator")
        network: NetworkWeights | ForeignGenerator
        layout, compact = raw.layout, infer_compact(state)
        if detect_layout(state) is not None:
            canonical = to_canonical(state)
            network = _read_rrdbnet(canonical, raw.hparams)
            state, layout = canonical.state, raw.layout or canonical.layout
        elif compact is not None and _output_scale(raw.hparams) is None:
            network = _read_parameters(compact, state)
        else:
            network = _build_foreign(state, raw.hparams)
    except ModelError as error:
        raise ModelError(f"{raw.path}: {error}") from error
    info = _describe(raw, network, layout, state)
    return Model(network, info, weights_sha256=weights_sha256(state))


def _read_rrdbnet(
    canonical: CanonicalState[StoredTensor], stored: Mapping[str, Any]
) -> NetworkWeights:
    """The RRDBNet that fits the parameters."""
    for key, value in canonical.state.items():
        if not value.is_floating_point:
            raise ModelError(f"has {key} as {value.dtype}; only floating point is supported")
    stored = {key: _number(key, value) for key, value in stored.items() if key in _HPARAMS}
    if canonical.residual_scaling is not None:  # what the network was trained with
        stored["residual_scaling"] = canonical.residual_scaling
    config = infer_config(canonical.state, stored)
    shapes = config.shapes()
    for key, expected in shapes.items():
        found = canonical.state.get(key)
        if found is None or found.shape != expected:
            shape = None if found is None else found.shape
            raise ModelError(f"has {key} as {shape}, where {expected} is needed")
    for key in canonical.state.keys() - shapes.keys():
        raise ModelError(f"has {key}, which an RRDBNet of x{config.scale_factor} does not have")
    return _read_parameters(config, canonical.state)


def _read_parameters(
    config: RRDBConfig | CompactConfig, state: Mapping[str, StoredTensor]
) -> NetworkWeights:
    parameters = {key: state[key].to_float32() for key in config.shapes()}
    for key, value in parameters.items():
        _check_finite(key, value)
    return NetworkWeights(config, parameters)


def _build_foreign(
    state: Mapping[str, StoredTensor], stored: Mapping[str, Any]
) -> ForeignGenerator:
    """Build the network of another architecture that fits the parameters, and load them."""
    from torch_sr.models.foreign import build_foreign

    tensors = {key: value.to_torch() for key, value in state.items()}
    network = build_foreign(tensors, _output_scale(stored))
    network.float().eval()
    for key, value in network.named_parameters():
        _check_finite(key, value.detach().numpy())
    return network


def _output_scale(hparams: Mapping[str, Any]) -> int | None:
    """The scale that the result of the network is resized to, if any is recorded."""
    scale = hparams.get("output_scale")
    if scale is not None and (not isinstance(scale, int) or scale < 1):
        raise ModelError(f"records output_scale as {scale!r}; it must be a whole number above 0")
    return scale


def _describe(
    raw: RawWeights,
    network: NetworkWeights | ForeignGenerator,
    layout: str | None,
    state: Mapping[str, StoredTensor],
) -> ModelInfo:
    facts: dict[str, Any]
    if isinstance(network, NetworkWeights):
        config = network.config
        sizes = config.scale_factor, config.img_channels
        facts = {
            "architecture": network.architecture,
            "config": config if isinstance(config, RRDBConfig) else None,
            "num_parameters": sum(value.size for value in network.parameters.values()),
        }
    else:
        sizes = network.scale_factor, network.img_channels
        count = sum(parameter.numel() for parameter in network.parameters())
        facts = {"num_parameters": count, **network.rules()}
    return ModelInfo(
        path=raw.path,
        name=raw.metadata.get("name", raw.path.stem),
        layout=layout,
        wrapper=raw.wrapper,
        scale_factor=sizes[0],
        img_channels=sizes[1],
        dtype=next(iter(state.values())).dtype,
        stage=raw.stage,
        metadata=dict(raw.metadata),
        tensor_types=count_types(state),
        **facts,
    )


def _check_finite(key: str, numbers: Floats) -> None:
    if not np.isfinite(numbers).all():
        raise ModelError(f"has NaN or infinite numbers in {key}; its training went wrong")


def _number(key: str, value: Any) -> int | float | bool:
    if not isinstance(value, int | float) or not math.isfinite(value):
        raise ModelError(f"records {key} as {value!r}, which is not a number")
    return value

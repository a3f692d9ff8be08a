"""Any weights file becomes a generator: :func:`load_generator`.

The file is read (:mod:`~torch_sr.models.files.reading`), its parameters get RRDBNet's names
(:mod:`~torch_sr.models.files.layouts`), the hyper-parameters follow from their shapes
(:mod:`~torch_sr.models.files.hparams`), and an RRDBNet is filled with them. Other architectures
go through spandrel (:mod:`~torch_sr.models.foreign`).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from torch_sr.errors import ModelError
from torch_sr.models.files.hparams import infer_config
from torch_sr.models.files.layouts import (
    CanonicalState,
    detect_layout,
    strip_prefixes,
    to_canonical,
)
from torch_sr.models.files.ncnn.reading import weights_path
from torch_sr.models.files.reading import RawWeights, load_state
from torch_sr.networks.rrdb import RRDBConfig, RRDBNet

if TYPE_CHECKING:
    from torch_sr.models.foreign import ForeignGenerator

__all__ = ["GeneratorInfo", "LoadedGenerator", "RawWeights", "load_generator", "load_state"]

_HPARAMS = frozenset(field.name for field in dataclasses.fields(RRDBConfig))


@dataclass(frozen=True)
class GeneratorInfo:
    """What was found in a weights file.

    Args:
        path: the file.
        name: the name recorded in it, otherwise the file's without suffix.
        architecture: ``RRDBNet``, or spandrel's name of another.
        layout: one of :data:`torch_sr.models.files.layouts.LAYOUTS`, or ``ncnn``; None for another
            architecture.
        wrapper: keys under which the parameters lay, joined by ``/``; None if they lay bare.
        scale_factor: how much larger the output is.
        img_channels: channels of input and output.
        config: the hyper-parameters of an RRDBNet; None for another architecture.
        num_parameters: numbers learnt.
        dtype: type of the stored parameters, such as ``float16``.
        stage: the stage of training, if recorded.
        metadata: what else was recorded.
        precisions: those that the network computes in without overflowing.
        tiling: ``free``; ``avoided`` where it looks at whole pictures, which come in tiles only if
            they do not fit the memory; or ``never``.
        restriction: the architecture's licence, where it does not allow any use.
        strength: its place between a model and its partner, in [0, 1]; None without a partner. See
            :mod:`torch_sr.models.strength`.
        mixed_with: the partner's file, where weights of both are in the network.
    """

    path: Path
    name: str
    architecture: str
    layout: str | None
    wrapper: str | None
    scale_factor: int
    img_channels: int
    config: RRDBConfig | None
    num_parameters: int
    dtype: str
    stage: str | None
    metadata: dict[str, str]
    precisions: tuple[str, ...] = ("fp32", "fp16", "bf16")
    tiling: str = "free"
    restriction: str | None = None
    strength: float | None = None
    mixed_with: Path | None = None

    @property
    def files(self) -> tuple[Path, ...]:
        """Every file with weights of the network; ncnn stores a model in two."""
        own = (self.path, weights_path(self.path)) if self.layout == "ncnn" else (self.path,)
        return own if self.mixed_with is None else (*own, self.mixed_with)

    def to_dict(self) -> dict[str, Any]:
        """Give plain values, ready for JSON."""
        found = {**dataclasses.asdict(self), "path": str(self.path)}
        found["hparams"] = found.pop("config") or {}
        mixed_with, strength = found.pop("mixed_with"), found.pop("strength")
        if strength is not None:
            found["strength"] = strength
        if mixed_with is not None:
            found["mixed_with"] = str(mixed_with)
        return found


@dataclass(frozen=True)
class LoadedGenerator:
    """A network ready to use, on the CPU in float32 and evaluation mode, and where it came from."""

    network: nn.Module
    info: GeneratorInfo


def load_generator(path: str | Path) -> LoadedGenerator:
    """Load a generator of any layout or architecture.

    Raises:
        ModelError: the file cannot be read, is damaged or unsafe, or holds no sound generator.
    """
    raw = load_state(path)
    try:
        state = strip_prefixes(raw.tensors)
        if not state:
            raise ModelError("holds a discriminator and no generator")
        if detect_layout(state) is None:
            return _load_foreign(raw, state)
        canonical = to_canonical(state)
        network = _build(canonical, raw.hparams)
    except ModelError as error:
        raise ModelError(f"{raw.path}: {error}") from error
    info = _inform(raw, network, "RRDBNet", raw.layout or canonical.layout, canonical.state)
    return LoadedGenerator(network, info)


def _build(canonical: CanonicalState, stored: Mapping[str, Any]) -> RRDBNet:
    """Make the RRDBNet that the parameters fit, and fill it."""
    for key, value in canonical.state.items():
        if value.is_quantized or not value.is_floating_point():
            raise ModelError(f"has {key} as {_dtype_name(value)}; only floating point is supported")
        if value.layout != torch.strided or value.device.type != "cpu":
            raise ModelError(f"has {key} as a {value.layout} tensor on {value.device.type}")
    stored = {key: _number(key, value) for key, value in stored.items() if key in _HPARAMS}
    if canonical.residual_scaling is not None:  # what the network truly multiplied with
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
        raise ModelError(f"has {key}, for which a x{network.scale_factor} RRDBNet has no use")
    weights = {key: value.to(torch.float32, copy=True) for key, value in canonical.state.items()}
    _check_finite(weights)
    network.load_state_dict(weights, assign=True)
    return network.eval()


def _load_foreign(raw: RawWeights, state: Mapping[str, Tensor]) -> LoadedGenerator:
    from torch_sr.models.foreign import build_foreign

    network = build_foreign(state, _output_scale(raw.hparams))
    network.float().eval()
    _check_finite(dict(network.named_parameters()))
    return LoadedGenerator(network, _inform(raw, network, network.architecture, raw.layout, state))


def _output_scale(hparams: Mapping[str, Any]) -> int | None:
    """The scale that the result of the network is resized to, if any is recorded."""
    scale = hparams.get("output_scale")
    if scale is not None and (not isinstance(scale, int) or scale < 1):
        raise ModelError(f"records output_scale as {scale!r}; it must be a whole number above 0")
    return scale


def _inform(
    raw: RawWeights,
    network: RRDBNet | ForeignGenerator,
    architecture: str,
    layout: str | None,
    state: Mapping[str, Tensor],
) -> GeneratorInfo:
    metadata = dict(raw.metadata)
    rules: dict[str, Any] = {}
    if not isinstance(network, RRDBNet):
        rules = {name: getattr(network, name) for name in ("precisions", "tiling", "restriction")}
    return GeneratorInfo(
        path=raw.path,
        name=metadata.get("name", raw.path.stem),
        architecture=architecture,
        layout=layout,
        wrapper=raw.wrapper,
        scale_factor=network.scale_factor,
        img_channels=network.img_channels,
        config=network.config if isinstance(network, RRDBNet) else None,
        num_parameters=sum(parameter.numel() for parameter in network.parameters()),
        dtype=_dtype_name(next(iter(state.values()))),
        stage=raw.stage,
        metadata=metadata,
        **rules,
    )


def _check_finite(weights: Mapping[str, Tensor]) -> None:
    for key, value in weights.items():
        if not torch.isfinite(value).all():
            raise ModelError(f"has NaN or infinite numbers in {key}; its training went wrong")


def _number(key: str, value: Any) -> int | float | bool:
    if not isinstance(value, int | float) or not math.isfinite(value):
        raise ModelError(f"records {key} as {value!r}, which is no number")
    return value


def _dtype_name(value: Tensor) -> str:
    return str(value.dtype).removeprefix("torch.")

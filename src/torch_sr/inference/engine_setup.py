"""Open the model of an upscaler, and start the engine that computes it."""

from __future__ import annotations

import copy
import inspect
from pathlib import Path
from typing import TypeGuard

from torch import nn

from torch_sr.devices import choose_device, choose_precision
from torch_sr.errors import DeviceError, ModelError
from torch_sr.inference.engines import Engine
from torch_sr.inference.engines.pytorch import PyTorchEngine
from torch_sr.models.info import ModelInfo
from torch_sr.models.loading import load
from torch_sr.models.model import Model
from torch_sr.models.weights import DEFAULT_MODEL, find_pair


def open_model(model: object, scale_factor: int | None, strength: float | None) -> Model:
    """Load a model by name or path; a model or network of the caller is copied.

    Raises:
        ModelError: it is none of these, or as :class:`torch_sr.Upscaler` does.
        DownloadError: the model cannot be downloaded.
    """
    if model is None or isinstance(model, (str, Path)):
        if scale_factor is not None:
            raise ModelError(f"leave out scale_factor {scale_factor}: the model has its own")
        return load(model, strength=strength)
    if not isinstance(model, Model | nn.Module):
        raise ModelError(
            f"give a name, a file, a Model, a network or an engine: {type(model).__name__} is none "
            "of these"
        )
    if strength is not None:
        raise ModelError(
            f"strength {strength:g}: leave it out, or pass it to torch_sr.load; only the name of a "
            "model has a partner"
        )
    if isinstance(model, Model):
        if scale_factor not in (None, model.scale_factor):
            raise ModelError(f"leave out scale_factor {scale_factor}: the model has its own")
        return Model(copy.deepcopy(model.network), model.info, weights_sha256=model.weights_sha256)
    return Model.from_network(copy.deepcopy(model), scale_factor=scale_factor)


def start_engine(model: Model, device: str, precision: str) -> PyTorchEngine:
    """Move a model to a device, in a precision in which it does not overflow.

    Raises:
        DeviceError: the device or the precision is not available.
    """
    return PyTorchEngine(
        model.network,
        model.scale_factor,
        model.img_channels,
        device,
        _permitted_precision(precision, device, model.info),
        large_tiles=model.info.tiling != "free",
    )


def find_engine(model: object, scale_factor: int | None, strength: float | None) -> Engine | None:
    """The given object if it is an engine, which may be an ``nn.Module`` as well; otherwise None.

    Raises:
        ModelError: an argument does not apply to an engine.
    """
    if not _is_engine(model):
        return None
    if strength is not None:
        raise ModelError(f"strength {strength:g}: leave it out, an engine has no partner")
    if scale_factor not in (None, model.scale_factor):
        raise ModelError(f"leave out scale_factor {scale_factor}: the engine has its own")
    return model


def _is_engine(model: object) -> TypeGuard[Engine]:
    needed = ("scale_factor", "img_channels", "tile_area", "tiles_redone")
    absent = object()
    # Without calling properties, which may measure the free memory.
    has_all = all(inspect.getattr_static(model, key, absent) is not absent for key in needed)
    return callable(model) and has_all


def _permitted_precision(precision: str, device: str, info: ModelInfo) -> str:
    """The requested precision; for ``auto``, one in which the network does not overflow.

    Raises:
        DeviceError: the network overflows in the requested precision.
    """
    chosen = choose_precision(precision, choose_device(device))
    if chosen in info.precisions:
        return chosen
    if precision == "auto":
        return "bf16" if "bf16" in info.precisions else "fp32"
    raise DeviceError(
        f"{info.name} is a {info.architecture}, which does not compute in {precision}; use "
        f"{' or '.join(info.precisions)}"
    )


def recorded_overlap(name: str | Path | None, strength: float | None, precision: str) -> int | None:
    """The recorded overlap of a shipped model; None if it has to be measured."""
    pair = find_pair(DEFAULT_MODEL if name is None else name)
    if pair is None or strength is None or precision != "fp32":
        return None
    return pair.overlaps.get(strength)

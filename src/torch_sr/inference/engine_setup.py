"""Open the model of an upscaler, and start the engine that computes it."""

from __future__ import annotations

import copy
import inspect
import os
from pathlib import Path
from typing import TypeGuard

from torch_sr.errors import DeviceError, ModelError
from torch_sr.inference.engines import Engine, native
from torch_sr.machine import may_have_gpu, usable_cpus
from torch_sr.models.info import ModelInfo
from torch_sr.models.loading import load
from torch_sr.models.model import Model
from torch_sr.models.network_weights import is_network
from torch_sr.models.onnx.network import OnnxNetwork
from torch_sr.models.weights import DEFAULT_MODEL, find_pair

ENGINES = ("auto", "native", "torch", "cuda", "ncnn", "onnx")
_VULKAN = "vulkan"  # the devices that only ncnn can use


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
    if not isinstance(model, Model) and not is_network(model):
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
        return model.copy()
    return Model.from_network(copy.deepcopy(model), scale_factor=scale_factor)


def start_engine(
    model: Model,
    device: str = "auto",
    precision: str = "auto",
    engine: str = "auto",
    threads: int | None = None,
) -> Engine:
    """Start the engine that computes a model: by default the fastest that is exact.

    Args:
        model: PyTorch may move its network to the device.
        device, precision, engine, threads: see :class:`torch_sr.Upscaler`. The variable
            ``TORCH_SR_ENGINE`` of the environment says what ``auto`` stands for.

    Raises:
        DeviceError: the device, the precision or the engine is not available, or the model
            overflows in the precision.
    """
    if threads is not None:
        threads = min(threads, usable_cpus())  # more would wait for each other
    if model.onnx is not None:
        return _start_onnx(model.onnx, device, precision, engine, threads)
    if engine == "auto":
        engine = os.environ.get("TORCH_SR_ENGINE", "auto")
    if engine not in ENGINES:
        raise DeviceError(f"engine {engine!r}: unknown; use {', '.join(ENGINES)}")
    if engine == "onnx":
        raise DeviceError(
            f"engine onnx: use --engine auto, or write an ONNX file with `torch-sr export`; "
            f"{model.info.origin} is not one"
        )
    if engine == "ncnn" or (engine == "auto" and device.partition(":")[0] == _VULKAN):
        return _start_ncnn(model, device, precision, threads)
    if engine == "cuda":
        return _start_cuda(model, device, precision)
    if engine != "torch":
        obstacle = _find_obstacle(model, device, precision)
        if obstacle is None and (weights := model.weights) is not None:
            return native.NativeEngine(weights.parameters, weights.config, threads=threads)
        if engine == "native":
            raise DeviceError(f"engine native: {obstacle}")
    return _start_pytorch(model, device, precision, threads)


def _find_obstacle(model: Model, device: str, precision: str) -> str | None:
    """Why the native engine cannot compute a model here, and the remedy; None if it can."""
    if precision not in ("auto", "fp32"):
        return f"use fp32, or --engine torch; it does not compute in {precision}"
    if not _is_cpu(device):
        other = "ncnn" if device.partition(":")[0] == _VULKAN else "torch"
        return f"use --device cpu, or --engine {other}; it does not compute on device {device!r}"
    if not native.is_available():
        return (
            "use --engine torch, or install a C++ compiler and torch-sr again; it was not built "
            "when torch-sr was installed"
        )
    if model.img_channels > native.MOST_CHANNELS:
        return f"use --engine torch; it computes up to {native.MOST_CHANNELS} channels"
    return None if model.weights is not None else _explain_other_network(model)


def _explain_other_network(model: Model) -> str:
    return (
        f"use --engine torch; it computes RRDBNet and SRVGGNetCompact in fp32, and "
        f"{model.info.name} is another network ({model.info.architecture})"
    )


def _is_cpu(device: str) -> bool:
    """Whether a device is the CPU; PyTorch is asked only if there may be others."""
    if device == "auto" and may_have_gpu():
        from torch_sr.devices import choose_device

        return choose_device(device).type == "cpu"
    return device in ("auto", "cpu")


def _start_onnx(
    network: OnnxNetwork, device: str, precision: str, engine: str, threads: int | None
) -> Engine:
    from torch_sr.inference.engines.onnx import OnnxEngine

    if engine not in ("auto", "onnx"):
        raise DeviceError(
            f"engine {engine}: use --engine onnx; {network.path} is an ONNX file, which only ONNX "
            "Runtime computes"
        )
    return OnnxEngine(network, device, precision, threads=threads)


def _start_ncnn(model: Model, device: str, precision: str, threads: int | None) -> Engine:
    from torch_sr.inference.engines.ncnn import NcnnEngine

    if (weights := model.weights) is None:
        raise DeviceError(f"engine ncnn: {_explain_other_network(model)}")
    return NcnnEngine(weights.parameters, weights.config, device, precision, threads=threads)


def _start_cuda(model: Model, device: str, precision: str) -> Engine:
    from torch_sr.devices import choose_device
    from torch_sr.inference.engines.cuda import CudaEngine

    chosen = choose_device("cuda" if device == "auto" else device)
    if chosen.type != "cuda":
        raise DeviceError(
            f"engine cuda: use --device cuda, or --engine torch; it does not compute on device "
            f"{device!r}"
        )
    if model.weights is None:
        raise DeviceError(f"engine cuda: {_explain_other_network(model)}")
    return CudaEngine(
        model.network,
        model.scale_factor,
        model.img_channels,
        str(chosen),
        _permitted_precision(precision, str(chosen), model.info),
    )


def _start_pytorch(model: Model, device: str, precision: str, threads: int | None) -> Engine:
    import torch

    from torch_sr.inference.engines.pytorch import PyTorchEngine

    if threads is not None:
        torch.set_num_threads(threads)
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
    from torch_sr.devices import choose_device, choose_precision

    chosen = choose_precision(precision, choose_device(device))
    if chosen in info.precisions:
        return chosen
    if precision == "auto":
        return "bf16" if "bf16" in info.precisions else "fp32"
    raise DeviceError(
        f"{info.name} is a {info.architecture}, which does not compute in {precision}; use "
        f"{' or '.join(info.precisions)}"
    )


def recorded_overlap(given: object, model: Model, engine: Engine) -> int | None:
    """The recorded overlap of a shipped model in fp32 or of an ONNX file.

    Args:
        given: the model as the caller named it.
        model: as it was loaded.
        engine: that computes it.

    Returns:
        None if it has to be measured.
    """
    if model.onnx is not None:
        return model.onnx.overlap
    if not isinstance(given, (str, Path, type(None))):
        return None
    pair, strength = find_pair(DEFAULT_MODEL if given is None else given), model.info.strength
    if pair is None or strength is None or getattr(engine, "precision", "fp32") != "fp32":
        return None
    return pair.overlaps.get(strength)

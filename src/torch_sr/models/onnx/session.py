"""ONNX Runtime: its devices, and running a file; nothing else imports it.

Source: https://onnxruntime.ai/docs/api/python
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from torch_sr.aliases import Floats
from torch_sr.errors import DeviceError, MissingExtraError, ModelError
from torch_sr.files import explain

_PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "directml": "DmlExecutionProvider",
    "mps": "CoreMLExecutionProvider",
}
"""ONNX Runtime's names of devices."""
_AUTOMATIC = ("cuda", "directml", "cpu")  # Core ML is slow with images of changing sizes
_PACKAGES = {"cuda": "onnxruntime-gpu", "directml": "onnxruntime-directml"}
"""Builds of ONNX Runtime for other devices."""
TYPES: dict[str, np.dtype[Any]] = {
    "tensor(float)": np.dtype(np.float32),
    "tensor(float16)": np.dtype(np.float16),
}
"""The types of input that can be used, by ONNX Runtime's names."""
_QUIET = 4  # of ONNX Runtime's severities: errors are raised, and not printed as well


@cache
def import_onnxruntime() -> Any:
    """The package.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingExtraError("onnxruntime", "onnx") from error
    onnxruntime.set_default_logger_severity(_QUIET)
    return onnxruntime


def available_devices() -> list[str]:
    """The devices of the installed build of ONNX Runtime.

    Raises:
        MissingExtraError: it is not installed.
    """
    there = import_onnxruntime().get_available_providers()
    return [kind for kind, provider in _PROVIDERS.items() if provider in there]


def choose_device(device: str) -> str:
    """Resolve a device: ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ``directml``, ``mps`` (Core ML).

    Raises:
        DeviceError: the installed build of ONNX Runtime does not have the device.
        MissingExtraError: ONNX Runtime is not installed.
    """
    kinds = available_devices()
    if device == "auto":
        return next(kind for kind in _AUTOMATIC if kind in kinds)
    kind, _, number = device.partition(":")
    if kind in kinds and (not number or number.isdecimal()):
        return device
    package = _PACKAGES.get(kind)
    more = f", or install {package} in place of onnxruntime" if package else ""
    raise DeviceError(
        f"device {device!r}: use {' or '.join(kinds)}{more}; this ONNX Runtime does not have it"
    )


class Session:
    """An ONNX file, loaded by ONNX Runtime for a device.

    Args:
        file: its path or its content.
        device: as :func:`choose_device` returns it.
        threads: on a CPU; by default as many as ONNX Runtime chooses.

    Raises:
        ModelError: the file is missing or damaged, or has operators that ONNX Runtime does not
            know.
        DeviceError: the device does not start.
    """

    def __init__(self, file: Path | bytes, device: str = "cpu", threads: int | None = None) -> None:
        kind, _, number = device.partition(":")
        provider = _PROVIDERS[kind]
        chosen = (provider, {"device_id": number}) if number else provider
        self._session = _load(
            file, [chosen, _PROVIDERS["cpu"]][: 1 if kind == "cpu" else 2], threads
        )
        if provider not in self._session.get_providers():
            raise DeviceError(
                f"device {device!r}: install its driver and libraries, or use cpu; ONNX Runtime "
                "cannot start it"
            )

    @property
    def records(self) -> dict[str, str]:
        """The records in the file."""
        return dict(self._session.get_modelmeta().custom_metadata_map)

    @property
    def inputs(self) -> list[tuple[str, list[int | str | None]]]:
        """Type and shape of each input; sizes that may differ are names or None."""
        return [(each.type, list(each.shape)) for each in self._session.get_inputs()]

    @property
    def output_shape(self) -> list[int | str | None]:
        """The shape of the first output; sizes that may differ are names or None."""
        return list(self._session.get_outputs()[0].shape)

    def __call__(self, lr: Floats) -> Floats:
        """Run the network on a batch that it takes: ``(N, C, H, W)``, float32 to float32."""
        image = self._session.get_inputs()[0]
        outputs = [self._session.get_outputs()[0].name]
        values = lr.astype(TYPES[image.type], copy=False)
        return np.asarray(self._session.run(outputs, {image.name: values})[0], dtype=np.float32)


def first_line(error: Exception) -> str:
    """The first line of a message of ONNX Runtime, without its codes."""
    text = str(error).strip().splitlines()
    line = text[0] if text else type(error).__name__
    return line.rpartition(" : ")[2].strip()[:200]


def _load(file: Path | bytes, providers: list[Any], threads: int | None) -> Any:
    runtime = import_onnxruntime()
    options = runtime.SessionOptions()
    options.log_severity_level = _QUIET
    options.intra_op_num_threads = threads or 0
    try:
        if isinstance(file, bytes):
            return runtime.InferenceSession(file, options, providers=providers)
        with file.open("rb"):  # for the errors of the system
            return runtime.InferenceSession(os.fspath(file), options, providers=providers)
    except FileNotFoundError:
        raise ModelError(f"{file!s} does not exist") from None
    except OSError as error:
        raise ModelError(f"{file!s}: {explain(error)}") from error
    except Exception as error:  # ONNX Runtime has a class for every code
        name = "the content" if isinstance(file, bytes) else str(file)
        raise ModelError(
            f"{name} is damaged, or needs a newer ONNX Runtime than {runtime.__version__}: "
            f"{first_line(error)}"
        ) from error

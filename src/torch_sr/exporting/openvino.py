"""A network -> the two files of an OpenVINO model, ``.xml`` and ``.bin``.

OpenVINO reads the ONNX file of the network, which it does more reliably than TorchScript.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from torch_sr.aliases import Floats
from torch_sr.errors import MissingExtraError
from torch_sr.exporting.check import Run
from torch_sr.exporting.onnx import write_onnx
from torch_sr.exporting.portable import PortableNetwork, TracingError

_SECTION = "torch-sr"
"""The section of the ``.xml`` (``rt_info``) that has the records."""


def import_openvino() -> Any:
    """The package.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        import openvino
    except ImportError as error:
        raise MissingExtraError("openvino", "openvino") from error
    return openvino


def write_openvino(
    path: Path,
    network: PortableNetwork,
    records: Mapping[str, str],
    *,
    size: tuple[int, int] | None,
    half: bool,
) -> None:
    """Write a network and its records.

    Args:
        path: the ``.xml``; the ``.bin`` is written next to it.
        network: in fp32.
        records: become ``rt_info`` of the model.
        size: the only height and width, for one image at once; None for any number and size.
        half: store the parameters as float16; OpenVINO chooses the precision of the computation.

    Raises:
        ModelError: the network cannot be exported.
        TracingError: it has operators that OpenVINO does not know.
        MissingExtraError: OpenVINO, onnx or onnxscript is not installed.
    """
    openvino = import_openvino()
    graph = path.with_suffix(".onnx")
    write_onnx(graph, network, records, size=size)
    try:
        model = openvino.Core().read_model(graph)
    except Exception as error:  # OpenVINO's classes are not public
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise TracingError(f"OpenVINO cannot convert it ({reason[-1][:200]})") from error
    for key, value in records.items():
        model.set_rt_info(value, [_SECTION, key])
    openvino.save_model(model, str(path), compress_to_fp16=half)
    graph.unlink()


def open_openvino(path: Path) -> Run:
    """Load the files, and run them on the CPU in fp32."""
    openvino = import_openvino()
    compiled = openvino.Core().compile_model(str(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})

    def run(lr: Floats) -> Floats:
        return np.array(compiled(lr)[compiled.output(0)], dtype=np.float32)

    return run

"""A network -> the two files of an OpenVINO model, ``.xml`` and ``.bin``."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from torch_sr.aliases import Floats
from torch_sr.errors import MissingExtraError, ModelError
from torch_sr.exporting.check import Run
from torch_sr.exporting.portable import PortableNetwork
from torch_sr.exporting.torchscript import trace

_SECTION = "torch-sr"
"""The section of the ``.xml`` (``rt_info``) that has the records."""
INPUT, OUTPUT = "lr", "sr"


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
        ModelError: the network cannot be traced, or has operators that OpenVINO does not know.
        MissingExtraError: OpenVINO is not installed.
    """
    openvino = import_openvino()
    program = trace(network, size)
    shape = [1, network.img_channels, *size] if size else [-1, network.img_channels, -1, -1]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = openvino.convert_model(program, input=[openvino.PartialShape(shape)])
    except Exception as error:  # OpenVINO's classes are not public
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise ModelError(f"OpenVINO cannot convert it ({reason[0][:200]})") from error
    model.inputs[0].set_names({INPUT})
    model.outputs[0].set_names({OUTPUT})
    for key, value in records.items():
        model.set_rt_info(value, [_SECTION, key])
    openvino.save_model(model, str(path), compress_to_fp16=half)


def open_openvino(path: Path) -> Run:
    """Load the files, and run them on the CPU in fp32."""
    openvino = import_openvino()
    compiled = openvino.Core().compile_model(str(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})

    def run(lr: Floats) -> Floats:
        return np.array(compiled(lr)[compiled.output(0)], dtype=np.float32)

    return run

"""A network -> an ONNX file, through PyTorch's exporter.

For RRDBNet and SRVGGNetCompact, the graph is that of ``torch.export``: convolutions and a few other
operators, of any batch, height and width. Other networks are traced. The file has no paths of this
machine, and is the same each time.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from torch_sr._version import __version__
from torch_sr.errors import MissingExtraError, ModelError
from torch_sr.exporting.check import Run
from torch_sr.exporting.portable import PortableNetwork, TracingError
from torch_sr.inference.engines.onnx import OnnxEngine
from torch_sr.models.onnx.reading import read_onnx

INPUT, OUTPUT = "lr", "sr"
DEFAULT_OPSET = 18
"""The version of ONNX's operators; programs of 2023 and later know it."""
_AXES = {0: "batch", 2: "height", 3: "width"}
"""The axes whose size may differ from image to image."""
_LARGEST = 2**31 - 2**20  # bytes of a file without external data


def write_onnx(
    path: Path,
    network: PortableNetwork,
    records: Mapping[str, str],
    *,
    size: tuple[int, int] | None = None,
    opset: int = DEFAULT_OPSET,
) -> None:
    """Write a network and its records.

    Args:
        path: the file.
        network: the network.
        records: become ``metadata_props``.
        size: the only height and width, for one image at once; None for any number and size.
        opset: version of ONNX's operators.

    Raises:
        TracingError: PyTorch cannot export the network.
        ModelError: it cannot be written with this opset, or is too large.
        MissingExtraError: onnx or onnxscript is not installed.
    """
    try:
        import onnx
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise MissingExtraError(error.name or "onnx", "onnx") from error
    known = onnx.defs.onnx_opset_version()
    if not DEFAULT_OPSET <= opset <= known:
        raise ModelError(f"opset {opset}: use {DEFAULT_OPSET} to {known}")
    try:
        graph = _trace(path, network, size, opset)
    except Exception as error:  # PyTorch's exporter has many
        raise TracingError(_explain(error)) from error
    written = graph.opset_import[0].version
    if written != opset:
        raise ModelError(f"opset {opset}: use {written}; the network cannot be converted to it")
    _tidy(graph)
    graph.producer_name, graph.producer_version = "torch-sr", __version__
    del graph.metadata_props[:]
    onnx.helper.set_model_props(graph, dict(records))
    if graph.ByteSize() > _LARGEST:
        raise ModelError("choose a smaller model; an ONNX file holds up to 2 GB")
    path.write_bytes(graph.SerializeToString(deterministic=True))


def open_onnx(path: Path) -> Run:
    """Check a file with ONNX's own checker, and run it with ONNX Runtime on the CPU.

    Raises:
        ModelError: ONNX finds a fault.
    """
    import onnx

    try:
        onnx.checker.check_model(str(path), full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ModelError(f"ONNX finds a fault: {str(error).splitlines()[0]}") from error
    return OnnxEngine(read_onnx(path)[0], "cpu")


def _trace(path: Path, network: PortableNetwork, size: tuple[int, int] | None, opset: int) -> Any:
    """The network as ONNX's protocol buffer, silently; the file may be used meanwhile."""
    with warnings.catch_warnings(), torch.inference_mode(mode=False), torch.no_grad():
        warnings.simplefilter("ignore")
        example, any_size = network.example(size), size is None
        if network.is_plain:
            return _by_graph(network, example, any_size, opset)
        return _by_trace(path, network, example, any_size, opset)


def _by_graph(network: PortableNetwork, example: Tensor, any_size: bool, opset: int) -> Any:
    """The graph of ``torch.export``, which is small and clean."""
    dims = {axis: torch.export.Dim(name) for axis, name in _AXES.items()}
    program = torch.onnx.export(
        network,
        (example,),
        dynamo=True,
        verbose=False,
        input_names=[INPUT],
        output_names=[OUTPUT],
        opset_version=opset,
        dynamic_shapes=(dims,) if any_size else None,
    )
    assert program is not None
    return program.model_proto


def _by_trace(
    path: Path, network: PortableNetwork, example: Tensor, any_size: bool, opset: int
) -> Any:
    """What the network computes for an example; ``torch.export`` crashes on some networks."""
    import onnx

    torch.onnx.export(
        network,
        (example,),
        path,
        dynamo=False,
        verbose=False,
        input_names=[INPUT],
        output_names=[OUTPUT],
        opset_version=opset,
        dynamic_axes={INPUT: _AXES, OUTPUT: _AXES} if any_size else None,
    )
    return onnx.load(path)


def _tidy(graph: Any) -> None:
    """Remove what the exporter notes about its own work, such as lines of source code."""
    inner = graph.graph
    for part in (
        inner,
        *inner.node,
        *inner.input,
        *inner.output,
        *inner.value_info,
        *inner.initializer,
    ):
        del part.metadata_props[:]
        part.doc_string = ""
    inner.name = "torch-sr"


def _explain(error: Exception) -> str:
    """One line about why PyTorch's exporter failed."""
    cause = error.__cause__ or error
    lines = [line.strip() for line in str(cause).splitlines() if line.strip()]
    return f"PyTorch cannot export it ({lines[0][:200] if lines else type(cause).__name__})"

"""A network -> the two files of an ncnn model, ``.param`` and ``.bin``."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from torch_sr.aliases import Floats
from torch_sr.errors import ModelError
from torch_sr.exporting.check import Run
from torch_sr.inference.engines.ncnn import open_files
from torch_sr.models.files.ncnn.writing import (
    Graph,
    graph_of_compact,
    graph_of_rrdbnet,
    write_ncnn,
)
from torch_sr.models.foreign import ForeignGenerator
from torch_sr.models.model import Model
from torch_sr.models.network_weights import COMPACT, to_numpy
from torch_sr.networks.rrdb import RRDBNet


def write_ncnn_model(path: Path, model: Model, *, half: bool) -> None:
    """Write an RRDBNet or SRVGGNetCompact; an ncnn model has no records.

    Args:
        path: the ``.param``; the ``.bin`` is written next to it.
        model: the model.
        half: store the weights, but not the biases, as float16.

    Raises:
        ModelError: it is another network.
    """
    write_ncnn(path, _make_graph(model), half=half)


def open_ncnn(path: Path) -> Run:
    """Load the files with ncnn, and run them on the CPU, one image after another.

    Raises:
        MissingExtraError: ncnn is not installed.
    """
    run = open_files(path)

    def run_all(lr: Floats) -> Floats:
        return np.stack([run(image) for image in lr])

    return run_all


def _make_graph(model: Model) -> Graph:
    network = model.network
    if isinstance(network, RRDBNet):
        return graph_of_rrdbnet(to_numpy(network.state_dict()), network.config)
    if isinstance(network, ForeignGenerator) and network.architecture == COMPACT:
        return graph_of_compact(to_numpy(network.network.state_dict()), network.output_scale)
    raise ModelError(
        f"it is a {model.info.architecture}; only RRDBNet and SRVGGNetCompact can be written for "
        "ncnn, others as onnx"
    )

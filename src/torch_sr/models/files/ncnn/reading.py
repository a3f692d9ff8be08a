"""A ``.param`` and its ``.bin`` -> the parameters of a network."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from torch_sr.errors import ModelError
from torch_sr.models.files.ncnn.graph import MAGIC, MAX_BYTES, parse_graph
from torch_sr.models.files.ncnn.weights import FLAGS, WeightsError, WeightsReader

if TYPE_CHECKING:
    from torch_sr.models.files.ncnn.matching import Match

_GRAPH, _WEIGHTS = ".param", ".bin"


def find_graph(stem: Path) -> Path | None:
    """The ``.param`` of a model that is named without suffix; None unless both its files exist."""
    if not stem.name:  # such as "."
        return None
    graph = stem.with_name(f"{stem.name}{_GRAPH}")
    return graph if all(map(os.path.isfile, (graph, weights_path(graph)))) else None


def weights_path(graph: Path) -> Path:
    """The ``.bin`` of a ``.param``."""
    return graph.with_name(graph.name.removesuffix(graph.suffix) + _WEIGHTS)


def is_graph(head: bytes) -> bool:
    """Whether a file begins like a ``.param``."""
    return head.split(maxsplit=1)[:1] == [MAGIC.encode()]


def is_weights(path: Path, head: bytes) -> bool:
    """Whether a file may be a ``.bin``, which has no signature beyond how numbers are stored."""
    return path.suffix.lower() == _WEIGHTS and head[:4] in FLAGS


def read_ncnn(path: Path) -> tuple[Path, Match]:
    """Read a model.

    Args:
        path: either of its two files.

    Returns:
        The ``.param``, and the network.

    Raises:
        ModelError: the other file is missing, one is damaged, or it is another network.
        OSError: a file cannot be read.
    """
    # Imported here because most weights files are of other programs.
    from torch_sr.models.files.ncnn.expressions import KINDS, build_expression
    from torch_sr.models.files.ncnn.matching import match_network

    graph = path
    if path.suffix.lower() == _WEIGHTS:
        graph = path.with_suffix(_GRAPH)
    weights = weights_path(graph)
    for half, what in ((graph, "graph"), (weights, "weights")):
        if not half.is_file():
            raise ModelError(f"{path}: put {half.name} next to it, which has its {what}")
    if graph.stat().st_size > MAX_BYTES:
        raise ModelError(f"{graph} is too long for the graph of an ncnn model")
    try:
        layers = parse_graph(graph.read_text(encoding="utf-8", errors="replace"), KINDS)
        with weights.open("rb") as file:
            result = build_expression(layers, WeightsReader(file))
        return graph, match_network(result)
    except WeightsError as error:
        raise ModelError(f"{weights} {error}") from error
    except ModelError as error:
        raise ModelError(f"{graph} {error}") from error

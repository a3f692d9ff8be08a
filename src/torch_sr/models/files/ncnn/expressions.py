"""An ncnn graph as an expression, independent of how it is written.

Different programs write the same network differently: an activation as part of the convolution or
as a separate layer, a scaled sum as one layer or as two. Here all of these become the same
expression. Names are only kept for error messages.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from torch_sr.aliases import Array
from torch_sr.errors import ModelError
from torch_sr.models.files.ncnn.graph import ONLY_TWO, Layer
from torch_sr.models.files.ncnn.weights import WeightsReader

_MAX_PARTS = 4096  # nested joins in a few lines could require any number


@dataclass(frozen=True, eq=False)
class Node:
    """The result of a layer; two are the same only if they are one object."""

    name: str


@dataclass(frozen=True, eq=False)
class NetworkInput(Node):
    """The input of the network."""


@dataclass(frozen=True, eq=False)
class Conv(Node):
    """A convolution of 3x3 that keeps the size: weight ``(O, I, 3, 3)`` and bias ``(O,)``."""

    source: Node
    weight: Array
    bias: Array


@dataclass(frozen=True, eq=False)
class Activation(Node):
    """Negative numbers times a slope: one, or one for each channel."""

    source: Node
    slopes: Array


@dataclass(frozen=True, eq=False)
class Total(Node):
    """The sum of terms, each times a factor."""

    terms: tuple[tuple[float, Node], ...]


@dataclass(frozen=True, eq=False)
class Joined(Node):
    """Channels one after another."""

    parts: tuple[Node, ...]


@dataclass(frozen=True, eq=False)
class Resized(Node):
    """Both sides times a factor, ``nearest`` or ``bicubic``."""

    source: Node
    factor: float
    method: str


@dataclass(frozen=True, eq=False)
class Shuffled(Node):
    """Channels to squares of pixels of side ``factor``, or back if ``inverse``."""

    source: Node
    factor: int
    inverse: bool


def build_expression(layers: Sequence[Layer], weights: WeightsReader) -> Node:
    """Convert a graph to an expression of its result.

    Args:
        layers: of types in :data:`KINDS`.
        weights: the numbers, which are read in the order of the layers.

    Raises:
        ModelError: a parameter that no supported network has, several inputs or results, or
            numbers that are missing.
    """
    nodes: dict[str, Node] = {}
    read: set[str] = set()
    for layer in layers:
        node = KINDS[layer.kind](layer, [nodes[name] for name in layer.inputs], weights)
        if len(layer.outputs) != 1 and layer.kind != "Split":
            raise ModelError(f"has layer {layer.name} with {len(layer.outputs)} results")
        read.update(layer.inputs)
        nodes.update(dict.fromkeys(layer.outputs, node))
    weights.finish()
    results = [name for name in nodes if name not in read]
    if len(results) != 1:
        raise ModelError(f"has {len(results)} results ({', '.join(results[:3])}); one is needed")
    if sum(layer.kind == "Input" for layer in layers) != 1:
        raise ModelError("has several inputs or none; one is needed")
    return nodes[results[0]]


def _only(layer: Layer, inputs: list[Node]) -> Node:
    if len(inputs) != 1:
        raise ModelError(f"has layer {layer.name} with {len(inputs)} inputs; one is needed")
    return inputs[0]


def _input(layer: Layer, inputs: list[Node], weights: WeightsReader) -> Node:
    return NetworkInput(layer.name)


def _same(layer: Layer, inputs: list[Node], weights: WeightsReader) -> Node:
    return _only(layer, inputs)


def _convolution(layer: Layer, inputs: list[Node], weights: WeightsReader) -> Node:
    source, out = _only(layer, inputs), layer.integer(0)
    _require_plain(layer)
    count = layer.integer(6)
    if out < 1 or count < 1 or count % (out * 9):
        raise ModelError(f"is damaged: layer {layer.name} makes {out} channels of {count} numbers")
    weight = weights.flagged(count, layer.name).reshape(out, -1, 3, 3)
    bias = weights.bare(out, layer.name) if layer.integer(5) else np.zeros(out, np.float32)
    node = Conv(layer.name, source, weight, bias)
    kind = layer.integer(9)
    if kind == 0:
        return node
    slope = {1: (0.0,), 2: layer.array(10)}.get(kind, ())
    if len(slope) != 1:
        raise ModelError(f"has layer {layer.name} with activation {kind}: {ONLY_TWO}")
    return Activation(layer.name, node, np.array(slope, np.float32))


def _require_plain(layer: Layer) -> None:
    """Require a kernel of 3x3 that keeps the size, and numbers that are not quantized."""
    width, left, top = layer.integer(1), layer.integer(4), layer.integer(14, layer.integer(4))
    found = {
        "kernel": (width, layer.integer(11, width)),
        "dilation": (layer.integer(2, 1), layer.integer(12, layer.integer(2, 1))),
        "stride": (layer.integer(3, 1), layer.integer(13, layer.integer(3, 1))),
        "padding": (left, layer.integer(15, left), top, layer.integer(16, top)),
        "8-bit scale": (layer.integer(8),),
        "padding value": (layer.number(18),),
        "dynamic weight": (layer.integer(19),),
    }
    needed = {"kernel": 3, "dilation": 1, "stride": 1, "padding": 1}
    for what, values in found.items():
        if any(value != needed.get(what, 0) for value in values):
            shown = "x".join(f"{value:g}" for value in values)
            raise ModelError(f"has layer {layer.name} with {what} {shown}: {ONLY_TWO}")


def _leaky(layer: Layer, inputs: list[Node], weights: WeightsReader) -> Node:
    return Activation(layer.name, _only(layer, inputs), np.array([layer.number(0)], np.float32))


def _prelu(layer: Layer, inputs: list[Node], weights: WeightsReader) -> Node:
    count = layer.integer(0)
    if count < 1:
        raise ModelError(f"is damaged: layer {layer.name} has {count} slopes")
    return Activation(layer.name, _only(layer, inputs), weights.bare(count, layer.name))


def _concat(layer: Layer, inputs: list[Node], weights: WeightsReader) -> Node:
    if layer.integer(0) not in (0, -3):
        raise ModelError(f"has layer {layer.name} which joins along another axis: {ONLY_TWO}")
    parts: list[Node] = []
    for part in inputs:
        parts += part.parts if isinstance(part, Joined) else (part,)
        if len(parts) > _MAX_PARTS:
            raise ModelError(f"has layer {layer.name}, which joins more than {_MAX_PARTS} blobs")
    return Joined(layer.name, tuple(parts))


def _binary(layer: Layer, inputs: list[Node], weights: WeightsReader) -> Node:
    kind, scalar = layer.integer(0), layer.number(2)
    if layer.integer(1):
        source = _only(layer, inputs)
        if kind == 2:
            return _total(layer, [(scalar, source)])
        if kind == 3 and scalar:
            return _total(layer, [(1 / scalar, source)])
    elif kind == 0:
        return _total(layer, [(1.0, node) for node in inputs])
    raise ModelError(
        f"has layer {layer.name}, an operation that is not a sum or a factor: {ONLY_TWO}"
    )


def _eltwise(layer: Layer, inputs: list[Node], weights: WeightsReader) -> Node:
    factors = layer.array(1) or (1.0,) * len(inputs)
    if layer.integer(0) != 1 or len(factors) != len(inputs):
        raise ModelError(f"has layer {layer.name}, an operation that is not a sum: {ONLY_TWO}")
    return _total(layer, list(zip(factors, inputs, strict=True)))


def _total(layer: Layer, terms: list[tuple[float, Node]]) -> Node:
    """A sum, including the factors of its terms."""
    folded: list[tuple[float, Node]] = []
    for factor, node in terms:
        if isinstance(node, Total) and len(node.terms) == 1:
            inner, node = node.terms[0]
            factor *= inner
        folded.append((factor, node))
    return Total(layer.name, tuple(folded))


def _interp(layer: Layer, inputs: list[Node], weights: WeightsReader) -> Node:
    height, width = layer.number(1, 1.0), layer.number(2, 1.0)
    method = {1: "nearest", 3: "bicubic"}.get(layer.integer(0))
    fixed = any(layer.integer(key) for key in (3, 4, 5, 6))
    if method is None or fixed or height != width or not height > 0:
        raise ModelError(f"has layer {layer.name}, which resizes in another way: {ONLY_TWO}")
    return Resized(layer.name, _only(layer, inputs), height, method)


def _shuffle(layer: Layer, inputs: list[Node], weights: WeightsReader) -> Node:
    factor = layer.integer(0, 1)
    if factor < 1 or layer.integer(1):
        raise ModelError(f"has layer {layer.name} with another order of channels: {ONLY_TWO}")
    return Shuffled(layer.name, _only(layer, inputs), factor, layer.kind == "Reorg")


KINDS: dict[str, Callable[[Layer, list[Node], WeightsReader], Node]] = {
    "Input": _input,
    "Split": _same,
    "Noop": _same,
    "Convolution": _convolution,
    "ReLU": _leaky,
    "PReLU": _prelu,
    "Concat": _concat,
    "BinaryOp": _binary,
    "Eltwise": _eltwise,
    "Interp": _interp,
    "PixelShuffle": _shuffle,
    "Reorg": _shuffle,
}
"""Every type of layer that one of the supported networks may have."""

"""Match an expression with RRDBNet or SRVGGNetCompact.

The result is the parameters under their names in PyTorch. Matching goes from the result to the
image, and every layer on the way must be where the network has it; nothing is left over, because a
graph has one result.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from torch_sr.aliases import Array
from torch_sr.errors import ModelError
from torch_sr.models.files.ncnn.expressions import (
    Activation,
    Conv,
    Joined,
    NetworkInput,
    Node,
    Resized,
    Shuffled,
    Total,
)
from torch_sr.models.files.ncnn.graph import ONLY_TWO
from torch_sr.networks.configs import LEAKY_SLOPE, UPSCALING_STEPS


@dataclass(frozen=True)
class Match:
    """Parameters under their names in PyTorch, and the sizes that their shapes do not show.

    Args:
        tensors: of RRDBNet in the layout ``new``, or of SRVGGNetCompact.
        hparams: arguments of RRDBNet; of SRVGGNetCompact ``output_scale``, if its result is resized
            to another scale.
    """

    tensors: dict[str, Array]
    hparams: dict[str, int | float | bool]


@dataclass(frozen=True)
class _DenseBlock:
    source: Node
    convs: list[Conv]
    scaling: float


@dataclass(frozen=True)
class _Step:
    source: Node
    conv: Conv
    factor: int
    subpixel: bool


def match_network(result: Node) -> Match:
    """Recognize a network.

    Raises:
        ModelError: it is neither RRDBNet nor SRVGGNetCompact; the first layer that differs is
            named.
    """
    inner = result.source if isinstance(result, Resized) else result
    return _match_compact(result) if isinstance(inner, Total) else _match_rrdbnet(result)


def _match_rrdbnet(result: Node) -> Match:
    last = _conv(result, "the last convolution")
    hr = _conv(_activated(last.source), "the convolution before the last")
    steps = _match_steps(hr.source)
    trunk = steps[0].source if steps else hr.source
    body, first = _match_trunk(trunk)
    blocks = _match_blocks(body.source, first)
    unshuffle = _match_input(first.source)
    factors = tuple(step.factor for step in steps)
    enlargement = math.prod(factors)
    if UPSCALING_STEPS.get(enlargement) != factors or enlargement % unshuffle:
        raise ModelError(f"is an RRDBNet that enlarges by {factors}, shrunk by {unshuffle} before")
    convs = {"conv_first": first, **_named_blocks(blocks), "conv_body": body}
    convs |= {f"conv_up{number}": step.conv for number, step in enumerate(steps, start=1)}
    return Match(
        _parameters(convs | {"conv_hr": hr, "conv_last": last}),
        {
            "scale_factor": enlargement // unshuffle,
            "pixel_unshuffle": unshuffle,
            "residual_scaling": _common_scaling(blocks),
            "use_subpixel_conv": any(step.subpixel for step in steps),
        },
    )


def _match_steps(node: Node) -> list[_Step]:
    """The up-scaling steps that lead to a node, the first step first."""
    steps: list[_Step] = []
    while not isinstance(node, Total):
        steps.append(_match_step(node))
        node = steps[-1].source
    if len({step.subpixel for step in steps}) > 1:
        raise _mismatch(node, "up-scaling steps that are all alike")
    return steps[::-1]


def _match_step(node: Node) -> _Step:
    """Activation after interpolation and convolution, or after convolution and pixel shuffle.

    The last two may change places: an activation does the same to every pixel.
    """
    shuffled, activated = 1, False
    while not isinstance(node, Conv):
        if isinstance(node, Activation) and not activated:
            node, activated = _activated(node), True
        elif isinstance(node, Shuffled) and not node.inverse and shuffled == 1:
            shuffled, node = node.factor, node.source
        else:
            raise _mismatch(node, "an up-scaling step")
    if not activated:
        raise _mismatch(node, "an activation after up-scaling")
    if shuffled > 1:
        return _Step(node.source, node, shuffled, subpixel=True)
    enlarged = node.source
    if not isinstance(enlarged, Resized) or enlarged.method != "nearest":
        raise _mismatch(enlarged, "an enlargement by the nearest pixel")
    return _Step(enlarged.source, node, _whole(enlarged), subpixel=False)


def _match_trunk(node: Node) -> tuple[Conv, Conv]:
    """The convolution after the blocks, and the first one; the trunk is their sum."""
    for body, first, factor in _residuals(node):
        starts = isinstance(first, Conv) and isinstance(first.source, NetworkInput | Shuffled)
        if starts and isinstance(first, Conv) and isinstance(body, Conv) and factor == 1:
            return body, first
    raise _mismatch(node, "the sum of the trunk and the first convolution")


def _match_input(node: Node) -> int:
    """The side of the squares that are folded into channels before the first convolution."""
    if isinstance(node, Shuffled) and node.inverse and isinstance(node.source, NetworkInput):
        return node.factor
    if isinstance(node, NetworkInput):
        return 1
    raise _mismatch(node, "the input")


def _match_blocks(node: Node, first: Node) -> list[list[_DenseBlock]]:
    """The dense blocks of each residual block, in the order of computation."""
    blocks: list[list[_DenseBlock]] = []
    while node is not first:
        blocks.append(_match_block(node))
        node = blocks[-1][0].source
    if not blocks:
        raise _mismatch(node, "residual blocks")
    return blocks[::-1]


def _match_block(node: Node) -> list[_DenseBlock]:
    for inner, source, scaling in _residuals(node):
        dense = _match_dense_blocks(inner, source)
        if dense and all(math.isclose(found.scaling, scaling, rel_tol=1e-3) for found in dense):
            return dense
    raise _mismatch(node, "a residual block of dense blocks")


def _match_dense_blocks(node: Node, source: Node) -> list[_DenseBlock]:
    """The dense blocks between two nodes; empty if there is something else between."""
    found: list[_DenseBlock] = []
    while node is not source:
        block = _match_dense_block(node)
        if block is None:
            return []
        found.append(block)
        node = block.source
    return found[::-1]


def _match_dense_block(node: Node) -> _DenseBlock | None:
    for fusing, source, scaling in _residuals(node):
        if not isinstance(fusing, Conv):
            continue
        parts = _parts(fusing.source)
        if parts[0] is not source:
            continue
        growing = [part.source for part in parts[1:] if isinstance(part, Activation)]
        convs = [conv for conv in growing if isinstance(conv, Conv)]
        if len(convs) == len(parts) - 1 and all(
            _is_same(_parts(conv.source), parts[:number])
            for number, conv in enumerate(convs, start=1)
        ):
            for part in parts[1:]:
                _activated(part)  # by the slope of RRDBNet
            return _DenseBlock(source, [*convs, fusing], scaling)
    return None


def _residuals(node: Node) -> Iterator[tuple[Node, Node, float]]:
    """Read a sum as (residual, base, factor of the residual), in both orders if possible."""
    if isinstance(node, Total) and len(node.terms) == 2:
        (a, first), (b, second) = node.terms
        if b == 1:
            yield first, second, a
        if a == 1:
            yield second, first, b


def _parts(node: Node) -> tuple[Node, ...]:
    return node.parts if isinstance(node, Joined) else (node,)


def _is_same(some: tuple[Node, ...], others: tuple[Node, ...]) -> bool:
    return len(some) == len(others) and all(a is b for a, b in zip(some, others, strict=True))


def _common_scaling(blocks: list[list[_DenseBlock]]) -> float:
    first = blocks[0][0].scaling
    for dense in blocks:
        for block in dense:
            if not math.isclose(block.scaling, first, rel_tol=1e-3):
                raise ModelError(
                    f"is an RRDBNet whose blocks have different residual scalings, {first:g} and "
                    f"{block.scaling:g}"
                )
    return first


def _named_blocks(blocks: list[list[_DenseBlock]]) -> dict[str, Conv]:
    return {
        f"body.{b}.rdb{d}.conv{c}": conv
        for b, block in enumerate(blocks)
        for d, dense in enumerate(block, start=1)
        for c, conv in enumerate(dense.convs, start=1)
    }


def _parameters(convs: dict[str, Conv]) -> dict[str, Array]:
    tensors: dict[str, Array] = {}
    for name, conv in convs.items():
        tensors |= {f"{name}.weight": conv.weight, f"{name}.bias": conv.bias}
    return tensors


def _match_compact(result: Node) -> Match:
    """Convolutions with activations and a pixel shuffle, whose result is added to the image."""
    inner = result.source if isinstance(result, Resized) else result
    made, enlarged = _match_base(inner)
    factor = _whole(enlarged) if isinstance(enlarged, Resized) else 1
    if isinstance(made, Shuffled) and not made.inverse and made.factor == factor:
        made = made.source
    elif factor > 1:
        raise _mismatch(made, f"a pixel shuffle by {factor}", "SRVGGNetCompact")
    tensors = _match_chain(made)
    *_, last = (tensor for name, tensor in tensors.items() if name.endswith(".weight"))
    channels = tensors["body.0.weight"].shape[1]
    if len(last) != channels * factor**2:
        raise ModelError(
            f"is an SRVGGNetCompact of x{factor} whose last convolution makes {len(last)} channels "
            f"of {channels}"
        )
    if not isinstance(result, Resized):
        return Match(tensors, {})
    scale = factor * result.factor
    if result.method != "bicubic" or scale not in UPSCALING_STEPS:
        raise _mismatch(result, "a bicubic resize to a scale of 1, 2, 3, 4 or 8", "SRVGGNetCompact")
    return Match(tensors, {"output_scale": int(scale)})


def _match_base(node: Node) -> tuple[Node, Node]:
    """The result of the layers, and the image or its enlargement, to which it is added."""
    for made, base, factor in _residuals(node):
        source = base.source if isinstance(base, Resized) else base
        if isinstance(source, NetworkInput) and factor == 1:
            return made, base
    raise _mismatch(node, "the sum with the enlarged image", "SRVGGNetCompact")


def _match_chain(node: Node) -> dict[str, Array]:
    """Alternating convolutions and activations, named by their numbers."""
    chain: list[Node] = []
    while isinstance(node, Conv | Activation):
        chain.append(node)
        node = node.source
    alternate = all(isinstance(part, (Conv, Activation)[i % 2]) for i, part in enumerate(chain))
    if not isinstance(node, NetworkInput) or not alternate or len(chain) % 2 == 0 or len(chain) < 3:
        raise _mismatch(node, "alternating convolutions and activations", "SRVGGNetCompact")
    tensors: dict[str, Array] = {}
    width = 0
    for number, part in enumerate(reversed(chain)):
        if isinstance(part, Conv):
            width = len(part.bias)
            tensors[f"body.{number}.weight"] = part.weight
            tensors[f"body.{number}.bias"] = part.bias
        elif isinstance(part, Activation):
            if len(part.slopes) not in (1, width):
                raise ModelError(f"is damaged: layer {part.name} has other slopes than channels")
            tensors[f"body.{number}.weight"] = np.broadcast_to(part.slopes, width).copy()
    return tensors


def _conv(node: Node, what: str) -> Conv:
    if not isinstance(node, Conv):
        raise _mismatch(node, what)
    return node


def _activated(node: Node) -> Node:
    """What a leaky ReLU with the slope of RRDBNet is applied to."""
    if not isinstance(node, Activation):
        raise _mismatch(node, "an activation")
    if len(node.slopes) != 1 or not math.isclose(node.slopes.item(), LEAKY_SLOPE, rel_tol=1e-3):
        raise _mismatch(node, f"an activation with the slope {LEAKY_SLOPE}")
    return node.source


def _whole(node: Resized) -> int:
    if node.factor != int(node.factor) or node.method != "nearest":
        raise _mismatch(node, "an enlargement by the nearest pixel, by a whole factor")
    return int(node.factor)


def _mismatch(node: Node, needed: str, network: str = "RRDBNet") -> ModelError:
    return ModelError(
        f"is an ncnn graph that differs from {network} at layer {node.name}, where that has "
        f"{needed}: {ONLY_TWO}"
    )

"""Memory that an ncnn graph needs per pixel."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from torch_sr.models.files.ncnn.expressions import KINDS
from torch_sr.models.files.ncnn.graph import Layer, parse_graph

_COPIES = 6.0
"""How often the largest layer's input and output are counted; 3.7 to 4.8 times were measured.

There are padded copies of them, their Winograd transforms, which are 1.8 times as large, and
earlier blobs that are not yet freed.
"""

_Blob = tuple[float, float]
"""Channels, and how many times larger each side is than that of the image."""


def bytes_per_pixel(text: str, channels: int) -> float:
    """Bytes that a graph needs per low-resolution pixel, in fp32.

    Args:
        text: of the graph.
        channels: of the image.
    """
    blobs: dict[str, _Blob] = {}
    largest = 0.0
    for layer in parse_graph(text, KINDS):
        read = [blobs[name] for name in layer.inputs]
        made = _result(layer, read, channels)
        blobs.update(dict.fromkeys(layer.outputs, made))
        largest = max(largest, sum(prod((*blob, blob[1])) for blob in (*read, made)))
    return 4 * _COPIES * largest


def _result(layer: Layer, read: Sequence[_Blob], channels: int) -> _Blob:
    if layer.kind == "Input":
        return channels, 1.0
    count, side = read[0]
    if layer.kind == "Convolution":
        return layer.integer(0), side
    if layer.kind == "Concat":
        return sum(each for each, _ in read), side
    if layer.kind == "Interp":
        return count, side * layer.number(1)
    factor = layer.integer(0)
    if layer.kind == "PixelShuffle":
        return count / factor**2, side * factor
    if layer.kind == "Reorg":
        return count * factor**2, side / factor
    return count, side

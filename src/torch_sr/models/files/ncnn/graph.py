"""Parse and format the text of a ``.param`` file: layers and blobs.

The first line is a magic number, the second counts layers and blobs, each further line is a layer::

    Convolution  Conv_4  1 1  196 198  0=32 1=3 4=1 5=1 6=27648 9=2 -23310=1,2.000000e-01
    type         name    counts blobs  parameters by number; an array has the key -23300 - number
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field

from torch_sr.errors import ModelError

MAGIC = "7767517"
_LARGEST = {int: 2**31, float: 3.5e38}  # what ncnn can hold
MAX_BYTES = 2**24
"""The longest graph that is read; that of 23 blocks has 117 kB."""

ONLY_TWO = "only ncnn files of RRDBNet and SRVGGNetCompact can be read"

Number = int | float
Value = Number | tuple[Number, ...]


@dataclass(frozen=True)
class Layer:
    """A line of the graph.

    Args:
        kind: type of layer, such as ``Convolution``.
        name: of the layer; only for error messages.
        inputs, outputs: names of blobs.
        params: by number; what they mean depends on the type.
    """

    kind: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    params: dict[int, Value] = field(default_factory=dict)

    def integer(self, key: int, default: int = 0) -> int:
        """A whole number; ModelError if it is something else."""
        value = self.params.get(key, default)
        if not isinstance(value, int):  # not 1.0 either: ncnn would read its bits as an integer
            raise ModelError(f"layer {self.name} has {key}={value}; a whole number is needed")
        return value

    def number(self, key: int, default: float = 0.0) -> float:
        """A number; ModelError if it is an array."""
        value = self.params.get(key, default)
        if isinstance(value, tuple):
            raise ModelError(f"layer {self.name} has an array as {key}; one number is needed")
        return value

    def array(self, key: int) -> tuple[float, ...]:
        """An array, empty if it is missing; one number counts as an array of one."""
        value = self.params.get(key, ())
        return value if isinstance(value, tuple) else (value,)


def parse_graph(text: str, kinds: Collection[str]) -> list[Layer]:
    """Read the layers of a graph, in their order.

    Args:
        text: of the file.
        kinds: types of layers that are supported; others are not parsed.

    Raises:
        ModelError: not a graph, truncated, has layers of other types, or its blobs do
            not fit together.
    """
    lines = [words for line in text.splitlines() if (words := line.split())]
    if not lines or lines[0] != [MAGIC]:
        raise ModelError(f"is not an ncnn graph: its first line must be {MAGIC}")
    counts = [_whole(word, "the second line") for word in lines[1]] if len(lines) > 1 else []
    if len(counts) != 2:
        raise ModelError("is truncated or damaged: its second line must count layers and blobs")
    if len(lines) - 2 != counts[0]:
        raise ModelError(
            f"is truncated or damaged: it announces {counts[0]} layers and has {len(lines) - 2}"
        )
    others = dict.fromkeys(words[0] for words in lines[2:] if words[0] not in kinds)
    if others:
        names = ", ".join(name[:40] for name in list(others)[:4])
        raise ModelError(f"is an ncnn graph with {names}: {ONLY_TWO}")
    layers = [_parse_layer(words) for words in lines[2:]]
    _check_blobs(layers, counts[1])
    return layers


def format_graph(layers: Sequence[Layer]) -> str:
    """Write layers as ncnn's own programs do."""
    blobs = sum(len(layer.outputs) for layer in layers)
    lines = [MAGIC, f"{len(layers)} {blobs}", *map(_format_layer, layers)]
    return "".join(f"{line}\n" for line in lines)


def _parse_layer(words: list[str]) -> Layer:
    kind, name = words[0], words[1] if len(words) > 1 else "without a name"
    if len(words) < 4:
        raise ModelError(f"is truncated or damaged: layer {name[:60]} has no inputs and outputs")
    place = f"layer {name[:60]}"
    inputs, outputs = (_whole(word, place) for word in words[2:4])
    end = 4 + inputs + outputs
    if inputs < 0 or outputs < 0 or end > len(words):
        raise ModelError(f"is truncated or damaged: names of blobs are missing in {place}")
    params = dict(_parse_param(word, place) for word in words[end:])
    return Layer(kind, name, tuple(words[4 : 4 + inputs]), tuple(words[4 + inputs : end]), params)


def _parse_param(word: str, place: str) -> tuple[int, Value]:
    key_text, _, text = word.partition("=")
    key = _whole(key_text, place)
    if key <= -23300:
        length, *values = text.split(",")
        if _whole(length, place) != len(values):
            raise ModelError(f"is damaged: {place} has an array of another length: {word[:60]}")
        return -key - 23300, tuple(_number(value, place) for value in values)
    if "," in text:  # newer programs write arrays this way
        return key, tuple(_number(value, place) for value in text.split(",") if value)
    return key, _number(text, place)


def _whole(text: str, place: str) -> int:
    value = _number(text, place)
    if not isinstance(value, int):
        raise ModelError(f"is damaged: {place} has {text[:40]!r}, not a whole number")
    return value


def _number(text: str, place: str) -> Number:
    """Parse a number as ncnn does: floating point has a dot or an exponent."""
    try:
        value = float(text) if any(mark in text for mark in ".eE") else int(text)
    except ValueError:
        value = math.nan
    if not abs(value) <= _LARGEST[type(value)]:
        raise ModelError(f"is damaged: {place} has {text[:40]!r}, not a number that ncnn can hold")
    return value


def _check_blobs(layers: Iterable[Layer], declared: int) -> None:
    """Check that each blob is made once, and before it is read."""
    made: set[str] = set()
    for layer in layers:
        for blob in layer.inputs:
            if blob not in made:
                raise ModelError(
                    f"is damaged: layer {layer.name} reads {blob}, which no earlier one makes"
                )
        for blob in layer.outputs:
            if blob in made:
                raise ModelError(f"is damaged: layer {layer.name} makes {blob} a second time")
            made.add(blob)
    if len(made) > declared:
        raise ModelError(f"is damaged: it announces {declared} blobs and has {len(made)}")


def _format_layer(layer: Layer) -> str:
    words = [f"{layer.kind:<24} {layer.name:<24} {len(layer.inputs)} {len(layer.outputs)}"]
    words += [*layer.inputs, *layer.outputs]
    for key, value in layer.params.items():
        if isinstance(value, tuple):
            values = ",".join(map(_format_number, value))
            words.append(f"{-23300 - key}={len(value)},{values}")
        else:
            words.append(f"{key}={_format_number(value)}")
    return " ".join(words)


def _format_number(value: Number) -> str:
    """At most 15 characters, which is what ncnn reads, and enough digits for a float32."""
    if isinstance(value, int):
        return str(value)
    short = f"{value:e}"
    return short if float(short) == value else f"{value:.8e}"

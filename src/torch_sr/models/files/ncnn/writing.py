"""RRDBNet and SRVGGNetCompact -> the two files of an ncnn model.

They are like those of Real-ESRGAN-ncnn-vulkan: the image is the blob ``data``, RGB in
[0, 1], the result ``output``; activations are part of the convolutions, and weights, but not
biases, may be float16.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from torch_sr.aliases import Floats
from torch_sr.files import atomic_write
from torch_sr.models.files.ncnn.graph import Layer, Value, format_graph
from torch_sr.models.files.ncnn.reading import weights_path
from torch_sr.models.files.ncnn.weights import write_weights
from torch_sr.networks.configs import LEAKY_SLOPE, RRDBConfig

INPUT, OUTPUT = "data", "output"


class Graph:
    """A network as ncnn has it: layers, and numbers in their order."""

    def __init__(self) -> None:
        self._layers: list[Layer] = []
        self.blobs: list[tuple[Floats, bool]] = []
        self.add("Input", INPUT, (), {})

    def add(self, kind: str, blob: str, inputs: Sequence[str], params: dict[int, Value]) -> str:
        """Append a layer; its blob has its name."""
        self._layers.append(Layer(kind, blob, tuple(inputs), (blob,), params))
        return blob

    def conv(self, name: str, state: Mapping[str, Floats], source: str, *, leaky: bool) -> str:
        """Append a convolution of 3x3 and, if ``leaky``, the activation of RRDBNet."""
        weight, bias = state[f"{name}.weight"], state[f"{name}.bias"]
        params: dict[int, Value] = {0: len(weight), 1: 3, 4: 1, 5: 1, 6: weight.size}
        if leaky:
            params |= {9: 2, 10: (LEAKY_SLOPE,)}
        self.blobs += [(weight, True), (bias, False)]
        return self.add("Convolution", name, [source], params)

    def join(self, blob: str, parts: Sequence[str]) -> str:
        """Append a concatenation of channels."""
        return self.add("Concat", blob, parts, {}) if len(parts) > 1 else parts[0]

    def add_scaled(self, blob: str, residual: str, source: str, factor: float) -> str:
        """Append ``source + factor * residual``."""
        return self.add("Eltwise", blob, [residual, source], {0: 1, 1: (float(factor), 1.0)})

    def resize(self, blob: str, source: str, factor: float, *, bicubic: bool = False) -> str:
        """Append a resize, nearest or bicubic."""
        method = 3 if bicubic else 1
        return self.add("Interp", blob, [source], {0: method, 1: float(factor), 2: float(factor)})

    def layers(self) -> list[Layer]:
        """All layers; the last one makes ``output``, and blobs with several readers are split."""
        *others, last = self._layers
        return list(
            _split([*others, Layer(last.kind, last.name, last.inputs, (OUTPUT,), last.params)])
        )


def graph_of_rrdbnet(state: Mapping[str, Floats], config: RRDBConfig) -> Graph:
    """RRDBNet, of any size.

    Args:
        state: its parameters.
        config: its hyper-parameters.
    """
    graph = Graph()
    source = INPUT
    if config.pixel_unshuffle > 1:
        source = graph.add("Reorg", "unshuffled", [source], {0: config.pixel_unshuffle})
    shallow = graph.conv("conv_first", state, source, leaky=False)
    deep = shallow
    for number in range(config.num_basic_blocks):
        deep = _add_block(graph, state, f"body.{number}", deep, config)
    deep = graph.conv("conv_body", state, deep, leaky=False)
    blob = graph.add("BinaryOp", "trunk", [shallow, deep], {0: 0})
    for number, factor in enumerate(config.upscaling_steps, start=1):
        if config.use_subpixel_conv:  # the activation does the same before the shuffle
            blob = graph.conv(f"conv_up{number}", state, blob, leaky=True)
            blob = graph.add("PixelShuffle", f"shuffled{number}", [blob], {0: factor})
        else:
            blob = graph.resize(f"enlarged{number}", blob, factor)
            blob = graph.conv(f"conv_up{number}", state, blob, leaky=True)
    blob = graph.conv("conv_hr", state, blob, leaky=True)
    graph.conv("conv_last", state, blob, leaky=False)
    return graph


def graph_of_compact(state: Mapping[str, Floats], output_scale: int | None = None) -> Graph:
    """SRVGGNetCompact, of any size.

    Args:
        state: its parameters.
        output_scale: resize the result to this scale.
    """
    graph = Graph()
    last = max(int(name.split(".")[1]) for name in state)
    blob = INPUT
    for number in range(last + 1):
        name = f"body.{number}"
        if number % 2 == 0:
            blob = graph.conv(name, state, blob, leaky=False)
        else:
            slopes = state[f"{name}.weight"]
            graph.blobs.append((slopes, False))
            blob = graph.add("PReLU", name, [blob], {0: slopes.size})
    channels = state["body.0.weight"].shape[1]
    scale = round((len(state[f"body.{last}.bias"]) / channels) ** 0.5)
    base = INPUT
    if scale > 1:
        blob = graph.add("PixelShuffle", "shuffled", [blob], {0: scale})
        base = graph.resize("enlarged", base, scale)
    blob = graph.add("BinaryOp", "sum", [blob, base], {0: 0})
    if output_scale not in (None, scale):
        graph.resize("resized", blob, output_scale / scale, bicubic=True)
    return graph


def write_ncnn(path: Path, graph: Graph, *, half: bool) -> None:
    """Write a ``.param`` and the ``.bin`` next to it, both completely or neither.

    Args:
        path: the ``.param``; its folder must exist.
        graph: the network.
        half: store weights, but not biases, as float16.

    Raises:
        OSError: one of the two cannot be written.
    """
    text = format_graph(graph.layers())
    with atomic_write(path) as layers, atomic_write(weights_path(path)) as numbers:
        write_weights(numbers, graph.blobs, half=half)
        layers.write_text(text, encoding="utf-8", newline="\n")


def _add_block(
    graph: Graph, state: Mapping[str, Floats], name: str, source: str, config: RRDBConfig
) -> str:
    """Append a residual-in-residual block."""
    scaling, blob = config.residual_scaling, source
    for dense in range(1, config.num_dense_blocks + 1):
        place, features = f"{name}.rdb{dense}", [blob]
        for number in range(1, config.num_residual_blocks):
            joined = graph.join(f"{place}.cat{number}", features)
            features.append(graph.conv(f"{place}.conv{number}", state, joined, leaky=True))
        joined = graph.join(f"{place}.cat{len(features)}", features)
        fused = graph.conv(f"{place}.conv{len(features)}", state, joined, leaky=False)
        blob = graph.add_scaled(place, fused, blob, scaling)
    return graph.add_scaled(name, blob, source, scaling)


def _split(layers: Sequence[Layer]) -> Iterator[Layer]:
    """Give every reader of a blob its own copy, as ncnn requires."""
    uses = Counter(blob for layer in layers for blob in layer.inputs)
    left = Counter(uses)
    splits = 0
    for layer in layers:
        inputs = []
        for blob in layer.inputs:
            left[blob] -= 1
            inputs.append(f"{blob}_splitncnn_{left[blob]}" if uses[blob] > 1 else blob)
        yield Layer(layer.kind, layer.name, tuple(inputs), layer.outputs, layer.params)
        for blob in layer.outputs:
            if uses[blob] > 1:
                outputs = tuple(f"{blob}_splitncnn_{i}" for i in range(uses[blob]))
                yield Layer("Split", f"splitncnn_{splits}", (blob,), outputs)
                splits += 1

"""An ONNX file -> a network; its sizes are recorded, or found by running it.

Files that ``torch-sr export`` wrote have records. Those of other programs must be a network from
one image in [0, 1] to another; their scale factor, channels and sizes are found with small images.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import cast

import numpy as np

from torch_sr.errors import MissingExtraError, ModelError
from torch_sr.models.info import ModelInfo, Tiling
from torch_sr.models.onnx.network import OnnxNetwork
from torch_sr.models.onnx.session import TYPES, Session, first_line
from torch_sr.tiling import largest_overlap

SUFFIX = ".onnx"
FORMAT = "torch-sr"
"""The record ``format`` of files that ``torch-sr export`` wrote."""
_CHANNELS = (3, 1, 4)
_NUMBERS: dict[str, tuple[Container[int], str]] = {
    "scale": (range(1, 65), "a whole number from 1 to 64"),
    "channels": (_CHANNELS, "1, 3 or 4"),
    "overlap": (range(129), "a whole number from 0 to 128"),
    "minimum": (range(1, 1025), "a whole number from 1 to 1024"),
    "parameters": (range(10**15), "a whole number of up to 15 digits"),
}
"""The records that are numbers, and what they may be: more would exhaust the memory."""
_PRECISIONS = ("fp32", "fp16")
_MULTIPLES = (1, 2, 4, 8, 16, 32, 64)
_PROBE = 64  # pixels a side: a multiple of every window in use
_TRIAL = (24, 32)  # height and width of the image that records are checked with: quick
_REMEDY = "name a network that makes one image (N, C, H, W) in [0, 1] of another"


def read_onnx(path: Path) -> tuple[OnnxNetwork, ModelInfo]:
    """Read an ONNX file that super-resolves images.

    Raises:
        ModelError: the file cannot be read, or does something else.
        MissingExtraError: ONNX Runtime is not installed.
    """
    session = Session(path)
    records = session.records
    if records.get("format") != FORMAT:
        records = {}  # keys of other programs may mean other things
    try:
        shape = _find_shape(session)
        network = OnnxNetwork(
            path,
            scale_factor=_number(records, "scale") or 1,
            img_channels=_number(records, "channels") or 3,
            precision=_recorded_precision(records) or _precision(session),
            size=_fixed_size(shape),
            least=_number(records, "minimum") or 1,
            batch=shape[0] if isinstance(shape[0], int) else None,
            overlap=_recorded_overlap(records, _fixed_size(shape)),
        )
        if records:
            _check_result(network, session)
        else:
            network = _try_sizes(network, session, shape[1])
        return network, _describe(network, records)
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from error


def _find_shape(session: Session) -> list[int | str | None]:
    """The shape of the only input; sizes that may differ are names or None."""
    if len(session.inputs) != 1:
        raise ModelError(f"{_REMEDY}; this one has {len(session.inputs)} inputs")
    kind, shape = session.inputs[0]
    if kind not in TYPES:
        raise ModelError(f"{_REMEDY}, as float32 or float16; this one takes {kind}")
    if len(shape) != 4 or (shape[3] in _CHANNELS and shape[1] not in _CHANNELS):
        sizes = ", ".join(str(size or "?") for size in shape)
        raise ModelError(f"{_REMEDY}; this one takes ({sizes})")
    if isinstance(shape[1], int) and shape[1] not in _CHANNELS:
        raise ModelError(f"{_REMEDY}, with 1, 3 or 4 channels; this one takes {shape[1]}")
    return shape


def _precision(session: Session) -> str:
    return "fp16" if TYPES[session.inputs[0][0]] == np.float16 else "fp32"


def _fixed_size(shape: list[int | str | None]) -> tuple[int, int] | None:
    height, width = shape[2:]
    if isinstance(height, int) and isinstance(width, int):
        return height, width
    if isinstance(height, int) or isinstance(width, int):
        raise ModelError(f"make height and width both fixed or both free; it takes {shape[2:]}")
    return None


def _number(records: Mapping[str, str], key: str) -> int | None:
    """A recorded number; None if there is no record of it.

    Raises:
        ModelError: it is not a number that can be used.
    """
    if (text := records.get(key)) is None:
        return None
    allowed, words = _NUMBERS[key]
    is_whole = text.isascii() and text.isdecimal() and len(text) < 20
    if not is_whole or int(text) not in allowed:
        raise ModelError(f"export it again; its record {key} is {text[:40]!r}, not {words}")
    return int(text)


def _recorded_precision(records: Mapping[str, str]) -> str | None:
    text = records.get("precision")
    if text is not None and text not in _PRECISIONS:
        known = " or ".join(_PRECISIONS)
        raise ModelError(f"export it again; its record precision is {text[:40]!r}, not {known}")
    return text


def _recorded_overlap(records: Mapping[str, str], size: tuple[int, int] | None) -> int | None:
    """The recorded overlap, or the most that tiles of the only size can have."""
    overlap = _number(records, "overlap")
    if overlap is None or size is None:
        return overlap
    return min(overlap, largest_overlap(size))


def _check_result(network: OnnxNetwork, session: Session) -> None:
    """Refuse records that are wrong: the result of an image has another shape.

    For a large image of a fixed size, the shape that the graph declares is enough.
    """
    height, width = network.size or (max(side, network.least) for side in _TRIAL)
    shape = (network.batch or 1, network.img_channels, height, width)
    try:
        found = tuple(session.output_shape)
        if not network.size or not all(isinstance(side, int) for side in found):
            found = _run_on(network, session, network.img_channels, height, width)
    except Exception as error:  # ONNX Runtime has a class for every code
        raise ModelError(
            f"export it again; it cannot be run on {shape}: {first_line(error)}"
        ) from error
    if found != (expected := network.result_shape(shape)):
        raise ModelError(
            f"export it again; from {shape} it makes {found}, and by its records {expected}"
        )


def _try_sizes(network: OnnxNetwork, session: Session, channels: int | str | None) -> OnnxNetwork:
    """Find the channels, the scale factor, and the multiple that sides have to be of."""
    numbers = (channels,) if isinstance(channels, int) else _CHANNELS
    height, width = network.size or (_PROBE, _PROBE)
    reason = ""
    for number in numbers:
        try:
            shape = _run_on(network, session, number, height, width)
        except Exception as error:  # ONNX Runtime has a class for every code
            reason = first_line(error)
            continue
        scale = shape[2] // height if len(shape) == 4 else 0
        if scale < 1 or shape[1:] != (number, height * scale, width * scale):
            raise ModelError(f"{_REMEDY}; this one makes {shape} of {(1, number, height, width)}")
        found = replace(network, img_channels=number, scale_factor=scale)
        return found if found.size else replace(found, multiple=_find_multiple(found, session))
    raise ModelError(f"{_REMEDY}; this one cannot be run on {width}x{height} pixels: {reason}")


def _find_multiple(network: OnnxNetwork, session: Session) -> int:
    """The least number of which the sides of images have to be multiples."""
    for multiple in _MULTIPLES:
        if _takes(network, session, _PROBE + multiple, _PROBE + 2 * multiple):
            return multiple
    raise ModelError(
        f"export it again, for images of any size or of one fixed size; it takes {_PROBE}x{_PROBE} "
        "pixels, and other sizes fail"
    )


def _takes(network: OnnxNetwork, session: Session, height: int, width: int) -> bool:
    """Whether a network gives the right result for a size, as far as its shape shows."""
    channels, scale = network.img_channels, network.scale_factor
    try:
        shape = _run_on(network, session, channels, height, width)
    except Exception:  # ONNX Runtime has a class for every code
        return False
    return shape[1:] == (channels, height * scale, width * scale)


def _run_on(
    network: OnnxNetwork, session: Session, channels: int, height: int, width: int
) -> tuple[int, ...]:
    """The shape of the result for a gray image."""
    lr = np.full((network.batch or 1, channels, height, width), 0.5, np.float32)
    return session(lr).shape


def _describe(network: OnnxNetwork, records: Mapping[str, str]) -> ModelInfo:
    path = network.path
    tiling = records.get("tiling", "free")
    half = network.precision == "fp16"
    recorded = _number(records, "parameters")
    return ModelInfo(
        path=path,
        name=records.get("name", path.stem),
        architecture=records.get("architecture", "unknown"),
        layout="onnx",
        scale_factor=network.scale_factor,
        img_channels=network.img_channels,
        num_parameters=_count_parameters(path) if recorded is None else recorded,
        dtype="float16" if half else "float32",
        metadata=dict(sorted(records.items())),
        precisions=(network.precision,),
        tiling=cast("Tiling", tiling if tiling in ("avoided", "never") else "free"),
        restriction=None,
    )


def _count_parameters(path: Path) -> int:
    """The numbers that are stored in the graph, without reading those of other files."""
    try:
        import onnx
    except ImportError as error:
        raise MissingExtraError("onnx", "onnx") from error
    graph = onnx.load(path, load_external_data=False).graph
    return sum(prod(each.dims) for each in graph.initializer)

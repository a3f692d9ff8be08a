"""Describe a weights file: sizes, cost, receptive field, types, hashes."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from torch_sr.errors import ModelError
from torch_sr.files import find_digest
from torch_sr.models.info import ModelInfo
from torch_sr.models.reading import read_model
from torch_sr.networks.rrdb import RRDBNet

_PROBE = 64  # pixels a side: a multiple of every window in use


@dataclass(frozen=True)
class ModelReport:
    """The description of a model.

    Args:
        info: what loading found.
        num_bytes, sha256: of the file; for ncnn the size of both files, and the hash of the
            ``.bin``, which has the numbers.
        weights_sha256: of the parameters; see :mod:`torch_sr.models.files.records`.
        tensor_types: how many tensors there are of each type.
        macs_per_pixel: multiply-accumulate operations for each pixel of the input; None for an
            ONNX file.
        receptive_field: side, in pixels of the input, of the square that one pixel of the output
            may depend on, by counting layers; None for architectures other than RRDBNet.
        license: as recorded, otherwise that of the architecture if it is restrictive.
    """

    info: ModelInfo
    num_bytes: int
    sha256: str
    weights_sha256: str
    tensor_types: dict[str, int]
    macs_per_pixel: int | None
    receptive_field: int | None
    license: str | None

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON; records that are JSON are parsed."""
        found = self.info.to_dict()
        metadata = {key: _parsed(value) for key, value in found.pop("metadata").items()}
        own = {key: value for key, value in vars(self).items() if key != "info"}
        return {**found, **own, "metadata": metadata}


def inspect_model(path: str | Path) -> ModelReport:
    """Read a weights file and describe it.

    Raises:
        ModelError: the file cannot be read, or has no usable generator.
    """
    model = read_model(path)
    network, info = model.network, model.info
    return ModelReport(
        info=info,
        num_bytes=sum(file.stat().st_size for file in info.files),
        sha256=find_digest(info.files[-1], "sha256"),
        weights_sha256=model.weights_sha256,
        tensor_types=info.tensor_types,
        macs_per_pixel=None if model.onnx else count_macs(network, info.img_channels),
        receptive_field=receptive_field(network) if isinstance(network, RRDBNet) else None,
        license=info.metadata.get("license") or info.restriction,
    )


def verify_model(path: str | Path) -> None:
    """Check that a file has a usable generator, and the parameters that were written to it.

    Raises:
        ModelError: it does not.
    """
    model = read_model(path)
    recorded, found = model.info.metadata.get("weights_sha256"), model.weights_sha256
    if recorded not in (None, found):
        raise ModelError(
            f"{path} is damaged or was changed: its parameters have the SHA-256 {found}, and "
            f"{recorded} is recorded; download or create it again"
        )


def count_macs(network: nn.Module, img_channels: int) -> int:
    """Multiply-accumulate operations of convolutions and matrices, for each pixel of the input."""
    from torch.utils.flop_counter import FlopCounterMode

    if isinstance(network, RRDBNet):  # only its shapes are needed
        with torch.device("meta"):
            network = RRDBNet.from_config(network.config).eval()
    device = next((parameter.device for parameter in network.parameters()), "cpu")
    image = torch.zeros(1, img_channels, _PROBE, _PROBE, device=device)
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        network(image)
    return int(counter.get_total_flops()) // 2 // _PROBE**2


def receptive_field(network: RRDBNet) -> int:
    """Side of the square of the input that one pixel of the output may depend on.

    Pixels of the output depend on squares of different sizes; this is the largest.
    """
    config = network.config
    convolutions = 2  # the first one, and the one after the blocks
    convolutions += config.num_basic_blocks * config.num_dense_blocks * config.num_residual_blocks
    widest = 0
    for place in range(config.enlargement):
        low, high = place - 2, place + 2  # conv_hr and conv_last
        for factor in reversed(config.upscaling_steps):
            if config.use_subpixel_conv:  # the convolution comes before the enlargement
                low, high = low // factor - 1, high // factor + 1
            else:
                low, high = (low - 1) // factor, (high + 1) // factor
        widest = max(widest, high - low + 1)
    return (widest + 2 * convolutions) * config.pixel_unshuffle


def _parsed(value: str) -> Any:
    """The value of a record if it is a JSON object or list, otherwise its text."""
    if value[:1] in ("{", "["):
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value

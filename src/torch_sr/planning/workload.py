"""Describe a job: its images, its network and its devices."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any

from torch_sr.errors import ConfigError
from torch_sr.models.inspection import count_macs
from torch_sr.models.model import Model
from torch_sr.models.weights import canonical_name, find_pair
from torch_sr.networks.rrdb import RRDBNet

FORMATS = ("jpg", "png", "webp")
"""The formats of which sizes and times are known."""
_PROBE = 64  # pixels a side


@dataclass(frozen=True)
class NetworkCost:
    """The work of a network for one pixel of its input.

    Args:
        name: of the model.
        architecture: such as ``RRDBNet``.
        scale_factor: how many times higher and wider the result is.
        macs: multiply-adds.
        half_bytes: bytes of the inputs and outputs of all layers in half precision, each counted
            once: the least that moves between the processor and the memory of a GPU without fusion.
        overlap: pixels that the network sees around each tile; None if that is not recorded.
    """

    name: str
    architecture: str
    scale_factor: int
    macs: float
    half_bytes: float = 0.0
    overlap: int | None = None

    @classmethod
    def of(cls, model: Model, name: str | None = None) -> NetworkCost:
        """Count the work of a model by calling it with the shape of a small image.

        Args:
            model: to count.
            name: by default that of the model.

        Raises:
            ModelError: it is an ONNX file.
        """
        model.require_weights("count")
        return cls(
            name=name or model.info.name,
            architecture=model.info.architecture,
            scale_factor=model.scale_factor,
            macs=count_macs(model.network, model.img_channels),
            half_bytes=_count_bytes(model),
            overlap=_recorded_overlap(model),
        )


@dataclass(frozen=True)
class Workload:
    """A job.

    Args:
        images: how many.
        megapixels: of each source, in millions of pixels.
        device: ``cpu`` for one core, or a name of the constants.
        devices: how many; None for as many as ``hours`` needs.
        hours: the time there is; None for any.
        source_format, result_format: of :data:`FORMATS`.
        source_megabytes, result_megabytes: mean sizes of files, in millions of bytes; None for
            those of measured photographs.
        months: how long the results are stored.
        device_price: US dollars of a device for an hour, with its share of the machine; None if
            unknown.
        transfer_price: US dollars of a gigabyte (10^9 bytes) in or out; None if unknown.

    Raises:
        ConfigError: a value is impossible.
    """

    images: int
    megapixels: float
    device: str
    devices: int | None = None
    hours: float | None = None
    source_format: str = "jpg"
    result_format: str = "jpg"
    source_megabytes: float | None = None
    result_megabytes: float | None = None
    months: float = 1.0
    device_price: float | None = None
    transfer_price: float | None = None

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            if isinstance(value, (int, float)):
                _check_number(each.name, value)
        for name in ("source_format", "result_format"):
            if (value := getattr(self, name)) not in FORMATS:
                raise ConfigError(f"{name} {value!r}: the formats are {', '.join(FORMATS)}")
        if self.devices is not None and self.hours is not None:
            raise ConfigError("devices and hours: give one of them; the other one follows from it")

    def size(self) -> tuple[int, int]:
        """Height and width of a source, of the proportions 2:3."""
        pixels = self.megapixels * 1e6
        height = max(1, round(math.sqrt(pixels / 1.5)))
        return height, max(1, round(pixels / height))


def _check_number(name: str, value: float) -> None:
    if not (math.isfinite(value) and value >= 0):
        least = "of 0 or more" if name.endswith("_price") else "above 0"
        raise ConfigError(f"{name} {value:g}: write a number {least}")
    if value == 0 and not name.endswith("_price"):
        raise ConfigError(f"{name} 0: write a number above 0")


def _recorded_overlap(model: Model) -> int | None:
    """The overlap of a model that ships; None for others."""
    if (pair := find_pair(model.info.name)) is None:
        return None
    strength = model.info.strength
    if strength is None:
        strength = 0.0 if canonical_name(model.info.name) == pair.faithful else 1.0
    return pair.overlaps.get(strength)


def _count_bytes(model: Model) -> float:
    """Bytes of the inputs and outputs of layers in half precision, for each pixel of the input."""
    import torch

    network = model.network
    if isinstance(network, RRDBNet):  # only its shapes are needed
        with torch.device("meta"):
            network = RRDBNet.from_config(network.config).eval()
    numbers = 0

    def add(_: Any, inputs: Any, output: Any) -> None:
        nonlocal numbers
        tensors = [*inputs, output]
        numbers += sum(each.numel() for each in tensors if isinstance(each, torch.Tensor))

    leaves = [module for module in network.modules() if not list(module.children())]
    hooks = [module.register_forward_hook(add) for module in leaves]
    device = next((parameter.device for parameter in network.parameters()), "cpu")
    try:
        with torch.inference_mode():
            network(torch.zeros(1, model.img_channels, _PROBE, _PROBE, device=device))
    finally:
        for hook in hooks:
            hook.remove()
    return 2.0 * numbers / _PROBE**2

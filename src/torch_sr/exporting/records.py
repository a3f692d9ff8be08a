"""The records of an exported file: scale, channels, license, overlap, hashes."""

from __future__ import annotations

from torch_sr._version import __version__
from torch_sr.exporting.portable import least_side
from torch_sr.inference.upscaler import Upscaler
from torch_sr.models.files.records import ANNOTATIONS, UNSTATED
from torch_sr.models.inspection import receptive_field
from torch_sr.models.model import Model
from torch_sr.models.onnx.reading import FORMAT
from torch_sr.networks.rrdb import RRDBNet

COLORS = {1: "gray", 3: "RGB", 4: "RGBA"}
"""What the channels of an image are, by their number."""


def export_records(model: Model, *, half: bool, overlap: int | None) -> dict[str, str]:
    """The records of an exported file, all as text.

    Args:
        model: that is exported.
        half: whether it computes, or stores its parameters, in float16.
        overlap: see :func:`find_overlap`.
    """
    info = model.info
    found: dict[str, object] = {
        "format": FORMAT,
        "version": __version__,
        "name": info.name,
        "architecture": info.architecture,
        "scale": model.scale_factor,
        "channels": model.img_channels,
        "color": COLORS[model.img_channels],
        "range": "0 to 1",
        "shape": "NCHW",
        "precision": "fp16" if half else "fp32",
        "tiling": info.tiling,
        "parameters": info.num_parameters,
        "source_sha256": model.weights_sha256,
    }
    found |= {key: info.metadata[key] for key in ANNOTATIONS if key in info.metadata}
    found["license"] = info.metadata.get("license") or info.restriction or UNSTATED
    if overlap is not None:
        found["overlap"] = overlap
    if (least := least_side(model)) > 1:
        found["minimum"] = least
    if isinstance(model.network, RRDBNet):
        found["receptive_field"] = receptive_field(model.network)
    if info.strength is not None:
        found["strength"] = info.strength
    return {key: str(value) for key, value in found.items()}


def find_overlap(model: Model) -> int | None:
    """The overlap that tiles need, in low-resolution pixels; None if there must be no tiles.

    The recorded one of a shipped model, otherwise measured.
    """
    if model.info.tiling == "never":
        return None
    return Upscaler(model, device="cpu", precision="fp32").overlap

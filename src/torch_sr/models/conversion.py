"""One weights file -> another: layouts, file formats and number types, for other programs."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import torch

from torch_sr.errors import ModelError
from torch_sr.models.loading import load_generator
from torch_sr.models.rrdb import RRDBNet
from torch_sr.models.saving import default_layout, save_generator
from torch_sr.models.zoo import find_model

_log = logging.getLogger(__name__)

SPANDREL_SIZES = {
    "growth_channels": 32,
    "num_dense_blocks": 3,
    "num_residual_blocks": 5,
    "residual_scaling": 0.2,
    "use_subpixel_conv": False,
}
"""Sizes of an RRDBNet that spandrel, and so chaiNNer and ComfyUI, takes for granted."""
_SPANDREL_SCALES = (1, 2, 4, 8)

DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


def find_dtype(name: str) -> torch.dtype:
    """The type of that name.

    Raises:
        ModelError: there is none.
    """
    if name not in DTYPES:
        raise ModelError(f"dtype {name!r} is unknown; use {', '.join(DTYPES)}")
    return DTYPES[name]


def convert(
    source: str | Path,
    target: str | Path,
    *,
    layout: str | None = None,
    dtype: str | None = None,
) -> Path:
    """Write the generator of a weights file of any layout in another form.

    Args:
        source: any file that :func:`~torch_sr.models.loading.load_generator` reads, or a name.
        target: ends in ``.safetensors``, ``.pth`` or ``.pt``.
        layout: ``old`` (ESRGAN of 2018), ``mid`` (xinntao/ESRGAN), ``new`` (BasicSR, Real-ESRGAN)
            or ``enhanced-srgan``; by default what suits the file.
        dtype: ``fp32``, ``fp16`` or ``bf16``; by default that of the source.

    Returns:
        The file written. Stage and other records go along where the layout holds them. A warning
        is logged where programs that are built on spandrel cannot load it.

    Raises:
        ModelError: what cannot be read, written, or held; a network that is no RRDBNet.
        DownloadError: a model of that name cannot be fetched.

    >>> import tempfile, torch_sr
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = torch_sr.convert("compact-x4", f"{folder}/a.pth", layout="old", dtype="fp32")
    ...     info = torch_sr.load(file).info
    >>> info.layout, info.dtype
    ('old', 'float32')
    """
    source, target = find_model(source), Path(target)
    loaded = load_generator(source)
    if not isinstance(loaded.network, RRDBNet):
        raise ModelError(f"{source} is a {loaded.info.architecture}; only RRDBNet is converted")
    stored = getattr(torch, loaded.info.dtype)
    chosen = stored if dtype is None else find_dtype(dtype)
    if target.exists() and target.samefile(source):
        raise ModelError(f"{target} is the source; give another name")
    save_generator(
        target,
        loaded.network,
        stage=loaded.info.stage,
        metadata=loaded.info.metadata,
        dtype=chosen,
        layout=layout,
    )
    for obstacle in find_obstacles(loaded.network, target, layout):
        _log.warning("%s: chaiNNer and ComfyUI cannot load this model: %s", target, obstacle)
    return target


def find_obstacles(network: RRDBNet, target: Path, layout: str | None) -> Iterator[str]:
    """Why programs that load models through spandrel cannot load a file that is written.

    Args:
        network: of the file.
        target: the file, whose suffix chooses the layout where none is named.
        layout: see :func:`convert`.
    """
    if (layout or default_layout(target)) == "enhanced-srgan":
        yield "they do not know the layout enhanced-srgan; write --layout old"
    for key, expected in SPANDREL_SIZES.items():
        if (value := network.hparams[key]) != expected:
            yield f"they expect {key} {expected}, not {value}"
    scale = network.hparams["scale_factor"] * network.hparams["pixel_unshuffle"]
    if scale not in _SPANDREL_SCALES:
        yield f"they expect a scale factor of 1, 2, 4 or 8, not {network.hparams['scale_factor']}"

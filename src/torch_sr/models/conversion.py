"""One weights file -> another: layouts, file formats and number types, for other programs.

RRDBNet is converted, and SRVGGNetCompact, the other network that Real-ESRGAN's models have.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import torch

from torch_sr.errors import ModelError
from torch_sr.models.files.writing import (
    NCNN,
    default_layout,
    save_compact,
    save_generator,
    written_files,
)
from torch_sr.models.foreign import COMPACT, ForeignGenerator
from torch_sr.models.inspection import stored_state
from torch_sr.models.loading import LoadedGenerator, load_generator
from torch_sr.models.zoo import find_model, with_records
from torch_sr.networks.rrdb import RRDBConfig, RRDBNet

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
_NCNN_SCALES = (2, 3, 4)

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
        target: ends in ``.safetensors``, ``.pth``, ``.pt`` or, for ncnn, ``.param``, beside which a
            ``.bin`` is written.
        layout: ``old`` (ESRGAN of 2018), ``mid`` (xinntao/ESRGAN), ``new`` (BasicSR, Real-ESRGAN)
            or ``enhanced-srgan``; by default what suits the file. ncnn and SRVGGNetCompact have
            one form each.
        dtype: ``fp32``, ``fp16`` or ``bf16`` (not for ncnn); by default that of the source,
            or fp32 where the source is a file of ncnn and the target is none.

    Returns:
        The file written. Stage and other records go along where the layout holds them. A warning
        is logged where other programs that the form is for cannot use it.

    Raises:
        ModelError: what cannot be read, written, or held; a network that is neither RRDBNet nor
            SRVGGNetCompact.
        DownloadError: a model of that name cannot be fetched.

    >>> import tempfile, torch_sr
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = torch_sr.convert("compact-x4", f"{folder}/a.pth", layout="old", dtype="fp32")
    ...     info = torch_sr.load(file).info
    >>> info.layout, info.dtype
    ('old', 'float32')
    """
    source, target = find_model(source), Path(target)
    loaded = with_records(load_generator(source))
    _check_not_source(source, loaded, target)
    chosen = _choose_dtype(loaded, target, dtype)
    if isinstance(loaded.network, RRDBNet):
        save_generator(
            target,
            loaded.network,
            stage=loaded.info.stage,
            metadata=loaded.info.metadata,
            dtype=chosen,
            layout=layout,
        )
    else:
        _save_compact(source, loaded, target, chosen, layout)
    if target.suffix.lower() == NCNN:
        for obstacle in find_ncnn_obstacles(loaded.info.config, loaded.info.scale_factor):
            _log.warning("%s: %s", target, obstacle)
    elif isinstance(loaded.network, RRDBNet):
        for obstacle in find_obstacles(loaded.network, target, layout):
            _log.warning("%s: chaiNNer and ComfyUI cannot load this model: %s", target, obstacle)
    return target


def _check_not_source(source: Path, loaded: LoadedGenerator, target: Path) -> None:
    files = [source, *loaded.info.files]
    for file in written_files(target):
        if any(file.exists() and own.exists() and file.samefile(own) for own in files):
            raise ModelError(f"{file} is the source; give another name")


def _choose_dtype(loaded: LoadedGenerator, target: Path, dtype: str | None) -> torch.dtype:
    """The type that is asked for, otherwise that of the source where the form has it."""
    if dtype is not None:
        return find_dtype(dtype)
    stored: torch.dtype = getattr(torch, loaded.info.dtype)
    from_ncnn, to_ncnn = loaded.info.layout == "ncnn", target.suffix.lower() == NCNN
    if from_ncnn != to_ncnn and not (to_ncnn and stored == torch.float16):
        return torch.float32  # ncnn has no other type, and biases in float32 beside weights in half
    return stored


def _save_compact(
    source: Path,
    loaded: LoadedGenerator,
    target: Path,
    dtype: torch.dtype,
    layout: str | None,
) -> None:
    network = loaded.network
    if not isinstance(network, ForeignGenerator) or network.architecture != COMPACT:
        raise ModelError(
            f"{source} is a {loaded.info.architecture}; only RRDBNet and SRVGGNetCompact are "
            "converted"
        )
    if layout is not None:
        raise ModelError(f"{target}: leave out the layout {layout!r}; SRVGGNetCompact has one form")
    save_compact(
        target,
        stored_state(source),
        output_scale=network.output_scale,
        stage=loaded.info.stage,
        metadata=loaded.info.metadata,
        dtype=dtype,
    )
    if network.output_scale is not None and target.suffix.lower() != NCNN:
        _log.warning(
            "%s: only torch-sr resizes the results of this file to x%d; in other programs they "
            "are those of the network itself",
            target,
            network.output_scale,
        )


def find_ncnn_obstacles(config: RRDBConfig | None, scale: int) -> Iterator[str]:
    """What Real-ESRGAN-ncnn-vulkan cannot do with a model.

    Args:
        config: of an RRDBNet; None for SRVGGNetCompact.
        scale: of the results.
    """
    program = "Real-ESRGAN-ncnn-vulkan"
    if scale not in _NCNN_SCALES:
        yield f"{program} enlarges by 2, 3 or 4, not by {scale}; other programs of ncnn may"
    if config is None:
        return
    if config.img_channels != 3:
        yield f"{program} gives RGB to the model, which takes {config.img_channels} channels"
    if (side := config.pixel_unshuffle) != 1:
        yield f"ncnn does not pad: give it pictures and tiles whose sides are multiples of {side}"


def find_obstacles(network: RRDBNet, target: Path, layout: str | None) -> Iterator[str]:
    """Why programs that load models through spandrel cannot load a file that is written.

    Args:
        network: of the file.
        target: the file, whose suffix chooses the layout where none is named.
        layout: see :func:`convert`.
    """
    if (layout or default_layout(target)) == "enhanced-srgan":
        yield "they do not know the layout enhanced-srgan; write --layout old"
    config = network.config
    for key, expected in SPANDREL_SIZES.items():
        if (value := getattr(config, key)) != expected:
            yield f"they expect {key} {expected}, not {value}"
    if config.enlargement not in _SPANDREL_SCALES:
        yield f"they expect a scale factor of 1, 2, 4 or 8, not {config.scale_factor}"

"""A model -> a file for other programs: layout, format, number type.

It converts RRDBNet and SRVGGNetCompact, the two networks of Real-ESRGAN's models.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from pathlib import Path

import torch

from torch_sr.errors import ModelError
from torch_sr.models.files.writing import NCNN, default_layout, written_files
from torch_sr.models.model import Model, ModelLike
from torch_sr.models.zoo import open_model
from torch_sr.networks.configs import RRDBConfig
from torch_sr.networks.rrdb import RRDBNet

_log = logging.getLogger(__name__)

SPANDREL_SIZES = {
    "growth_channels": 32,
    "num_dense_blocks": 3,
    "num_residual_blocks": 5,
    "residual_scaling": 0.2,
    "use_subpixel_conv": False,
}
"""Sizes of an RRDBNet that spandrel, and so chaiNNer and ComfyUI, assumes."""
_SPANDREL_SCALES = (1, 2, 4, 8)
_NCNN_SCALES = (2, 3, 4)


def convert(
    source: ModelLike,
    target: str | Path,
    *,
    layout: str | None = None,
    dtype: str | torch.dtype | None = None,
) -> Path:
    """Write a model in another layout, file format or number type, for other programs.

    Equivalent to :func:`torch_sr.load` and :meth:`Model.save`, with a warning in the log if the
    programs that the new file is for cannot use it.

    Args:
        source: a name, a file, a model, or an :class:`RRDBNet`.
        target, layout, dtype: see :meth:`Model.save`.

    Returns:
        the file written.

    Raises:
        ModelError: as :func:`torch_sr.load` and :meth:`Model.save`; the target is the source.
        DownloadError: a model of that name cannot be downloaded.

    >>> import tempfile, torch_sr
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = torch_sr.convert("compact-x4", f"{folder}/a.pth", layout="old", dtype="fp32")
    ...     info = torch_sr.load(file).info
    >>> info.layout, info.dtype
    ('old', 'float32')
    """
    target = Path(target)
    if isinstance(source, RRDBNet):
        source = Model.from_network(source)
    model = source if isinstance(source, Model) else open_model(source)
    check_not_source(model, written_files(target))
    model.save(target, layout=layout, dtype=dtype)
    if target.suffix.lower() == NCNN:
        for obstacle in find_ncnn_obstacles(model.info.config, model.scale_factor):
            _log.warning("%s: %s", target, obstacle)
    elif isinstance(model.network, RRDBNet):
        for obstacle in find_obstacles(model.network, target, layout):
            _log.warning("%s: chaiNNer and ComfyUI cannot load this model: %s", target, obstacle)
    return target


def check_not_source(model: Model, targets: Iterable[Path]) -> None:
    """Refuse to replace a file of a model, also under another name or by a link.

    Raises:
        ModelError: a target is a file that the model was read from.
    """
    for file in targets:
        if any(file.exists() and own.exists() and file.samefile(own) for own in model.info.files):
            raise ModelError(f"{file} is the source; give another name")


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
        yield f"ncnn does not pad: give it images and tiles whose sides are multiples of {side}"


def find_obstacles(network: RRDBNet, target: Path, layout: str | None) -> Iterator[str]:
    """Why programs that load models through spandrel cannot load a file that is written.

    Args:
        network: of the file.
        target: the file, whose suffix chooses the layout if none is named.
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

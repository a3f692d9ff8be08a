"""The hyper-parameters of an RRDBNet: inferred, nested, flattened.

A weights file alone rebuilds its network: nearly all hyper-parameters follow from the shapes of
the parameters. ``.pth`` files and JSON configurations keep most of them in a section named
``generator``, which the functions here create and remove.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from torch_sr.errors import ModelError
from torch_sr.models.files.layouts import (
    DEFAULT_RESIDUAL_SCALING,
    State,
    is_subpixel,
    parameter,
    read_numbers,
)
from torch_sr.networks.configs import RRDBConfig

TOP_LEVEL = ("scale_factor", "img_channels")
"""Hyper-parameters that the JSON configuration keeps outside its section ``generator``."""


def infer_config(state: State, stored: Mapping[str, Any] | None = None) -> RRDBConfig:
    """Infer the hyper-parameters of an RRDBNet from the shapes of its parameters.

    Args:
        state: canonical names, as :func:`to_canonical` returns.
        stored: hyper-parameters found next to the weights. They decide what shapes do not show:
            the residual scaling (default 0.2), the growth of dense blocks of one convolution, and
            whether a single interpolating step enlarges by 2 (default) or by 3.

    Raises:
        ModelError: shapes that no RRDBNet has, or that contradict ``stored``.
    """
    stored = dict(stored or {})
    width, in_channels = _conv_shape(state, "conv_first.weight")
    img_channels, _ = _conv_shape(state, "conv_last.weight")
    numbers = read_numbers(state, "new")
    growth, _ = _conv_shape(state, "body.0.rdb1.conv1.weight")
    unshuffle = math.isqrt(in_channels // img_channels)
    if unshuffle**2 * img_channels != in_channels:
        raise ModelError(
            f"conv_first.weight reads {in_channels} channels and conv_last.weight makes "
            f"{img_channels}; the first must be 1, 4, 9, 16 … times the second"
        )
    enlargement, subpixel = _enlargement(state, len(numbers.ups), width), is_subpixel(state)
    if enlargement == 2 and stored.get("scale_factor") == 3 and not subpixel:
        enlargement = 3
    if enlargement % unshuffle:
        raise ModelError(f"enlarges by {enlargement}, but conv_first.weight shrinks by {unshuffle}")
    inferred = {
        "scale_factor": enlargement // unshuffle,
        "img_channels": img_channels,
        "rrdb_channels": width,
        "growth_channels": growth if len(numbers.convs) > 1 else stored.get("growth_channels", 32),
        "num_basic_blocks": len(numbers.blocks),
        "num_dense_blocks": len(numbers.denses),
        "num_residual_blocks": len(numbers.convs),
        "residual_scaling": stored.get("residual_scaling", DEFAULT_RESIDUAL_SCALING),
        "use_subpixel_conv": subpixel if numbers.ups else stored.get("use_subpixel_conv", False),
        "pixel_unshuffle": unshuffle,
    }
    for name, value in inferred.items():
        if stored.get(name, value) != value:
            raise ModelError(f"records {name} as {stored[name]}, but its weights make it {value}")
    return RRDBConfig(**inferred)


def nest_hparams(config: RRDBConfig) -> dict[str, Any]:
    """Arrange hyper-parameters like the JSON configuration."""
    section = config.to_dict()
    if config.pixel_unshuffle == 1:  # unknown to enhanced-srgan, so written only if it matters
        del section["pixel_unshuffle"]
    return {**{key: section.pop(key) for key in TOP_LEVEL}, "generator": section}


def flatten_hparams(hparams: Mapping[str, Any]) -> dict[str, Any]:
    """Move the keys of the section ``generator``, if there is one, to the top."""
    flat = dict(hparams)
    section = flat.pop("generator", None)
    return flat | dict(section) if isinstance(section, Mapping) else flat


def _conv_shape(state: State, key: str) -> tuple[int, int]:
    """The output and input channels of a convolution."""
    shape = tuple(parameter(state, key).shape)
    if len(shape) != 4 or 0 in shape:
        raise ModelError(f"{key} has the shape {shape}; a convolution has four sizes above 0")
    return shape[0], shape[1]


def _enlargement(state: State, steps: int, width: int) -> int:
    """The product of the factors: shapes show those of sub-pixel steps; others enlarge by 2."""
    total = 1
    for step in range(1, steps + 1):
        made, _ = _conv_shape(state, f"conv_up{step}.weight")
        factor = math.isqrt(made // width)
        if factor**2 * width != made:
            raise ModelError(f"conv_up{step}.weight makes {made} channels of {width}")
        total *= 2 if factor == 1 else factor
    return total

"""Draw training crops as the networks get them, LR next to HR."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from torch_sr.aliases import Array
from torch_sr.data.crops.geometry import draw_place
from torch_sr.data.crops.random_crops import RandomCrops
from torch_sr.images import Image, convert, write_image
from torch_sr.training.preflight.checked_run import CheckedRun

_DEGRADATIONS = 3  # of one crop
_DRAWN_CROPS = 8
_DRAWN_COLUMNS = 2
_DRAWN_SIDE = 256  # largest side of whole images, in pixels
_DEGRADED_CROPS = 4
_GAP = 4  # between crops, in pixels


@dataclass(frozen=True)
class Drawn:
    """The number of crops on a sheet, and how many of them are shown in several degradations."""

    crops: int
    degraded: int


def check_crops(run: CheckedRun, name: str) -> str:
    """Draw crops of a stage into the output folder.

    Returns:
        what is drawn, in words.

    Raises:
        ImageError: the image cannot be written.
    """
    path = run.settings.out_dir / f"check_{name}.png"
    drawn = draw_crops(path, run.data[name].crops, run.config.seed)
    text = f"{path}: {drawn.crops} crops as the networks will get them, LR next to HR"
    if drawn.degraded:
        text += f"; below, {_DEGRADATIONS} degradations of {drawn.degraded} crops each, with HR"
    return text


def draw_crops(path: Path, crops: RandomCrops, seed: int) -> Drawn:
    """Draw some crops of the first epoch; if crops are degraded, also some in several degradations.

    Args:
        path: the new image; its folder is created if needed.
        crops: the crops of a training.
        seed: determines the images whose crops are drawn.

    Raises:
        ImageError: the image cannot be written.
    """
    order = [int(index) for index in np.random.default_rng(seed).permutation(len(crops))]
    chosen = order[:_DRAWN_CROPS]
    sheet = _mosaic([_side_by_side(*crops[0, index]) for index in chosen])
    degraded = _degradable(crops, order)[:_DEGRADED_CROPS]
    if degraded:
        sheet = _stack([sheet, *(_degradations(crops, index, seed) for index in degraded)])
    with suppress(OSError):  # write_image reports it better
        path.parent.mkdir(parents=True, exist_ok=True)
    write_image(path, Image.from_array(sheet))
    return Drawn(len(chosen), len(degraded))


def _degradable(crops: RandomCrops, order: Sequence[int]) -> list[int]:
    """The images whose crops are degraded, in the given order."""
    if crops.degradation is None:
        return []
    return [index for index in order if crops.pairs.lr_is_made(index)]


def _degradations(crops: RandomCrops, index: int, seed: int) -> Array:
    """Several degradations of a crop, regardless of their probability, and its HR."""
    assert crops.degradation is not None
    pairs, scale = crops.pairs, crops.pairs.scale_factor
    size = pairs.lr_size(index)
    wanted = crops.crop_size or (_DRAWN_SIDE, _DRAWN_SIDE)
    height, width = (
        min(side, wish // scale, _DRAWN_SIDE // scale)
        for side, wish in zip(size, wanted, strict=True)
    )
    rng = np.random.default_rng((seed, index))
    larger, inner = draw_place(size, (height, width), "none", rng).widen(size, rng)
    target = crops.degradation.target(larger.cut(pairs.hr(index), scale))
    drawn = [inner.cut(crops.degradation(target, rng)) for _ in range(_DEGRADATIONS)]
    large = [lr.repeat(scale, axis=0).repeat(scale, axis=1) for lr in drawn]
    return np.concatenate([*large, convert(inner.cut(target, scale), np.uint8)], axis=1)


def _side_by_side(lr: torch.Tensor, hr: torch.Tensor) -> Array:
    """Enlarged LR next to HR, both ``(C, H, W)``, as ``(H, W, C)`` uint8."""
    scale = hr.shape[-1] // lr.shape[-1]
    large = lr.repeat_interleave(scale, dim=1).repeat_interleave(scale, dim=2)
    pair = [_upright(image[:, :_DRAWN_SIDE, :_DRAWN_SIDE]) for image in (large, hr)]
    return np.concatenate(pair, axis=1)


def _upright(image: torch.Tensor) -> Array:
    """Convert ``(C, H, W)`` of 8 or 16 bits to ``(H, W, C)`` uint8."""
    return convert(image.permute(1, 2, 0).numpy(), np.uint8)


def _stack(parts: Sequence[Array]) -> Array:
    """Put parts below each other on white."""
    height = sum(part.shape[0] + _GAP for part in parts) - _GAP
    width = max(part.shape[1] for part in parts)
    canvas = np.full((height, width, parts[0].shape[2]), 255, np.uint8)
    top = 0
    for part in parts:
        canvas[top : top + part.shape[0], : part.shape[1]] = part
        top += part.shape[0] + _GAP
    return canvas


def _mosaic(tiles: Sequence[Array]) -> Array:
    """Arrange tiles in columns on white; smaller ones are at the top left of their places."""
    height = max(tile.shape[0] for tile in tiles)
    width = max(tile.shape[1] for tile in tiles)
    rows = math.ceil(len(tiles) / _DRAWN_COLUMNS)
    columns = min(len(tiles), _DRAWN_COLUMNS)
    shape = (rows * (height + _GAP) - _GAP, columns * (width + _GAP) - _GAP, tiles[0].shape[2])
    canvas = np.full(shape, 255, np.uint8)
    for number, tile in enumerate(tiles):
        top = number // _DRAWN_COLUMNS * (height + _GAP)
        left = number % _DRAWN_COLUMNS * (width + _GAP)
        canvas[top : top + tile.shape[0], left : left + tile.shape[1]] = tile
    return canvas

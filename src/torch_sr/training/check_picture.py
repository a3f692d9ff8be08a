"""A picture of training crops as the networks will get them: LR enlarged beside HR."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch

from torch_sr.data.loaders import RandomCrops
from torch_sr.data.sources import Array
from torch_sr.images import Image, write_image

_PICTURED_CROPS = 8
_PICTURED_COLUMNS = 2
_PICTURED_SIDE = 256  # of whole images, in pixels
_GAP = 4  # between pictured crops, in pixels


def draw_crops(path: Path, crops: RandomCrops, seed: int) -> int:
    """Draw some crops of the first epoch.

    Args:
        path: of the picture; its folder is made.
        crops: of a training.
        seed: decides which images they are of.

    Returns:
        how many were drawn.

    Raises:
        ImageError: when the picture cannot be written.
    """
    count = min(_PICTURED_CROPS, len(crops))
    chosen = np.random.default_rng(seed).permutation(len(crops))[:count]
    tiles = [_side_by_side(*crops[0, int(index)]) for index in chosen]
    with suppress(OSError):  # writing reports it better
        path.parent.mkdir(parents=True, exist_ok=True)
    write_image(path, Image.from_array(_mosaic(tiles)))
    return count


def _side_by_side(lr: torch.Tensor, hr: torch.Tensor) -> Array:
    """``(H, W, C)``: both ``(C, H, W)`` in the size of HR, every LR pixel a square."""
    scale = hr.shape[-1] // lr.shape[-1]
    large = lr.repeat_interleave(scale, dim=1).repeat_interleave(scale, dim=2)
    pair = [image[:, :_PICTURED_SIDE, :_PICTURED_SIDE].permute(1, 2, 0) for image in (large, hr)]
    both: Array = torch.cat(pair, dim=1).numpy()
    return both


def _mosaic(tiles: Sequence[Array]) -> Array:
    """Tiles in columns, on white; the smaller ones at the top left of their places."""
    height = max(tile.shape[0] for tile in tiles)
    width = max(tile.shape[1] for tile in tiles)
    rows = math.ceil(len(tiles) / _PICTURED_COLUMNS)
    columns = min(len(tiles), _PICTURED_COLUMNS)
    shape = (rows * (height + _GAP) - _GAP, columns * (width + _GAP) - _GAP, tiles[0].shape[2])
    canvas = np.full(shape, 255, np.uint8)
    for number, tile in enumerate(tiles):
        top = number // _PICTURED_COLUMNS * (height + _GAP)
        left = number % _PICTURED_COLUMNS * (width + _GAP)
        canvas[top : top + tile.shape[0], left : left + tile.shape[1]] = tile
    return canvas

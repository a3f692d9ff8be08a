"""Measure the overlap that tiles of a network need to have no seams.

Counting layers gives an upper bound that no trained network uses: 353 pixels for ESRGAN's
23 blocks. So the network is run on an image and on the same image with a part cut off. The
difference of the results falls with the distance from the cut and shows how much context it needs.
"""

from __future__ import annotations

import numpy as np

from torch_sr.aliases import Doubles, Floats
from torch_sr.errors import ConfigError
from torch_sr.inference.engines import Engine
from torch_sr.tiling import largest_overlap

_OVERLAPS = (4, 6, 8, 10, 12, 14, 16, 20, 24, 28, 32, 40)
_ASSUMED = 16
_TOLERANCE = 0.1 / 255
_HEIGHT, _WIDTH, _CUT = 48, 136, 48


def measure_overlap(engine: Engine) -> int:
    """The least overlap, in low-resolution pixels, at which tiles agree to a tenth of a level.

    For networks that use the whole image, as those with global pooling do, no overlap is
    enough; they get the largest tried, 40. A network that takes images of one size only cannot be
    measured in this way; it gets 16, or the most that its size permits.
    """
    if (size := getattr(engine, "input_size", None)) is not None:
        return min(_ASSUMED, largest_overlap(size))
    errors = edge_errors(engine)
    for overlap in _OVERLAPS:
        distance = (np.arange(len(errors)) + 0.5) / engine.scale_factor
        # The weight of a tile is 0 up to half the overlap from its edge, and 1 from 1.5 overlaps.
        weights = np.clip(distance / overlap - 0.5, 0, 1)
        if float((weights * errors).max()) <= _TOLERANCE:
            return overlap
    return _OVERLAPS[-1]


def check_overlap(overlap: int, size: tuple[int, int]) -> None:
    """Refuse an overlap that tiles of a height and width cannot have.

    Raises:
        ConfigError: it is too large.
    """
    if overlap > (most := largest_overlap(size)):
        raise ConfigError(
            f"overlap {overlap}: use at most {most}; the network takes images of "
            f"{size[1]}x{size[0]} pixels only"
        )


def edge_errors(engine: Engine) -> Doubles:
    """The largest error at each distance from a cut edge, ``(88 * scale_factor,)``, in [0, 1]."""
    lr = _dead_leaves(_HEIGHT, _WIDTH)
    lr = lr.transpose(2, 0, 1)[None]
    lr = lr[:, :1] if engine.img_channels == 1 else lr
    if engine.img_channels == 4:
        lr = np.concatenate([lr, np.ones_like(lr[:, :1])], axis=1)
    whole = engine(np.ascontiguousarray(lr))[..., _CUT * engine.scale_factor :]
    cut = engine(np.ascontiguousarray(lr[..., _CUT:]))
    difference: Doubles = np.abs(np.clip(whole, 0, 1) - np.clip(cut, 0, 1)).max(axis=(0, 1, 2))
    return difference


def _dead_leaves(height: int, width: int) -> Floats:
    """Overlapping rectangles of all sizes and some noise, with the statistics of photographs.

    The dead leaves model (Lee, Mumford and Huang 2001), always the same: ``(H, W, 3)`` in [0, 1].
    """
    rng = np.random.default_rng(2001)
    image = np.zeros((height, width, 3))
    for _ in range(1500):
        size = 2 / rng.uniform(0.02, 1, 2)  # many small ones, few large
        top, left = rng.uniform(-size, (height, width))
        rows = slice(max(0, round(top)), max(0, round(top + size[0])))
        columns = slice(max(0, round(left)), max(0, round(left + size[1])))
        image[rows, columns] = rng.random(3)
    image += rng.normal(0, 0.02, image.shape)
    return np.clip(image, 0, 1).astype(np.float32)

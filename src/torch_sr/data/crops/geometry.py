"""Place a crop in its image, and cut it out of both resolutions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from torch_sr.aliases import Array
from torch_sr.data.crops.augmentation import Orientation, Spatial, draw_orientation, orient, restore

Size = tuple[int, int]
"""Height and width."""

UPRIGHT: Orientation = (False, False, False)
CONTEXT = 4
"""LR pixels around a crop that are degraded together with it, because blur reaches into them."""
GRID = 16
"""Period of the JPEG grid in LR pixels: blocks of 8 pixels, 16 for halved chroma."""


@dataclass(frozen=True)
class Place:
    """A rectangle of an image, in LR pixels, and its orientation after it is cut out."""

    top: int
    left: int
    height: int
    width: int
    orientation: Orientation = UPRIGHT

    def cut(self, image: Array, scale: int = 1) -> Array:
        """A view of an image ``(H, W, C)`` that is ``scale`` times as high and wide as LR."""
        top, left = self.top * scale, self.left * scale
        rows = slice(top, top + self.height * scale)
        return orient(image[rows, left : left + self.width * scale], self.orientation)

    def widen(self, size: Size, rng: np.random.Generator) -> tuple[Place, Place]:
        """Add surroundings within an image of ``size``.

        At the top and left of the oriented crop, a random number of pixels is added. The grid of
        JPEG starts there, and is therefore at a random position in the crop.

        Returns:
            the larger place, and this place relative to the larger one, before the orientation.
        """
        rows, columns, _ = self.orientation
        extra = rng.integers(GRID, size=2)
        above, below = _margins(int(extra[0]), flipped=rows)
        before, after = _margins(int(extra[1]), flipped=columns)
        top, left = max(0, self.top - above), max(0, self.left - before)
        height = min(size[0], self.top + self.height + below) - top
        width = min(size[1], self.left + self.width + after) - left
        larger = Place(top, left, height, width, self.orientation)
        inner = Place(self.top - top, self.left - left, self.height, self.width, self.orientation)
        return larger, inner

    def cut_oriented(self, image: Array, scale: int = 1) -> Array:
        """As :meth:`cut`, from an image that already has the ``orientation``."""
        return self.cut(restore(image, self.orientation), scale)


def _margins(extra: int, *, flipped: bool) -> tuple[int, int]:
    """LR pixels before and after a crop along one axis; orienting puts the extra ones first."""
    return (CONTEXT, CONTEXT + extra) if flipped else (CONTEXT + extra, CONTEXT)


def draw_place(size: Size, crop_size: Size, spatial: Spatial, rng: np.random.Generator) -> Place:
    """Draw the place and the orientation of a crop.

    Args:
        size: height and width of the LR image.
        crop_size: height and width of the oriented crop, in LR pixels.
        spatial: see :func:`~torch_sr.data.crops.augmentation.draw_orientation`.
        rng: the random generator of the sample.
    """
    orientation = draw_orientation(spatial, rng)
    height, width = crop_size[::-1] if orientation[2] else crop_size
    top = int(rng.integers(size[0] - height + 1))
    left = int(rng.integers(size[1] - width + 1))
    return Place(top, left, height, width, orientation)

"""The size from which SSIM can measure images; refuse smaller ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch_sr.config import SSIM_WINDOW
from torch_sr.errors import DataError

if TYPE_CHECKING:
    from torch_sr.data.image_pairs import ImagePairs


def smallest_side(scale_factor: int, *, crop_border: bool = True) -> int:
    """The shortest side that SSIM can measure, in HR pixels, as a multiple of the scale factor.

    Args:
        scale_factor: between the two resolutions.
        crop_border: whether ``scale_factor`` pixels are cropped at each border first.

    >>> smallest_side(4), smallest_side(4, crop_border=False)
    (20, 12)
    """
    side = SSIM_WINDOW + 2 * scale_factor * crop_border
    return -(-side // scale_factor) * scale_factor


def refuse_small(pairs: ImagePairs, *, crop_border: bool = True) -> None:
    """Refuse images that SSIM cannot measure.

    Args:
        pairs: the images.
        crop_border: whether ``scale_factor`` pixels are cropped at each border first.

    Raises:
        DataError: an image, which the message names, is too small.
    """
    scale = pairs.scale_factor
    least = smallest_side(scale, crop_border=crop_border)
    small = [n for n in range(len(pairs)) if min(pairs.lr_size(n)) * scale < least]
    if small:
        height, width = (size * scale for size in pairs.lr_size(small[0]))
        more = f", and {len(small) - 1} more" if len(small) > 1 else ""
        raise DataError(
            f"{pairs.names[small[0]]}: leave the image out of the data set{more}; SSIM at x{scale} "
            f"needs {least}x{least} pixels, and it has {width}x{height}"
        )

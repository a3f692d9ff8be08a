"""Scale floats and integers of any range to [0, 1], and back.

TIFF defines white for unsigned integers only, and programs disagree about the rest: the values of a
float image may end at 1, at 255, or anywhere. Nothing is clipped: an image is scaled by its own
values, and a result that can hold floats gets these values back.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from torch_sr.aliases import Array, Floats
from torch_sr.errors import ImageError

_WHITES = (1, 255, 32767, 65535, 2**31 - 1, 2**32 - 1)  # common values of white


@dataclass(frozen=True)
class ValueRange:
    """What 0 and 1 stand for in the file that pixels were read from.

    Args:
        low, high: color values that became 0 and 1.
        opaque: the alpha value that became 1.
        whole: whether the file has integers, which do not exceed these values.
    """

    low: float
    high: float
    opaque: float = 1.0
    whole: bool = False

    def is_near_unit(self, tolerance: float) -> bool:
        """Whether values exceed [0, 1] only a little, as they do after resampling."""
        return self.low >= -tolerance and max(self.high, self.opaque) <= 1 + tolerance

    def restore(self, rows: Array, channels: int) -> Floats:
        """Convert float rows ``(h, W, layers)`` back to the values of the file."""
        restored = rows.astype(np.float64)
        if self.whole:
            restored = np.clip(restored, 0, 1)
        restored[..., :channels] *= self.high - self.low
        restored[..., :channels] += self.low
        restored[..., channels:] *= self.opaque
        return restored.astype(np.float32)


def measure(bands: Iterable[Array], channels: int) -> ValueRange:
    """Find the least and largest values in all rows ``(h, W, layers)`` of an image.

    Raises:
        ImageError: a value is NaN or infinite.
    """
    least, largest, opaque = 0.0, 0.0, 0.0
    strange, whole = 0, False
    for rows in bands:
        whole = np.issubdtype(rows.dtype, np.integer)
        if not whole:
            strange += int(np.count_nonzero(~np.isfinite(rows)))
        if strange:
            continue
        color, alpha = rows[..., :channels], rows[..., channels:]
        least = min(least, float(color.min()))
        largest = max(largest, float(color.max()))
        opaque = max(opaque, float(alpha.max(initial=0)))
    if strange:
        raise ImageError(
            f"replace its {strange} samples that are infinite or not a number (NaN) first, for "
            "example by numpy.nan_to_num; a network would spread them"
        )
    high = _white(largest) if least == 0 else max(1, largest)
    return ValueRange(least, high, _white(opaque), whole)


def _white(largest: float) -> float:
    """The white that the largest value suggests: a common one just above it, or itself.

    >>> _white(250), _white(4), _white(40_000), _white(1000)
    (255, 4, 65535, 1000)
    """
    return next((white for white in _WHITES if white / 2 < largest <= white), max(1, largest))

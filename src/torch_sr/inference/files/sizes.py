"""The size that results are resampled to, if one is requested."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import TypeAlias

TargetSize: TypeAlias = Callable[[int, int], tuple[int, int]]
"""Height and width of a source -> those of its result."""


def target_size(
    scale_factor: float | None = None, width: int | None = None, height: int | None = None
) -> TargetSize | None:
    """The size for a factor, a width or a height; with both, exactly that size.

    >>> target_size(scale_factor=2.5)(10, 20), target_size(width=50)(10, 20)
    ((25, 50), (25, 50))
    """
    if scale_factor is not None:
        return lambda h, w: (_times(h, scale_factor), _times(w, scale_factor))
    if width is not None and height is not None:
        return lambda h, w: (height, width)
    if width is not None:
        return lambda h, w: (_times(h, Fraction(width, w)), width)
    if height is not None:
        return lambda h, w: (height, _times(w, Fraction(height, h)))
    return None


def _times(side: int, factor: float | Fraction) -> int:
    """The scaled side, in fractions, because floats cannot hold the largest numbers."""
    return max(1, round(side * Fraction(str(factor))))

"""Means over images, and the treatment of values that are not finite.

A super-resolved image that equals its original, for example a flat or black one, has an infinite
PSNR, which would make the mean infinite. During a training, larger values count as
:data:`PSNR_CEILING`, so that the means of all epochs are over the same images. A test leaves out
infinite values. Both leave out NaN, and report all of these images by name.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

PSNR_CEILING = 60.0
"""Upper limit of an image's PSNR in a mean, in dB; the error of rounding to 8 bits gives 59."""


@dataclass(frozen=True)
class ImageMean:
    """A mean over images.

    Args:
        value: the mean; NaN if no value is left.
        bounded: the values that were replaced by the ceiling, by image.
        left_out: the values that are not finite and did not count, by image.
    """

    value: float
    bounded: dict[str, float] = field(default_factory=dict)
    left_out: dict[str, float] = field(default_factory=dict)


def mean_over_images(values: Mapping[str, float], ceiling: float = math.inf) -> ImageMean:
    """Take the mean of a metric over images.

    Args:
        values: the values by image name.
        ceiling: larger values count as this; :data:`PSNR_CEILING` for PSNR.

    >>> mean_over_images({"a": 30.0, "flat": math.inf}, PSNR_CEILING).value
    45.0
    """
    bounded = {name: value for name, value in values.items() if value > ceiling}
    counted = {name: min(value, ceiling) for name, value in values.items()}
    finite = [value for value in counted.values() if math.isfinite(value)]
    left_out = {name: values[name] for name, value in counted.items() if not math.isfinite(value)}
    total = 0.0
    for value in finite:
        total += value
    return ImageMean(total / len(finite) if finite else math.nan, bounded, left_out)


def json_safe(value: Any) -> Any:
    """Replace NaN and infinities, which JSON cannot represent, by None.

    >>> json_safe({"psnr": math.inf, "ssim": [1.0, math.nan]})
    {'psnr': None, 'ssim': [1.0, None]}
    """
    if isinstance(value, Mapping):
        return {key: json_safe(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [json_safe(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value

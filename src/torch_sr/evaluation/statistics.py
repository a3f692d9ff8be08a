"""Means over images with their intervals, and differences between methods.

A value that is not finite (the PSNR of an image equal to its original, or NaN) is left out of the
mean, and :func:`left_out_notes` reports it by name. Intervals are percentiles of the bootstrap over
images (Efron 1979), with fixed random numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from torch_sr.evaluation.averages import mean_over_images
from torch_sr.evaluation.compare import ImageScore

T = TypeVar("T")
CONFIDENCE = 0.95
RESAMPLES = 2000
PAIRED_RESAMPLES = 10_000
_MOST_DRAWS = 2**20  # at once, which take 8 MB


@dataclass(frozen=True)
class Summary:
    """A metric of one method on one data set.

    Args:
        mean: the mean over the images with a finite value; NaN if there are none.
        low, high: the 95 % interval of the mean; NaN for fewer than two images.
        images: number of images.
        left_out: the values that are not finite, by image.
    """

    mean: float
    low: float
    high: float
    images: int
    left_out: Mapping[str, float]


@dataclass(frozen=True)
class Difference:
    """The difference of a method from a reference, image by image.

    Args:
        mean: mean of method minus reference, over the images with finite values under both; NaN if
            there are none.
        low, high: its 95 % interval; NaN for fewer than two images.
        images: number of images that count.
    """

    mean: float
    low: float
    high: float
    images: int

    @property
    def excludes_zero(self) -> bool:
        """Whether the whole interval is on one side of 0."""
        return self.low > 0 or self.high < 0


ByDataset = dict[str, dict[str, dict[str, T]]]
"""``[dataset][method][metric]``, in order of first appearance."""


def describe_left_out(left_out: Mapping[str, float], images: int) -> str:
    """Describe the values that are left out of a mean over images.

    >>> describe_left_out({"flat": math.inf}, 5)
    '1 of 5 images identical to the original: not in the mean (flat)'
    """
    kinds = {
        "identical to the original": [n for n, v in left_out.items() if v == math.inf],
        "without a finite value": [n for n, v in left_out.items() if v != math.inf],
    }
    return "; ".join(
        f"{len(names)} of {images} images {kind}: not in the mean ({_listed(names)})"
        for kind, names in kinds.items()
        if names
    )


def summarize(scores: Sequence[ImageScore]) -> ByDataset[Summary]:
    """Means and intervals by data set, method and metric."""
    return _by_table(scores, _summary)


def mean_scores(scores: Sequence[ImageScore]) -> ByDataset[float]:
    """Means by data set, method and metric, without intervals."""
    return _by_table(scores, lambda values: mean_over_images(values).value)


def overall_means(scores: Sequence[ImageScore]) -> dict[str, dict[str, float]]:
    """Means over the images of all data sets together, by method and metric."""
    together = [replace(score, dataset="") for score in scores]
    return mean_scores(together)[""] if scores else {}


def left_out_notes(table: ByDataset[Summary]) -> list[str]:
    """A sentence for every mean from which images are left out."""
    return [
        f"{dataset}, {metric} of {method}: {describe_left_out(found.left_out, found.images)}"
        for dataset, methods in table.items()
        for method, metrics in methods.items()
        for metric, found in metrics.items()
        if found.left_out
    ]


def differences(scores: Sequence[ImageScore], reference: str) -> ByDataset[Difference]:
    """All other methods minus the reference, with intervals of the paired bootstrap."""
    values = _by_table(scores, dict)
    return {
        dataset: {
            method: {
                metric: paired_difference(found, methods[reference][metric])
                for metric, found in metrics.items()
            }
            for method, metrics in methods.items()
            if method != reference
        }
        for dataset, methods in values.items()
    }


def paired_difference(values: Mapping[str, float], reference: Mapping[str, float]) -> Difference:
    """The mean of the differences between two methods on the same images, and its interval.

    Args:
        values, reference: a metric of the two methods, by image.
    """
    pairs = [(values[image], reference[image]) for image in values if image in reference]
    paired = [a - b for a, b in pairs if math.isfinite(a) and math.isfinite(b)]
    if len(paired) < 2:  # one image has no interval
        return Difference(paired[0] if paired else math.nan, math.nan, math.nan, len(paired))
    low, high = mean_interval(paired, resamples=PAIRED_RESAMPLES)
    return Difference(float(np.mean(paired)), low, high, len(paired))


def mean_interval(
    values: Sequence[float], confidence: float = CONFIDENCE, resamples: int = RESAMPLES
) -> tuple[float, float]:
    """The interval of a mean, by percentiles of the bootstrap.

    Args:
        values: one finite value per image; drawn with replacement, with a fixed seed.
        confidence: the share of the resampled means inside the interval, in (0, 1).
        resamples: number of resampled means.
    """
    found = np.asarray(values, dtype=np.float64)
    rng = np.random.default_rng(0)
    step = max(1, _MOST_DRAWS // len(found))
    counts = [min(step, resamples - start) for start in range(0, resamples, step)]
    means = np.concatenate([rng.choice(found, (n, len(found))).mean(axis=1) for n in counts])
    outside = 50 * (1 - confidence)
    low, high = np.percentile(means, [outside, 100 - outside], method="nearest")
    return float(low), float(high)


def _summary(values: Mapping[str, float]) -> Summary:
    found = mean_over_images(values)
    finite = [value for value in values.values() if math.isfinite(value)]
    low, high = mean_interval(finite) if len(finite) > 1 else (math.nan, math.nan)
    return Summary(found.value, low, high, len(values), found.left_out)


def _by_table(
    scores: Sequence[ImageScore], summary: Callable[[dict[str, float]], T]
) -> ByDataset[T]:
    grouped: ByDataset[dict[str, float]] = {}
    for score in scores:
        metrics = grouped.setdefault(score.dataset, {}).setdefault(score.method, {})
        for name, value in score.metrics.items():
            metrics.setdefault(name, {})[score.image] = value
    return {
        dataset: {
            method: {name: summary(values) for name, values in metrics.items()}
            for method, metrics in methods.items()
        }
        for dataset, methods in grouped.items()
    }


def _listed(names: Sequence[str], most: int = 5) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more

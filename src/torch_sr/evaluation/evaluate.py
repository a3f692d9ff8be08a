"""Measure generators on image pairs, beside bicubic interpolation.

The protocol is part of every result; see :mod:`torch_sr.metrics`. Whole images are compared, by the
measures of :mod:`torch_sr.evaluation.measures`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from torch_sr.data.loaders import ImagePairs
from torch_sr.data.resize import imresize
from torch_sr.errors import DataError
from torch_sr.evaluation.measures import Compare
from torch_sr.images import convert, to_unit

T = TypeVar("T")
Array = npt.NDArray[Any]
SuperResolve = Callable[[Array], Array]
"""``(H, W, C)`` to ``(H * s, W * s, C)``, both uint8, both uint16, or both float32 in [0, 1]."""


@dataclass(frozen=True)
class ImageScore:
    """The metrics of one image of one data set under one method."""

    dataset: str
    image: str
    method: str
    metrics: dict[str, float]


@dataclass(frozen=True)
class Comparison:
    """One image of a data set under every method.

    Args:
        dataset: as it is reported: ``set5``.
        image: its name, ``set5/baby``.
        lr: ``(h, w, C)``, C 1 or 3, uint8 or uint16.
        hr: ``(h * s, w * s, C)``, likewise.
        results: what each method made of ``lr``, the baseline first; like ``hr``.
        metrics: by method, then by the names of :data:`~torch_sr.evaluation.measures.MEASURES`.
    """

    dataset: str
    image: str
    lr: Array
    hr: Array
    results: dict[str, Array]
    metrics: dict[str, dict[str, float]]

    def to_8_bit(self) -> Comparison:
        """The same for showing: all images uint8."""
        results = {method: convert(sr, np.uint8) for method, sr in self.results.items()}
        lr, hr = convert(self.lr, np.uint8), convert(self.hr, np.uint8)
        return replace(self, lr=lr, hr=hr, results=results)

    @property
    def scores(self) -> list[ImageScore]:
        """The metrics alone, one for each method."""
        return [
            ImageScore(self.dataset, self.image, method, metrics)
            for method, metrics in self.metrics.items()
        ]


def evaluate(
    methods: Mapping[str, SuperResolve],
    dataset: str,
    pairs: ImagePairs,
    measures: Mapping[str, Compare],
    *,
    round_to_8_bit: bool = True,
) -> Iterator[Comparison]:
    """Measure every method on every image of a data set, one after another.

    Args:
        methods: by the name under which a method is reported; see :func:`bicubic`.
        dataset: as it is reported.
        pairs: the images.
        measures: see :func:`~torch_sr.evaluation.measures.build_measures`.
        round_to_8_bit: give the methods integers, so that they round their results to the depth
            of the file; otherwise floats, which stay as computed until they are measured.

    Raises:
        DataError: when an image is too small for a measure.
    """
    for index, image in enumerate(pairs.names):
        lr, hr = pairs[index]
        given = lr if round_to_8_bit else to_unit(lr)
        results: dict[str, Array] = {}
        metrics: dict[str, dict[str, float]] = {}
        for method, super_resolve in methods.items():
            sr = super_resolve(given)
            metrics[method] = _measure(measures, sr, hr, image)
            results[method] = convert(sr, hr.dtype)
        yield Comparison(dataset, image, lr, hr, results, metrics)


def _measure(measures: Mapping[str, Compare], sr: Array, hr: Array, image: str) -> dict[str, float]:
    found, expected = _to_unit_tensor(sr), _to_unit_tensor(hr)
    try:
        return {name: compare(found, expected) for name, compare in measures.items()}
    except DataError as error:
        raise DataError(f"{image}: {error}") from error


def bicubic(scale_factor: int) -> SuperResolve:
    """The baseline of every table: MATLAB's bicubic interpolation."""
    return lambda lr: imresize(lr, float(scale_factor))


def mean_scores(scores: Sequence[ImageScore]) -> dict[str, dict[str, dict[str, float]]]:
    """Means over images: ``[dataset][method][metric]``, in order of first appearance."""
    return _summarize(scores, lambda values: float(np.mean(values)))


def interval_scores(
    scores: Sequence[ImageScore],
) -> dict[str, dict[str, dict[str, tuple[float, float]]]]:
    """The 95 % intervals of :func:`mean_scores`, see :func:`mean_interval`."""
    return _summarize(scores, mean_interval)


def _summarize(
    scores: Sequence[ImageScore], summary: Callable[[list[float]], T]
) -> dict[str, dict[str, dict[str, T]]]:
    grouped: dict[str, dict[str, dict[str, list[float]]]] = {}
    for score in scores:
        metrics = grouped.setdefault(score.dataset, {}).setdefault(score.method, {})
        for name, value in score.metrics.items():
            metrics.setdefault(name, []).append(value)
    return {
        dataset: {
            method: {name: summary(values) for name, values in metrics.items()}
            for method, metrics in methods.items()
        }
        for dataset, methods in grouped.items()
    }


def mean_interval(
    values: Sequence[float], confidence: float = 0.95, resamples: int = 2000
) -> tuple[float, float]:
    """Where the mean of other such images would lie, by the bootstrap (Efron 1979), percentiles.

    Args:
        values: one an image; drawn with replacement, by random numbers that are always the same.
        confidence: how often the mean would lie there, in (0, 1).
        resamples: how often to draw.
    """
    drawn = np.random.default_rng(0).choice(np.asarray(values), (resamples, len(values)))
    outside = 50 * (1 - confidence)
    # To the nearest, for between two infinities there is nothing to interpolate.
    low, high = np.percentile(drawn.mean(axis=1), [outside, 100 - outside], method="nearest")
    return float(low), float(high)


def _to_unit_tensor(image: Array) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(to_unit(image).transpose(2, 0, 1)))[None]

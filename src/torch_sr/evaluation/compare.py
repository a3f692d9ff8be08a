"""Compare methods on the images of one data set: results and metrics.

The protocol is part of every result; see :mod:`torch_sr.metrics`. Whole images are compared, by the
metrics of :mod:`torch_sr.evaluation.metric_table`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from time import perf_counter

import numpy as np
import torch

from torch_sr.aliases import Array
from torch_sr.data.image_pairs import ImagePairs
from torch_sr.errors import DataError, ModelError
from torch_sr.evaluation.method import Method
from torch_sr.evaluation.metric_table import MetricFunction, ProtocolMetrics
from torch_sr.images import convert, to_nchw, to_unit


@dataclass(frozen=True)
class ImageScore:
    """The metrics of one image of one data set under one method."""

    dataset: str
    image: str
    method: str
    metrics: dict[str, float]
    protocol: str = "paper"


@dataclass(frozen=True)
class Comparison:
    """One image of a data set under every method.

    Args:
        dataset: the reported name: ``set5``.
        image: its name, ``set5/baby``.
        lr: ``(h, w, C)``, C 1 or 3, uint8 or uint16.
        hr: ``(h * s, w * s, C)`` of the same dtype.
        results: the result of each method, the baseline first; shape and dtype of ``hr``.
        metrics: values by method, then by name; see
            :data:`~torch_sr.evaluation.metric_table.METRICS`.
        protocol: the protocol of these metrics.
        further: the metrics under other protocols, by the names of the protocols.
        seconds: the time that each method took.
    """

    dataset: str
    image: str
    lr: Array
    hr: Array
    results: dict[str, Array]
    metrics: dict[str, dict[str, float]]
    protocol: str = "paper"
    further: dict[str, dict[str, dict[str, float]]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    def to_8_bit(self) -> Comparison:
        """A copy with all images as uint8, for display."""
        results = {method: convert(sr, np.uint8) for method, sr in self.results.items()}
        lr, hr = convert(self.lr, np.uint8), convert(self.hr, np.uint8)
        return replace(self, lr=lr, hr=hr, results=results)

    @property
    def scores(self) -> list[ImageScore]:
        """Only the metrics, a score for each method and protocol."""
        return [
            ImageScore(self.dataset, self.image, method, metrics, protocol)
            for protocol, methods in {self.protocol: self.metrics, **self.further}.items()
            for method, metrics in methods.items()
        ]


def compare(
    methods: Sequence[Method],
    dataset: str,
    pairs: ImagePairs,
    protocols: Sequence[ProtocolMetrics],
) -> Iterator[Comparison]:
    """Measure every method on every image of a data set, one image after another.

    Args:
        methods: the baseline first; see :func:`~torch_sr.evaluation.method.bicubic` and
            :mod:`torch_sr.evaluation.methods`.
        dataset: the reported name.
        pairs: the images.
        protocols: see :func:`~torch_sr.evaluation.metric_table.build_protocol_metrics`.
            If all of them round, methods receive integers with the depth of the file; otherwise
            floats, and their results are not rounded before they are measured.

    Raises:
        DataError: an image is too small for a metric.
        ModelError: a network computes NaN or infinite values.
    """
    for index in range(len(pairs.names)):
        yield compare_image(methods, dataset, pairs, index, protocols)


def compare_image(
    methods: Sequence[Method],
    dataset: str,
    pairs: ImagePairs,
    index: int,
    protocols: Sequence[ProtocolMetrics],
) -> Comparison:
    """Measure every method on one image; see :func:`compare`."""
    main, *further = protocols
    lr, hr = pairs[index]
    comparison = Comparison(dataset, pairs.names[index], lr, hr, {}, {}, main.protocol.name)
    comparison.further.update({found.protocol.name: {} for found in further})
    exact = not all(found.protocol.round_to_8_bit for found in protocols)
    given = to_unit(lr) if exact else lr
    for method in methods:
        _add_method(comparison, method, given, protocols)
    return comparison


def _add_method(
    comparison: Comparison, method: Method, given: Array, protocols: Sequence[ProtocolMetrics]
) -> None:
    """Add the result of one method for an image, computed once for all protocols."""
    lr, hr, label = comparison.lr, comparison.hr, method.label
    start = perf_counter()
    try:
        sr = method.super_resolve(given)
    except ModelError as error:
        raise ModelError(f"{label}, {comparison.image}: {error}") from error
    comparison.seconds[label] = perf_counter() - start
    rounded = sr
    if any(found.protocol.round_to_8_bit for found in protocols):
        again = given.dtype != lr.dtype and method.rounds_between
        rounded = method.super_resolve(lr) if again else convert(sr, lr.dtype)
    for found in protocols:
        compared = rounded if found.protocol.round_to_8_bit else sr
        metrics = _measure(found.metrics, compared, hr, comparison.image)
        if found is protocols[0]:
            comparison.results[label] = convert(compared, hr.dtype)
            comparison.metrics[label] = metrics
        else:
            comparison.further[found.protocol.name][label] = metrics


def _measure(
    metrics: Mapping[str, MetricFunction], sr: Array, hr: Array, image: str
) -> dict[str, float]:
    tensors = [torch.from_numpy(to_nchw(pixels)) for pixels in (sr, hr)]
    try:
        return {name: compute(*tensors) for name, compute in metrics.items()}
    except DataError as error:
        raise DataError(f"{image}: {error}") from error

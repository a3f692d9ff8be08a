"""Measure methods on image pairs: models, interpolations of two, and bicubic as the baseline.

The protocol is part of every result; see :mod:`torch_sr.metrics`. Whole images are compared, by the
measures of :mod:`torch_sr.evaluation.metric_table`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import perf_counter
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from torch_sr.aliases import Array
from torch_sr.data.crops.random_crops import ImagePairs
from torch_sr.data.resize import imresize
from torch_sr.errors import DataError, ModelError
from torch_sr.evaluation.metric_table import MetricFunction, ProtocolMetrics
from torch_sr.images import convert, to_unit

SuperResolve = Callable[[Array], Array]
"""``(H, W, C)`` to ``(H * s, W * s, C)``, both uint8, both uint16, or both float32 in [0, 1]."""

Group = Literal["networks", "images"]
BASELINE = "bicubic"
"""The label of the baseline, which no model can have."""


@dataclass(frozen=True)
class Method:
    """One way to super-resolve a picture.

    Args:
        label: as it is shown; distinct within a test, and never parsed.
        super_resolve: the way itself.
        group: which sweep it belongs to: interpolated ``networks``, or interpolated ``images``.
        alpha: its place in that sweep, in [0, 1].
        source: the weights file whose architecture it computes, if it is a network's.
        rounds_between: whether it rounds integers between its steps, so that its result is more
            than its result for floats, rounded.
    """

    label: str
    super_resolve: SuperResolve
    group: Group | None = None
    alpha: float | None = None
    source: Path | None = None
    rounds_between: bool = False

    @property
    def is_model(self) -> bool:
        """Whether it is a weights file as it stands, and not the baseline or part of a sweep."""
        return self.group is None and self.source is not None


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
        dataset: as it is reported: ``set5``.
        image: its name, ``set5/baby``.
        lr: ``(h, w, C)``, C 1 or 3, uint8 or uint16.
        hr: ``(h * s, w * s, C)``, likewise.
        results: what each method made of ``lr``, the baseline first; like ``hr``.
        metrics: by method, then by the names of :data:`~torch_sr.evaluation.metric_table.METRICS`.
        protocol: under which these were measured.
        further: the metrics under further protocols, by the protocols' names.
        seconds: how long each method took.
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
        """The same for showing: all images uint8."""
        results = {method: convert(sr, np.uint8) for method, sr in self.results.items()}
        lr, hr = convert(self.lr, np.uint8), convert(self.hr, np.uint8)
        return replace(self, lr=lr, hr=hr, results=results)

    @property
    def scores(self) -> list[ImageScore]:
        """The metrics alone, one for each method and protocol."""
        return [
            ImageScore(self.dataset, self.image, method, metrics, protocol)
            for protocol, methods in {self.protocol: self.metrics, **self.further}.items()
            for method, metrics in methods.items()
        ]


def compare(
    methods: Sequence[Method], dataset: str, pairs: ImagePairs, panels: Sequence[ProtocolMetrics]
) -> Iterator[Comparison]:
    """Measure every method on every image of a data set, one after another.

    Args:
        methods: see :mod:`torch_sr.evaluation.methods`, and :func:`bicubic`.
        dataset: as it is reported.
        pairs: the images.
        panels: see :func:`~torch_sr.evaluation.metric_table.build_protocol_metrics`.
            Under a protocol that rounds, methods give integers of the depth of the file; otherwise
            floats, which stay as computed until they are measured.

    Raises:
        DataError: when an image is too small for a measure.
        ModelError: when a network computes NaN or infinite values.
    """
    first, *others = panels
    for index, image in enumerate(pairs.names):
        lr, hr = pairs[index]
        comparison = Comparison(dataset, image, lr, hr, {}, {}, first.protocol.name)
        comparison.further.update({panel.protocol.name: {} for panel in others})
        exact = not all(panel.protocol.round_to_8_bit for panel in panels)
        given = to_unit(lr) if exact else lr
        for method in methods:
            _compare(method, given, comparison, panels)
        yield comparison


def _compare(
    method: Method, given: Array, comparison: Comparison, panels: Sequence[ProtocolMetrics]
) -> None:
    """Fill in the result of one method for an image, computed once for all protocols."""
    lr, hr, label = comparison.lr, comparison.hr, method.label
    began = perf_counter()
    try:
        sr = method.super_resolve(given)
    except ModelError as error:
        raise ModelError(f"{label}, {comparison.image}: {error}") from error
    comparison.seconds[label] = perf_counter() - began
    rounded = sr
    if any(panel.protocol.round_to_8_bit for panel in panels):
        again = given.dtype != lr.dtype and method.rounds_between
        rounded = method.super_resolve(lr) if again else convert(sr, lr.dtype)
    for panel in panels:
        shown = rounded if panel.protocol.round_to_8_bit else sr
        metrics = _measure(panel.measures, shown, hr, comparison.image)
        if panel is panels[0]:
            comparison.results[label] = convert(shown, hr.dtype)
            comparison.metrics[label] = metrics
        else:
            comparison.further[panel.protocol.name][label] = metrics


def _measure(
    measures: Mapping[str, MetricFunction], sr: Array, hr: Array, image: str
) -> dict[str, float]:
    found, expected = _to_unit_tensor(sr), _to_unit_tensor(hr)
    try:
        return {name: compare(found, expected) for name, compare in measures.items()}
    except DataError as error:
        raise DataError(f"{image}: {error}") from error


def bicubic(scale_factor: int) -> Method:
    """The baseline of every table: MATLAB's bicubic interpolation."""
    return Method(BASELINE, lambda lr: imresize(lr, float(scale_factor)), rounds_between=True)


def _to_unit_tensor(image: Array) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(to_unit(image).transpose(2, 0, 1)))[None]

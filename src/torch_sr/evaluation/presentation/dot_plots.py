"""Dot plots for the report: values of every image by method."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from torch_sr.evaluation.averages import mean_over_images
from torch_sr.evaluation.compare import ImageScore
from torch_sr.evaluation.labels import wrap
from torch_sr.evaluation.metric_table import METRICS
from torch_sr.evaluation.presentation.tables import number

WIDTH = 320
_LETTERS = 48  # in a line of text
_LINE = 13  # pixels
_RIM = 6


@dataclass(frozen=True)
class Mark:
    """The position of a dot or of the mark of a mean, and its tooltip."""

    x: str
    title: str


@dataclass(frozen=True)
class MethodLine:
    """The values of one method.

    Args:
        label: the lines of its label, each with its baseline in pixels.
        y: vertical position of the dots, in pixels.
        dots: one for each image with a finite value.
        mean: the mean of these values; None if there are none.
    """

    label: list[tuple[int, str]]
    y: int
    dots: list[Mark]
    mean: Mark | None


@dataclass(frozen=True)
class DotPlot:
    """One metric on one data set.

    Args:
        title: the title of the plot.
        description: alternative text for screen readers.
        lines: one per method, the baseline first.
        low, high: the ends of the axis, as text.
        bottom: baseline of these texts, in pixels.
    """

    title: str
    description: str
    lines: list[MethodLine]
    low: str
    high: str
    bottom: int


def dot_plots(scores: Sequence[ImageScore]) -> list[list[DotPlot]]:
    """A row of plots for each data set, one plot per metric."""
    metrics = list(scores[0].metrics) if scores else []
    rows = []
    for dataset in dict.fromkeys(score.dataset for score in scores):
        found = [score for score in scores if score.dataset == dataset]
        rows.append([_plot(dataset, found, metric) for metric in metrics])
    return rows


def _plot(dataset: str, scores: Sequence[ImageScore], metric: str) -> DotPlot:
    finite = [score.metrics[metric] for score in scores if math.isfinite(score.metrics[metric])]
    low, high = (min(finite), max(finite)) if finite else (0.0, 1.0)
    lines = list(_lines(scores, metric, low, (high - low) or 1.0))
    title = METRICS[metric].title
    return DotPlot(
        f"{dataset}: {title}",
        f"{title} of every image, one line per method",
        lines,
        number(low, metric),
        number(high, metric),
        lines[-1].y + 26,
    )


def _lines(
    scores: Sequence[ImageScore], metric: str, low: float, span: float
) -> Iterator[MethodLine]:
    y = 0
    for method in dict.fromkeys(score.method for score in scores):
        texts = wrap(method, lambda line: len(line) <= _LETTERS)
        label = [(y + _LINE * n, text) for n, text in enumerate(texts, start=1)]
        y += _LINE * len(texts) + 14
        values = {score.image: score.metrics[metric] for score in scores if score.method == method}
        dots = [
            Mark(_place(value, low, span), f"{image}: {number(value, metric)}")
            for image, value in values.items()
            if math.isfinite(value)
        ]
        mean = mean_over_images(values).value
        shown = Mark(_place(mean, low, span), f"mean {number(mean, metric)}") if dots else None
        yield MethodLine(label, y, dots, shown)
        y += 12


def _place(value: float, low: float, span: float) -> str:
    return f"{_RIM + (WIDTH - 2 * _RIM) * (value - low) / span:.1f}"

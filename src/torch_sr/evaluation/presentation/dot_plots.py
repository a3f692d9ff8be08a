"""Strips of dots for the report: every image under every method, as SVG."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence

from torch_sr.evaluation.averages import mean_over_images
from torch_sr.evaluation.compare import ImageScore
from torch_sr.evaluation.labels import wrap
from torch_sr.evaluation.metric_table import METRICS
from torch_sr.evaluation.presentation.tables import number

_LETTERS = 48  # of a line of text
_LINE = 13  # pixels
_WIDTH, _RIM = 320, 6


def draw_strips(scores: Sequence[ImageScore]) -> str:
    """A row of plots for each data set: a plot for each metric, and in it a line a method."""
    metrics = list(scores[0].metrics) if scores else []
    rows = []
    for dataset in dict.fromkeys(score.dataset for score in scores):
        own = [score for score in scores if score.dataset == dataset]
        plots = "".join(_plot(dataset, own, metric) for metric in metrics)
        rows.append(f"<div class=plots>{plots}</div>")
    return "".join(rows)


def _plot(dataset: str, scores: Sequence[ImageScore], metric: str) -> str:
    title = html.escape(f"{dataset}: {METRICS[metric].title}")
    return f"<div class=plot><h3>{title}</h3>{_strip(scores, metric)}</div>"


def _strip(scores: Sequence[ImageScore], metric: str) -> str:
    values = [score.metrics[metric] for score in scores]
    finite = [value for value in values if math.isfinite(value)] or [0.0, 1.0]
    low, span = min(finite), (max(finite) - min(finite)) or 1.0
    parts, y = [], 0
    for index, method in enumerate(dict.fromkeys(score.method for score in scores)):
        lines = wrap(method, lambda line: len(line) <= _LETTERS)
        parts += [
            f'<text class=m x="0" y="{y + _LINE * n}">{html.escape(line)}</text>'
            for n, line in enumerate(lines, start=1)
        ]
        y += _LINE * len(lines) + 14
        own = [score for score in scores if score.method == method]
        kind = ' class="baseline"' if index == 0 else ""
        parts.append(f"<g{kind}>{_line(own, metric, low, span, y)}</g>")
        y += 12
    bottom = y + 14
    parts.append(f'<text x="0" y="{bottom}">{number(min(finite), metric)}</text>')
    right = f'x="{_WIDTH}" y="{bottom}" text-anchor="end"'
    parts.append(f"<text {right}>{number(max(finite), metric)}</text>")
    label = html.escape(f"{METRICS[metric].title} of every image, one line a method")
    box = f'viewBox="0 0 {_WIDTH} {bottom + 4}"'
    return f'<svg {box} role="img" aria-label="{label}">{"".join(parts)}</svg>'


def _line(scores: Sequence[ImageScore], metric: str, low: float, span: float, y: int) -> str:
    """The dots of one method, and a mark at their mean."""
    dots = "".join(_dot(score, metric, low, span, y) for score in scores)
    mean = mean_over_images({score.image: score.metrics[metric] for score in scores}).value
    mark = ""
    if math.isfinite(mean):
        x = _place(mean, low, span)
        title = f"<title>mean {number(mean, metric)}</title>"
        mark = f'<line class=mean x1="{x}" x2="{x}" y1="{y - 8}" y2="{y + 8}">{title}</line>'
    return f'<line x1="0" x2="{_WIDTH}" y1="{y}" y2="{y}"/>{dots}{mark}'


def _dot(score: ImageScore, metric: str, low: float, span: float, y: int) -> str:
    value = score.metrics[metric]
    if not math.isfinite(value):
        return ""
    title = html.escape(f"{score.image}: {number(value, metric)}")
    return f'<circle cx="{_place(value, low, span)}" cy="{y}" r="4"><title>{title}</title></circle>'


def _place(value: float, low: float, span: float) -> str:
    return f"{_RIM + (_WIDTH - 2 * _RIM) * (value - low) / span:.1f}"

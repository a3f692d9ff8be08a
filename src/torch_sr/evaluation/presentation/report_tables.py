"""The tables of the report: means, and differences from a reference, as HTML."""

from __future__ import annotations

import html
import math
import re
from collections.abc import Sequence

from torch_sr.evaluation.compare import ImageScore
from torch_sr.evaluation.metric_table import METRICS
from torch_sr.evaluation.presentation.tables import MISSING, number, rank
from torch_sr.evaluation.statistics import Difference, Summary, differences, summarize


def means_table(scores: Sequence[ImageScore]) -> str:
    """A row for each data set and method; the best mean is marked."""
    metrics = _metrics(scores)
    groups = {}
    for dataset, methods in summarize(scores).items():
        ranks = {metric: rank(methods, metric) for metric in metrics}
        groups[dataset] = {
            method: [_mean(found[m], m, ranks[m].get(method) == 1) for m in metrics]
            for method, found in methods.items()
        }
    return _table(metrics, groups)


def differences_section(scores: Sequence[ImageScore], reference: str | None) -> str:
    """A heading, the table of every other method minus the reference, and how to read it."""
    if reference is None or not scores:
        return ""
    metrics = _metrics(scores)
    groups = {
        dataset: {
            method: [_difference(found[m], m) for m in metrics] for method, found in methods.items()
        }
        for dataset, methods in differences(scores, reference).items()
    }
    return (
        f"<h2>Difference from {breakable(reference)}</h2>\n"
        f'<div class="scroll">{_table(metrics, groups)}</div>\n'
        f"<p>Method minus {html.escape(reference)}, image by image. Next to each mean difference "
        "is its 95&nbsp;% interval, from a paired bootstrap over the images; a star marks an "
        "interval that excludes 0.</p>"
    )


def breakable(text: str) -> str:
    """Text that may be broken after the punctuation of file names."""
    return re.sub(r"([_/.])", r"\1<wbr>", html.escape(text))


def _metrics(scores: Sequence[ImageScore]) -> list[str]:
    return list(scores[0].metrics) if scores else []


def _table(metrics: Sequence[str], groups: dict[str, dict[str, list[str]]]) -> str:
    """Cells by data set and method."""
    heads = "".join(f"<th>{html.escape(METRICS[metric].title)}</th>" for metric in metrics)
    rows = []
    for dataset, methods in groups.items():
        rows.append(f"<tbody><tr><th colspan={1 + len(metrics)}>{breakable(dataset)}</th></tr>")
        rows += [
            f"<tr><td class=name>{breakable(method)}</td>{''.join(cells)}</tr>"
            for method, cells in methods.items()
        ]
        rows.append("</tbody>")
    head = f"<thead><tr><th class=name>method</th>{heads}</tr></thead>"
    return f"<table class=means>{head}{''.join(rows)}</table>"


def _mean(summary: Summary, metric: str, best: bool) -> str:
    if math.isnan(summary.mean):
        return _cell(MISSING, metric)
    interval = ""
    if not math.isnan(summary.low):  # which one image has not
        low, high = number(summary.low, metric), number(summary.high, metric)
        interval = f"{low}–{high}"  # noqa: RUF001
    return _cell(number(summary.mean, metric), metric, interval, best)


def _difference(difference: Difference, metric: str) -> str:
    text = number(difference.mean, metric, "+")
    if math.isnan(difference.low):
        return _cell(text, metric)
    low, high = (number(v, metric, "+") for v in (difference.low, difference.high))
    return _cell(text + "*" * difference.excludes_zero, metric, f"{low} to {high}")


def _cell(text: str, metric: str, interval: str = "", best: bool = False) -> str:
    title = html.escape(METRICS[metric].title)
    mark = " class=best" if best else ""
    return f'<td{mark} data-title="{title}">{text}<small>{interval}</small></td>'

"""Tables of a test: means, differences between methods, and every image.

A :class:`Table` contains texts and ranks, independent of the output format. The command prints it
on a terminal; :mod:`torch_sr.evaluation.presentation.table_formats` writes it as Markdown, LaTeX
and CSV; the report shows it as HTML.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from torch_sr.evaluation.compare import ImageScore
from torch_sr.evaluation.cost import OUTPUT, MethodCost
from torch_sr.evaluation.metric_table import METRICS
from torch_sr.evaluation.statistics import ByDataset, Difference, Summary, differences, summarize

MISSING = "–"  # noqa: RUF001 - the dash of typography
_COSTS = ("parameters", f"multiply-adds for {OUTPUT[0]}x{OUTPUT[1]}", "megapixels/s")


@dataclass(frozen=True)
class Cell:
    """A number as text, its interval, and its rank in its column: 1 best, 2 second, 0 other."""

    text: str
    interval: str = ""
    rank: int = 0


@dataclass
class Table:
    """Rows in groups, which are separated by lines.

    Args:
        title: the title of the table.
        head: the titles of the columns.
        names: number of leading columns that contain names.
        groups: rows of cells.
        with_intervals: whether Markdown and LaTeX show the intervals, as a terminal always does.
    """

    title: str
    head: list[str]
    names: int
    groups: list[list[list[Cell]]] = field(default_factory=list)
    with_intervals: bool = False


@dataclass(frozen=True)
class Results:
    """The results under one protocol, for tables.

    Args:
        protocol: its name.
        summary: means and intervals.
        reference: the method that others are compared with, if any.
        differences: the differences of the other methods from it.
        costs: the costs by data set and method; may be empty.
    """

    protocol: str
    summary: ByDataset[Summary]
    reference: str | None = None
    differences: ByDataset[Difference] = field(default_factory=dict)
    costs: Mapping[str, Mapping[str, MethodCost]] = field(default_factory=dict)

    @property
    def metrics(self) -> list[str]:
        """All metrics, in their order."""
        methods = [metrics for methods in self.summary.values() for metrics in methods.values()]
        return list(dict.fromkeys(metric for metrics in methods for metric in metrics))


def results_by_protocol(
    scores: Sequence[ImageScore],
    protocols: Sequence[str],
    reference: str | None = None,
    costs: Mapping[str, Mapping[str, MethodCost]] | None = None,
) -> list[Results]:
    """Compute means, intervals and differences of the scores under each protocol.

    Args:
        scores: the scores of every image.
        protocols: the names of the protocols.
        reference: the method that others are compared with, if any.
        costs: the costs by data set and method.
    """
    found = []
    for protocol in protocols:
        own = [score for score in scores if score.protocol == protocol]
        paired = {} if reference is None else differences(own, reference)
        found.append(Results(protocol, summarize(own), reference, paired, costs or {}))
    return found


def mean_table(results: Results) -> Table:
    """Means by data set and method; the best two of each data set are ranked."""
    metrics = results.metrics
    costs = list(_COSTS) if results.costs else []
    head = ["data set", "method", *costs, *(METRICS[metric].title for metric in metrics)]
    table = Table(f"mean, protocol {results.protocol!r}", head, 2)
    for dataset, methods in results.summary.items():
        ranks = {metric: rank(methods, metric) for metric in metrics}
        rows = []
        for method, found in methods.items():
            row = [Cell(dataset), Cell(method)]
            if results.costs:
                row += _cost_cells(results.costs[dataset].get(method))
            row += [_mean_cell(found[m], m, ranks[m].get(method, 0)) for m in metrics]
            rows.append(row)
        table.groups.append(rows)
    return table


def rank(methods: Mapping[str, Mapping[str, Summary]], metric: str) -> dict[str, int]:
    """Rank the best (1) and second-best methods (2) by their displayed digits.

    If different images were left out of the means, there is no ranking. A second place needs at
    least three methods.
    """
    found = {method: metrics[metric] for method, metrics in methods.items() if metric in metrics}
    over = {frozenset(summary.left_out) for summary in found.values()}
    if len(found) < 2 or len(over) > 1:
        return {}
    row = METRICS[metric]
    shown = {m: round(s.mean, row.digits) for m, s in found.items() if math.isfinite(s.mean)}
    values = sorted(set(shown.values()), reverse=row.higher_is_better)
    ranked = values[: 2 if len(found) > 2 else 1]
    return {m: ranked.index(value) + 1 for m, value in shown.items() if value in ranked}


def difference_table(results: Results) -> Table:
    """Every method minus the reference, with intervals; a star if they exclude 0."""
    title = f"difference from {results.reference}, paired by image (*: excludes 0), protocol"
    head = ["data set", "method", *(METRICS[metric].title for metric in results.metrics)]
    table = Table(f"{title} {results.protocol!r}", head, 2, with_intervals=True)
    for dataset, methods in results.differences.items():
        rows = [
            [Cell(dataset), Cell(method), *(_difference_cell(d, m) for m, d in found.items())]
            for method, found in methods.items()
        ]
        table.groups.append(rows)
    return table


def image_table(scores: Sequence[ImageScore], protocol: str) -> Table:
    """Every image under every method."""
    scores = [score for score in scores if score.protocol == protocol]
    metrics = list(scores[0].metrics) if scores else []
    head = ["image", "method", *(METRICS[metric].title for metric in metrics)]
    table = Table(f"every image, protocol {protocol!r}", head, 2)
    grouped: dict[str, list[list[Cell]]] = {}
    for score in scores:
        cells = [Cell(number(score.metrics[metric], metric)) for metric in metrics]
        grouped.setdefault(score.image, []).append([Cell(score.image), Cell(score.method), *cells])
    table.groups.extend(grouped.values())
    return table


def number(value: float, metric: str, sign: str = "") -> str:
    """A value with the digits of its metric; a dash for NaN."""
    if math.isnan(value):
        return MISSING
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    rounded = round(value, METRICS[metric].digits) or 0.0  # no -0.00
    return f"{rounded:{sign if rounded else ''}.{METRICS[metric].digits}f}"


def _mean_cell(summary: Summary, metric: str, place: int) -> Cell:
    if math.isnan(summary.mean):
        return Cell(MISSING)
    if math.isnan(summary.low):  # only one image
        return Cell(number(summary.mean, metric), rank=place)
    interval = f"{number(summary.low, metric)}–{number(summary.high, metric)}"  # noqa: RUF001
    return Cell(number(summary.mean, metric), interval, place)


def _difference_cell(difference: Difference, metric: str) -> Cell:
    text = number(difference.mean, metric, "+")
    if math.isnan(difference.low):
        return Cell(text)
    low, high = (number(v, metric, "+") for v in (difference.low, difference.high))
    return Cell(text + "*" * difference.excludes_zero, f"{low} to {high}")


def _cost_cells(cost: MethodCost | None) -> list[Cell]:
    if cost is None:
        return [Cell(MISSING)] * len(_COSTS)
    return [
        Cell(MISSING if cost.num_parameters is None else _si(cost.num_parameters)),
        Cell(MISSING if cost.macs is None else _si(cost.macs)),
        Cell(
            MISSING if cost.megapixels_per_second is None else f"{cost.megapixels_per_second:.3g}"
        ),
    ]


def _si(value: float) -> str:
    """``759 K``, ``16.7 M``, ``45.1 G``."""
    for unit, size in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("K", 1e3)):
        if value >= 0.9995 * size:
            return f"{value / size:.3g} {unit}"
    return f"{value:.0f}"

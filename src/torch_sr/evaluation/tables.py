"""Tables of a test, and how they are written: Markdown, LaTeX (booktabs), CSV.

A :class:`Table` holds text and ranks, and knows nothing of where it is shown. The command draws it
on a terminal; :func:`to_markdown` and :func:`to_latex` are for documents, :func:`means_csv` is for
programs and has all digits.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from torch_sr.evaluation.cost import OUTPUT, MethodCost
from torch_sr.evaluation.evaluate import ImageScore
from torch_sr.evaluation.measures import MEASURES
from torch_sr.evaluation.statistics import Difference, Summary
from torch_sr.evaluation.statistics import Table as ByDataset

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
    """Rows in groups, which lines part.

    Args:
        title: what it shows.
        head: the columns; the first ``names`` of them are text.
        groups: rows of cells.
        with_intervals: whether documents show the intervals, as a terminal always does.
    """

    title: str
    head: list[str]
    names: int
    groups: list[list[list[Cell]]] = field(default_factory=list)
    with_intervals: bool = False


@dataclass(frozen=True)
class Results:
    """All that a table may show of one protocol.

    Args:
        protocol: its name.
        summary: means and intervals.
        reference: the method that others are compared with, if any.
        differences: of the others from it.
        costs: by data set and method; empty where they were not asked for.
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


def mean_table(results: Results) -> Table:
    """Means by data set and method; the best two of each data set are ranked."""
    metrics = results.metrics
    costs = list(_COSTS) if results.costs else []
    head = ["data set", "method", *costs, *(MEASURES[metric].title for metric in metrics)]
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
    """The best methods (1) and the second (2) by the digits shown; nothing where means differ.

    Means over different images, of which some were left out, cannot be ranked. A second is named
    among three methods or more.
    """
    found = {method: metrics[metric] for method, metrics in methods.items() if metric in metrics}
    over = {frozenset(summary.left_out) for summary in found.values()}
    if len(found) < 2 or len(over) > 1:
        return {}
    row = MEASURES[metric]
    shown = {m: round(s.mean, row.digits) for m, s in found.items() if math.isfinite(s.mean)}
    values = sorted(set(shown.values()), reverse=row.higher_is_better)
    ranked = values[: 2 if len(found) > 2 else 1]
    return {m: ranked.index(value) + 1 for m, value in shown.items() if value in ranked}


def difference_table(results: Results) -> Table:
    """Every method minus the reference, with intervals; a star where they exclude 0."""
    title = f"difference from {results.reference}, paired by image (*: excludes 0), protocol"
    head = ["data set", "method", *(MEASURES[metric].title for metric in results.metrics)]
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
    head = ["image", "method", *(MEASURES[metric].title for metric in metrics)]
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
    rounded = round(value, MEASURES[metric].digits) or 0.0  # no -0.00
    return f"{rounded:{sign if rounded else ''}.{MEASURES[metric].digits}f}"


def _mean_cell(summary: Summary, metric: str, place: int) -> Cell:
    if math.isnan(summary.mean):
        return Cell(MISSING)
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


# --- Forms ----------------------------------------------------------------------------------------


def to_markdown(table: Table) -> str:
    """A table of GitHub's Markdown, the best in bold; differences with their intervals."""
    lines = [f"**{_markdown(table.title)}**", ""]
    marks = ["---"] * table.names + ["---:"] * (len(table.head) - table.names)
    lines += [_row([_markdown(text) for text in table.head]), _row(marks)]
    for group in table.groups:
        for row in group:
            names = [_markdown(cell.text) for cell in row[: table.names]]
            cells = [_markdown_cell(cell, table.with_intervals) for cell in row[table.names :]]
            lines.append(_row([*names, *cells]))
    return "\n".join(lines)


def to_latex(table: Table) -> str:
    """A tabular of booktabs, the best in bold and the second underlined."""
    columns = "l" * table.names + "r" * (len(table.head) - table.names)
    lines = [
        f"% {' '.join(table.title.split())}; needs \\usepackage{{booktabs}}",
        f"\\begin{{tabular}}{{{columns}}}",
        "\\toprule",
        " & ".join(_latex(text) for text in table.head) + " \\\\",
    ]
    for group in table.groups:
        lines.append("\\midrule")
        lines += [
            " & ".join(
                [_latex(cell.text) for cell in row[: table.names]]
                + [_latex_cell(cell, table.with_intervals) for cell in row[table.names :]]
            )
            + " \\\\"
            for row in group
        ]
    return "\n".join([*lines, "\\bottomrule", "\\end{tabular}"])


def means_csv(several: Sequence[Results]) -> str:
    """Means of all protocols, unrounded: a line for each data set, method and protocol."""
    head = ["protocol", "dataset", "method", "images"]
    with_costs = any(results.costs for results in several)
    compared = any(results.reference is not None for results in several)
    metrics = list(dict.fromkeys(metric for results in several for metric in results.metrics))
    head += ["parameters", "multiply_adds", "megapixels_per_second"] if with_costs else []
    for metric in metrics:
        head += [metric, f"{metric}_low", f"{metric}_high", f"{metric}_images"]
        if compared:
            head += [f"{metric}_difference", f"{metric}_difference_low"]
            head += [f"{metric}_difference_high", f"{metric}_difference_excludes_0"]
    text = io.StringIO()
    writer = csv.DictWriter(text, head, restval="", lineterminator="\n")
    writer.writeheader()
    for results in several:
        writer.writerows(_csv_rows(results))
    return text.getvalue()


def _csv_rows(results: Results) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for dataset, methods in results.summary.items():
        for method, metrics in methods.items():
            images = max(summary.images for summary in metrics.values())
            row: dict[str, object] = {"protocol": results.protocol, "dataset": dataset}
            row |= {"method": method, "images": images}
            cost = results.costs.get(dataset, {}).get(method)
            if cost is not None:
                row |= {"parameters": cost.num_parameters, "multiply_adds": cost.macs}
                row["megapixels_per_second"] = cost.megapixels_per_second
            differences = results.differences.get(dataset, {}).get(method, {})
            for metric, summary in metrics.items():
                row |= _csv_metric(metric, summary, differences.get(metric))
            rows.append(row)
    return rows


def _csv_metric(metric: str, summary: Summary, apart: Difference | None) -> dict[str, object]:
    cells: dict[str, object] = {f"{metric}_images": summary.images - len(summary.left_out)}
    if not math.isnan(summary.mean):
        cells |= {
            metric: summary.mean,
            f"{metric}_low": summary.low,
            f"{metric}_high": summary.high,
        }
    if apart is not None and not math.isnan(apart.mean):
        cells[f"{metric}_difference"] = apart.mean
        if not math.isnan(apart.low):
            cells[f"{metric}_difference_low"] = apart.low
            cells[f"{metric}_difference_high"] = apart.high
            cells[f"{metric}_difference_excludes_0"] = str(apart.excludes_zero).lower()
    return cells


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _markdown(text: str) -> str:
    """Text that Markdown shows as it is."""
    return re.sub(r"([\\`*_{}\[\]<>#|~$&])", r"\\\1", " ".join(text.split()))


def _markdown_cell(cell: Cell, with_interval: bool) -> str:
    text = _markdown(cell.text)
    text = f"**{text}**" if cell.rank == 1 else text
    return f"{text} ({cell.interval})" if with_interval and cell.interval else text


_LATEX = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "[": "{[}",  # which would follow a line break as its option
    "]": "{]}",
    "*": "{*}",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "–": "--",  # noqa: RUF001
    "∞": r"$\infty$",
}


def _latex(text: str) -> str:
    return "".join(_LATEX.get(letter, letter) for letter in " ".join(text.split()))


def _latex_cell(cell: Cell, with_interval: bool) -> str:
    text = _latex_number(cell.text)
    text = f"\\underline{{{text}}}" if cell.rank == 2 else text
    text = f"\\textbf{{{text}}}" if cell.rank == 1 else text
    if not (with_interval and cell.interval):
        return text
    return f"{text} ({' '.join(map(_latex_number, cell.interval.split()))})"


def _latex_number(text: str) -> str:
    """A signed number in mathematics, so that its minus is one; bold there too."""
    signed = text[:1] in ("+", "-") and text[1:2].isdigit()
    return f"\\ensuremath{{{text[0]}}}{text[1:]}" if signed else _latex(text)

"""Write the tables of a test as Markdown, LaTeX and CSV.

Names are escaped, so that each format shows them literally. CSV has all digits.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Sequence

from torch_sr.evaluation.presentation.tables import Cell, Results, Table
from torch_sr.evaluation.statistics import Difference, Summary


def to_markdown(table: Table) -> str:
    """A table in GitHub's Markdown: the best in bold, differences with intervals."""
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
    """A ``tabular`` for the package booktabs, the best in bold and the second underlined."""
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
    """Means under all protocols, not rounded: a line for each data set, method and protocol."""
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


def csv_name(text: str) -> str:
    """Escape a name so that spreadsheets do not run it as a formula: ``'=cmd`` for ``=cmd``.

    See "CSV Injection" of the OWASP Foundation.

    >>> csv_name("=1+1"), csv_name("-x"), csv_name("set5/baby")
    ("'=1+1", "'-x", 'set5/baby')
    """
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text


def _csv_rows(results: Results) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for dataset, methods in results.summary.items():
        for method, metrics in methods.items():
            images = max(summary.images for summary in metrics.values())
            row: dict[str, object] = {"protocol": results.protocol, "images": images}
            row |= {"dataset": csv_name(dataset), "method": csv_name(method)}
            cost = results.costs.get(dataset, {}).get(method)
            if cost is not None:
                row |= {"parameters": cost.num_parameters, "multiply_adds": cost.macs}
                row["megapixels_per_second"] = cost.megapixels_per_second
            differences = results.differences.get(dataset, {}).get(method, {})
            for metric, summary in metrics.items():
                row |= _csv_metric(metric, summary, differences.get(metric))
            rows.append(row)
    return rows


def _csv_metric(metric: str, summary: Summary, difference: Difference | None) -> dict[str, object]:
    cells: dict[str, object] = {f"{metric}_images": summary.images - len(summary.left_out)}
    if not math.isnan(summary.mean):
        cells |= {
            metric: summary.mean,
        }
        if not math.isnan(summary.low):
            cells |= {f"{metric}_low": summary.low, f"{metric}_high": summary.high}
    if difference is not None and not math.isnan(difference.mean):
        cells[f"{metric}_difference"] = difference.mean
        if not math.isnan(difference.low):
            cells[f"{metric}_difference_low"] = difference.low
            cells[f"{metric}_difference_high"] = difference.high
            cells[f"{metric}_difference_excludes_0"] = str(difference.excludes_zero).lower()
    return cells


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _markdown(text: str) -> str:
    """Escape text for Markdown."""
    return re.sub(r"([\\`*_{}\[\]<>#|~$&])", r"\\\1", " ".join(text.split()))


def _markdown_cell(cell: Cell, with_interval: bool) -> str:
    text = _markdown(cell.text)
    text = f"**{text}**" if cell.rank == 1 else text
    return f"{text} ({cell.interval})" if with_interval and cell.interval else text


_LATEX = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "[": "{[}",  # after a line break it would be an option
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
    """A number with its sign in math mode, so that a minus is typeset as a minus, even in bold."""
    signed = text[:1] in ("+", "-") and text[1:2].isdigit()
    return f"\\ensuremath{{{text[0]}}}{text[1:]}" if signed else _latex(text)

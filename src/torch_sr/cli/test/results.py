"""Print the results of a test, and record them in the files of models."""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from PIL import Image as PillowImage
from rich.console import Console
from rich.table import Column
from rich.table import Table as RichTable
from rich.text import Text

from torch_sr.cli.downloads import find_model
from torch_sr.errors import ModelError
from torch_sr.evaluation.averages import json_safe
from torch_sr.evaluation.compare import Comparison, ImageScore
from torch_sr.evaluation.labels import parse_named
from torch_sr.evaluation.method import BASELINE, Method
from torch_sr.evaluation.metric_table import MetricSettings
from torch_sr.evaluation.presentation import table_formats
from torch_sr.evaluation.presentation.sheets import draw_sheet
from torch_sr.evaluation.presentation.tables import (
    Cell,
    Results,
    Table,
    difference_table,
    mean_table,
)
from torch_sr.evaluation.statistics import mean_scores
from torch_sr.evaluation.store import ResultStore
from torch_sr.models.files.records import annotate, append_results
from torch_sr.models.weights import shipped_path

FORMATS = ("table", "markdown", "latex", "csv", "json")


class BestComparisons:
    """The images with the highest PSNR under a model, the best first.

    Args:
        count: number of images to keep.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self._kept: list[tuple[ImageScore, Comparison]] = []

    def add(self, comparison: Comparison) -> None:
        """Keep an image if it is among the best."""
        self._kept += [
            (score, comparison)
            for score in comparison.scores
            if score.method != BASELINE and score.protocol == comparison.protocol
        ]
        self._kept.sort(key=lambda kept: _sortable(kept[0].metrics["psnr"]), reverse=True)
        del self._kept[self.count :]

    @property
    def scores(self) -> list[ImageScore]:
        """Their scores."""
        return [score for score, _ in self._kept]

    def show(self, store: ResultStore | None, *, several: bool, file: Any = None) -> None:
        """Print a line per image, with the file of its result; open the sheets on a display."""
        for score, _ in self._kept:
            shown = score.image if store is None else store.result(score.image, score.method)
            method = f"  {score.method}" if several else ""
            print(f"{score.metrics['psnr']:6.2f} dB  {shown}{method}", file=file)
        if has_display():
            seen = {id(comparison): comparison for _, comparison in self._kept}
            for comparison in seen.values():
                open_window(comparison)


def check_records(models: Sequence[str]) -> None:
    """Refuse models whose files cannot be changed, before anything is measured.

    Raises:
        ModelError: a model is part of the package, or its file cannot be written.
    """
    for model in (parse_named(text).model for text in models):
        if shipped_path(model) is not None:
            raise ModelError(f"--record: copy {model} to a file first; it is part of the package")
        annotate(find_model(model), {})


def record_scores(
    methods: Sequence[Method], scores: Sequence[ImageScore], setting: MetricSettings
) -> None:
    """Write the means of each model into its file, except those that are not finite."""
    for protocol in setting.protocols:
        means = mean_scores([score for score in scores if score.protocol == protocol])
        where = f"x{setting.scale_factor}, protocol {protocol}"
        for method in methods:
            path = method.model.info.path if method.is_model and method.model else None
            if path is not None:
                results = {
                    f"{dataset} {where}": _finite(found[method.label])
                    for dataset, found in means.items()
                }
                append_results(path, results)


def has_display() -> bool:
    """Whether the user can see a window."""
    if not sys.stdout.isatty():
        return False
    windows = sys.platform in ("win32", "darwin")
    return windows or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def open_window(comparison: Comparison) -> None:
    """Show a sheet in the viewer of the desktop."""
    PillowImage.fromarray(draw_sheet(comparison)).show(title=comparison.image)


def print_results(
    several: Sequence[Results],
    scores: Sequence[ImageScore],
    best: BestComparisons,
    form: str,
    images: Sequence[Table] = (),
) -> None:
    """Print the results of all protocols as JSON, CSV, Markdown or LaTeX.

    Args:
        several: the results under each protocol, the main protocol first.
        scores: the scores of every image, for JSON.
        best: the best images, for JSON.
        form: one of ``FORMATS`` except ``table``.
        images: tables of every image, for Markdown and LaTeX.
    """
    if form == "json":
        print_json(several, scores, best)
    elif form == "csv":
        print(table_formats.means_csv(several), end="")
    else:
        write = table_formats.to_markdown if form == "markdown" else table_formats.to_latex
        print("\n\n".join(write(table) for table in [*result_tables(several), *images]))


def result_tables(several: Sequence[Results]) -> list[Table]:
    """Means and differences of every protocol."""
    found = []
    for results in several:
        found.append(mean_table(results))
        if results.reference is not None:
            found.append(difference_table(results))
    return found


def print_json(
    several: Sequence[Results], scores: Sequence[ImageScore], best: BestComparisons
) -> None:
    """Print everything measured; values that JSON cannot represent are null."""
    main, *others = several
    result = {
        "protocol": main.protocol,
        **_plain(main),
        "images": [asdict(score) for score in scores],
        "best": [asdict(score) for score in best.scores],
    }
    if others:
        result["other_protocols"] = {other.protocol: _plain(other) for other in others}
    print(json.dumps(json_safe(result), indent=2, allow_nan=False))


def _plain(results: Results) -> dict[str, Any]:
    """The results of a protocol as plain values, by data set, method and metric."""
    plain: dict[str, Any] = {"mean": {}, "interval": {}, "left_out": {}}
    for dataset, methods in results.summary.items():
        for method, metrics in methods.items():
            for metric, found in metrics.items():
                for key, value in (
                    ("mean", found.mean),
                    ("interval", (found.low, found.high)),
                    ("left_out", list(found.left_out)),
                ):
                    if key != "left_out" or found.left_out:
                        place = plain[key].setdefault(dataset, {}).setdefault(method, {})
                        place[metric] = value
    if results.reference is not None:
        plain["reference"] = results.reference
        plain["difference"] = {
            dataset: {
                method: {
                    metric: {**asdict(found), "excludes_zero": found.excludes_zero}
                    for metric, found in metrics.items()
                }
                for method, metrics in methods.items()
            }
            for dataset, methods in results.differences.items()
        }
    if results.costs:
        plain["cost"] = {
            dataset: {method: asdict(cost) for method, cost in methods.items()}
            for dataset, methods in results.costs.items()
        }
    return plain


def print_tables(tables: Sequence[Table]) -> None:
    """Print tables, with intervals below the numbers."""
    # A terminal shows what fits; a file or pipe gets a fixed width.
    console = Console(width=None if sys.stdout.isatty() else 160)
    for table in tables:
        rows = [row for group in table.groups for row in group]
        below = [any(row[place].interval for row in rows) for place in range(len(table.head))]
        columns = [Column(Text(text), overflow="fold") for text in table.head[: table.names]]
        columns += [
            Column(Text(f"{text}\n95 %" if interval else text), justify="right")
            for text, interval in list(zip(table.head, below, strict=True))[table.names :]
        ]
        drawn = RichTable(*columns, title=Text(table.title))
        for group in table.groups:
            for row in group:
                drawn.add_row(*(_drawn(cell) for cell in row))
            drawn.add_section()
        console.print(drawn)


def _drawn(cell: Cell) -> Text:
    """A cell for a terminal; brackets in names are not interpreted as markup."""
    text = Text(cell.text, style="bold" if cell.rank == 1 else "")
    return text.append(f"\n{cell.interval}", style="dim") if cell.interval else text


def _finite(metrics: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in metrics.items() if math.isfinite(value)}


def _sortable(value: float) -> float:
    return -math.inf if math.isnan(value) else value

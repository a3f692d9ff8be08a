"""What ``torch-sr test`` shows and keeps of its results: tables, JSON, the best images, records."""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch_sr.cli.console import find_model

if TYPE_CHECKING:
    from torch_sr.evaluation.evaluate import Comparison, ImageScore
    from torch_sr.evaluation.measures import Setting


class BestComparisons:
    """The images of highest PSNR under a model, the best first.

    Args:
        count: how many to keep.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self._kept: list[tuple[ImageScore, Comparison]] = []

    def add(self, comparison: Comparison) -> None:
        """Keep an image if it is among the best."""
        from torch_sr.evaluation.run import BASELINE

        self._kept += [(s, comparison) for s in comparison.scores if s.method != BASELINE]
        self._kept.sort(key=lambda kept: kept[0].metrics["psnr"], reverse=True)
        del self._kept[self.count :]

    @property
    def scores(self) -> list[ImageScore]:
        """Their scores."""
        return [score for score, _ in self._kept]

    def show(self, out_dir: Path | None, *, several: bool) -> None:
        """Print a line an image, with the file of its result; open the sheets where one can see."""
        from torch_sr.evaluation.run import result_path

        for score, _ in self._kept:
            method = score.method if several else None
            shown = score.image if out_dir is None else result_path(out_dir, score.image, method)
            print(f"{score.metrics['psnr']:6.2f} dB  {shown}" + (f"  {method}" if method else ""))
        if has_display():
            seen = {id(comparison): comparison for _, comparison in self._kept}
            for comparison in seen.values():
                open_window(comparison)


def check_records(models: Sequence[str]) -> None:
    """Refuse, before hours of measuring, files that records cannot be written into.

    Raises:
        ModelError: in one line.
    """
    from torch_sr.errors import ModelError
    from torch_sr.models.provenance import annotate
    from torch_sr.models.weights import shipped_path

    for model in models:
        if shipped_path(model) is not None:
            raise ModelError(f"--record: {model} is part of the package; copy it to a file first")
        annotate(find_model(model), {})


def record_scores(
    models: Sequence[str], names: Sequence[str], scores: Sequence[ImageScore], setting: Setting
) -> None:
    """Write each model's means into its file; the methods' names begin with the models'."""
    from torch_sr.evaluation.evaluate import mean_scores
    from torch_sr.models.provenance import append_results

    means = mean_scores(scores)
    where = f"x{setting.scale_factor}, protocol {setting.protocol.name}"
    for model, name in zip(models, names, strict=False):
        results = {f"{dataset} {where}": methods[name] for dataset, methods in means.items()}
        append_results(find_model(model), results)


def has_display() -> bool:
    """Whether a window could be seen by whoever runs this."""
    if not sys.stdout.isatty():
        return False
    windows = sys.platform in ("win32", "darwin")
    return windows or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def open_window(comparison: Comparison) -> None:
    """Show a sheet in the viewer of the desktop."""
    from PIL import Image as PillowImage

    from torch_sr.evaluation.figures import draw_sheet

    PillowImage.fromarray(draw_sheet(comparison)).show(title=comparison.image)


def print_json(scores: Sequence[ImageScore], best: BestComparisons, protocol: str) -> None:
    """Everything measured, on stdout; what JSON cannot write is null."""
    from torch_sr.evaluation.evaluate import interval_scores, mean_scores

    result = {
        "protocol": protocol,
        "mean": mean_scores(scores),
        "interval": interval_scores(scores),
        "images": [asdict(score) for score in scores],
        "best": [asdict(score) for score in best.scores],
    }
    print(json.dumps(_without_infinity(result), indent=2, allow_nan=False))


def print_tables(scores: Sequence[ImageScore], *, per_image: bool, protocol: str) -> None:
    """Tables on stdout: means by data set and method with intervals, then every image if wanted."""
    from rich.console import Console
    from rich.table import Column, Table

    from torch_sr.evaluation.evaluate import interval_scores, mean_scores
    from torch_sr.evaluation.measures import MEASURES

    # What is piped into a file has room enough; a terminal shows what fits.
    console = Console(width=None if sys.stdout.isatty() else 160)
    metrics = list(scores[0].metrics)
    means, intervals = mean_scores(scores), interval_scores(scores)
    table = Table(
        "data set", Column("method", overflow="fold"), title=f"mean, protocol {protocol!r}"
    )
    for metric in metrics:
        table.add_column(f"{MEASURES[metric].title}\n95 %", justify="right", no_wrap=True)
    for dataset, methods in means.items():
        for method, values in methods.items():
            row = [dataset, method]
            for metric in metrics:
                digits = MEASURES[metric].digits
                bounds = (f"{b:.{digits}f}" for b in intervals[dataset][method][metric])
                row.append(f"{values[metric]:.{digits}f}\n[dim]{'–'.join(bounds)}[/]")  # noqa: RUF001
            table.add_row(*row)
    console.print(table)
    if per_image:
        titles = [MEASURES[metric].title for metric in metrics]
        table = Table("image", "method", *titles, title="every image")
        for score in scores:
            shown = [f"{score.metrics[m]:.{MEASURES[m].digits}f}" for m in metrics]
            table.add_row(score.image, score.method, *shown)
        console.print(table)


def _without_infinity(value: Any) -> Any:
    """Plain values in which what JSON cannot write, such as the PSNR of equal images, is None."""
    if isinstance(value, dict):
        return {key: _without_infinity(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_without_infinity(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value

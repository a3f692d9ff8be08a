"""``torch-sr data check``: find faults of data sets before a training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from torch_sr.cli.bars import image_progress
from torch_sr.cli.options import AsJSON, DataRoot
from torch_sr.data.inspection.check import check_datasets
from torch_sr.data.inspection.findings import CheckReport
from torch_sr.data.inspection.targets import find_target
from torch_sr.options import Option

Target = Annotated[
    str, typer.Argument(help="A data root, a folder, a data set by name, or a configuration.")
]
ScaleFactor = Annotated[
    int | None,
    Option("Factor between low and high resolution.", min=1, default="4, or the configuration's"),
]
_COLORS = {"error": "bold red", "warning": "yellow", "note": "dim"}


def check(
    target: Target,
    scale_factor: ScaleFactor = None,
    data_root: DataRoot = Path("data"),
    crop: Annotated[int | None, Option("Side of the training crops, in HR pixels.", min=1)] = None,
    as_json: AsJSON = False,
) -> None:
    """Find faults of data sets: sizes, shifts, colors, duplicates; exit code 1 if any."""
    found = find_target(target, data_root, scale_factor)
    with image_progress("checking") as progress:
        report = check_datasets(
            found.datasets,
            found.scale_factor,
            crop_size=(crop, crop) if crop else found.crop_size,
            findings=found.findings,
            progress=progress,
        )
    if as_json:
        print(json.dumps(report.to_dict(), indent=2))
    else:
        _print_report(report)
    if not report.passed:
        raise typer.Exit(1)


def _print_report(report: CheckReport) -> None:
    """Print what was checked, then the findings, the worst first."""
    console = Console()
    table = Table("set", "for", Column("images", justify="right"), Column("LR", justify="right"))
    for dataset in report.datasets:
        given = sum(pair.lr is not None for pair in dataset.pairs)
        table.add_row(
            dataset.label, dataset.purpose, str(len(dataset.pairs)), str(given) if given else "made"
        )
    console.print(table)
    if not report.findings:
        print("no findings")
        return
    table = Table("", "check", "set", Column("what", overflow="fold"))
    for finding in report.findings:
        severity = f"[{_COLORS[finding.severity]}]{finding.severity}[/]"
        table.add_row(severity, finding.check, escape(finding.dataset), escape(finding.message))
    console.print(table)

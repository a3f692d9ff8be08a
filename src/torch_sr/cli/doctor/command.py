"""``torch-sr doctor``: report what this installation can do on this machine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from torch_sr.cli.doctor.engines import find_engines, mark_automatic, time_engines
from torch_sr.cli.doctor.folders import find_datasets, measure_cache
from torch_sr.cli.doctor.machine import describe_machine, find_cards
from torch_sr.cli.doctor.packages import EXTRAS, find_versions, missing_requirements
from torch_sr.cli.doctor.report import Report
from torch_sr.cli.options import AsJSON, DataRoot
from torch_sr.options import Option


def doctor(
    data_root: DataRoot = Path("data"),
    timing: Annotated[bool, Option("Time each engine.", ("--timing/--no-timing",))] = True,
    as_json: AsJSON = False,
) -> None:
    """Report devices, engines, packages and folders; exit code 1 if something is broken."""
    cards = find_cards()
    engines = mark_automatic(find_engines(cards))
    report = Report(
        machine=describe_machine(),
        cards=cards,
        engines=time_engines(engines) if timing else engines,
        versions=find_versions(),
        missing=missing_requirements(),
        extras=EXTRAS,
        cache=measure_cache(),
        data_root=data_root,
        datasets=find_datasets(data_root),
    )
    print(json.dumps(report.to_dict(), indent=2) if as_json else report.to_text())
    if report.problems:
        raise typer.Exit(1)

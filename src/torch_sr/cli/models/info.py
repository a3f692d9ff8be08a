"""``torch-sr models info``: print the contents of a weights file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from torch_sr.cli.downloads import find_model
from torch_sr.cli.exits import printable
from torch_sr.cli.models.listing import describe_package, describe_pair
from torch_sr.cli.options import AsJSON
from torch_sr.inference.upscaler import Upscaler
from torch_sr.models import zoo
from torch_sr.models.inspection import ModelReport, inspect_model
from torch_sr.models.weights import SHIPPED, shipped_path
from torch_sr.options import Option

Model = Annotated[str, typer.Argument(help="A weights file, or a name that `models list` shows.")]


def info(
    model: Model,
    measure: Annotated[
        bool, Option("Also measure the overlap that tiles need, by running the network.")
    ] = False,
    as_json: AsJSON = False,
) -> None:
    """Print the contents of a weights file: architecture, scale, sizes, cost, hashes, records."""
    path = find_model(model)
    found = _completed(inspect_model(path), path) | describe_pair(model)
    if measure:
        found["overlap"] = Upscaler(path, device="cpu", precision="fp32").overlap
    if as_json:
        print(json.dumps(found, indent=2))
        return
    for name, value in found.items():
        if isinstance(value, dict):
            for key, inner in value.items():
                shown = json.dumps(inner) if _is_nested(inner) else inner
                print(printable(f"{name}.{key}: {shown}"))
        elif value is not None:
            print(printable(f"{name}: {', '.join(value) if isinstance(value, tuple) else value}"))


def _completed(report: ModelReport, path: Path) -> dict[str, Any]:
    """The report with the source of the model, and the zoo's records that are not in the file."""
    found = report.to_dict() | {"source": "file", "package": None}
    if path in map(shipped_path, SHIPPED):
        return found | {"source": "shipped"}
    name = zoo.name_of(path)
    row = None if name is None else zoo.ZOO[name]
    if row is None or (path == row.path and row.sha256 not in (None, report.sha256)):
        return found
    found |= {"name": row.name, "author": row.author, "page": row.page, "source": "cache"}
    found["license"] = found["license"] or row.license
    if path != row.path and row.packaged is not None:
        found |= {"source": "package", "package": describe_package(row.packaged)}
    return found


def _is_nested(value: Any) -> bool:
    return isinstance(value, dict | list)

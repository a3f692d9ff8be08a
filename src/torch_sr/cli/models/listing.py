"""``torch-sr models list``: list the models that have names."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Column, Table

from torch_sr.cli.options import AsJSON
from torch_sr.models import weights
from torch_sr.models.catalog import ZOO, ZooModel, models_dir
from torch_sr.models.files.header import read_metadata
from torch_sr.models.packages import PackagedModel
from torch_sr.models.weights import SHIPPED, find_pair, shipped_path

_WIDE = 110  # characters of a terminal that leave room for architectures and authors
_KEYS = (
    *("scale_factor", "architecture", "license", "author", "page"),
    *("sha256", "path", "package", "install"),
)


def list_models(as_json: AsJSON = False) -> None:
    """List the models that have names, and where each comes from."""
    rows = known_models()
    if as_json:
        print(json.dumps(rows, indent=2))
    else:
        print_list(rows)


def known_models() -> list[dict[str, Any]]:
    """A row for each shipped model, model of the zoo, and other file in the cache folder."""
    rows = [_shipped_row(name) for name in SHIPPED]
    rows += [_zoo_row(model) for model in ZOO.values()]
    known = {model.file for model in ZOO.values()}
    kept = models_dir().glob("*") if models_dir().is_dir() else iter(())
    for path in sorted(kept):
        if (
            path.suffix in (".pth", ".pt", ".safetensors", ".param", ".onnx")
            and path.name not in known
        ):
            rows.append(_row(path.name, "yours", path=str(path)))
    return rows


def describe_package(packaged: PackagedModel) -> dict[str, str | None]:
    """The package of a model, for JSON; the version is None if it is not installed."""
    return {"name": packaged.package, "version": packaged.version}


def describe_pair(name: str) -> dict[str, Any]:
    """The partner of a model and the default strength; both None without a partner."""
    if (pair := find_pair(name)) is None:
        return {"partner": None, "default_strength": None}
    return {"partner": pair.partner(name), "default_strength": pair.default_strength}


def print_list(rows: list[dict[str, Any]]) -> None:
    """Print the rows as a table, and on stderr how to get models that are not available yet."""
    unavailable = [row for row in rows if row["status"] == "unavailable"]
    rows = [row for row in rows if row not in unavailable]
    _print_table(rows)
    print("\n-m NAME uses a model, and downloads it first if necessary.", file=sys.stderr)
    for pair in weights.PAIRS:
        print(
            f"--strength goes from {pair.faithful} (0, faithful) to {pair.restoring} (1, "
            f"restoring); the default is {pair.default_strength:g}.",
            file=sys.stderr,
        )
    for command, names in _by_command(rows).items():
        print(f"\n{command} installs {', '.join(names)}.", file=sys.stderr)
    if unavailable:
        listed = ", ".join(row["name"] for row in unavailable)
        print(
            f"\nThese have no permanent address: download them from {unavailable[0]['page']} "
            f"and save them in {models_dir()}: {listed}.",
            file=sys.stderr,
        )


def _print_table(rows: list[dict[str, Any]]) -> None:
    console = Console(width=None if sys.stdout.isatty() else 160)
    columns = ("architecture", "license", "author") if console.width >= _WIDE else ("license",)
    table = Table(Column("name", overflow="fold"), "from", "scale", *columns, box=None)
    for row in rows:
        scale = f"x{row['scale_factor']}" if row["scale_factor"] else ""
        table.add_row(row["name"], _source(row), scale, *(row[key] or "" for key in columns))
    console.print(table)


def _source(row: dict[str, Any]) -> str:
    if row["status"] == "installed":
        return "{name} {version}".format(**row["package"])
    return "cache" if row["status"] == "downloaded" else str(row["status"])


def _by_command(rows: list[dict[str, Any]]) -> dict[str, list[str]]:
    """The models that can be installed with a package, by the command that installs it."""
    found: dict[str, list[str]] = {}
    for row in rows:
        if row["install"] and row["status"] in ("to download", "to install"):
            found.setdefault(row["install"], []).append(row["name"])
    return found


def _shipped_row(name: str) -> dict[str, Any]:
    path = shipped_path(name)
    assert path is not None
    records = read_metadata(path)
    return _row(
        name,
        "shipped",
        scale_factor=int(records["scale_factor"]),
        architecture=records["architecture"],
        license=records.get("license"),
        author="torch-sr",
        path=str(path),
    )


def _zoo_row(model: ZooModel) -> dict[str, Any]:
    path, packaged = model.found_path, model.packaged
    return _row(
        model.name,
        _status(model, path),
        scale_factor=model.scale_factor,
        architecture=model.architecture,
        license=model.license,
        author=model.author,
        page=model.page,
        urls=list(model.urls),
        sha256=model.sha256,
        path=None if path is None else str(path),
        package=None if packaged is None else describe_package(packaged),
        install=None if packaged is None else packaged.install_command,
    )


def _status(model: ZooModel, path: Path | None) -> str:
    if path is not None:
        return "downloaded" if path == model.path else "installed"
    if model.urls:
        return "to download"
    return "unavailable" if model.packaged is None else "to install"


def _row(name: str, status: str, **known: Any) -> dict[str, Any]:
    empty: dict[str, Any] = {**dict.fromkeys(_KEYS), "urls": []}
    return {"name": name, "status": status, **empty, **describe_pair(name), **known}

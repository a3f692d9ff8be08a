"""``torch-sr models``: list, look at, convert, make, verify and fetch models."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from torch_sr.cli.console import AsJSON, Overwrite, check_free, find_model

if TYPE_CHECKING:
    from torch_sr.models.inspection import ModelReport

app = typer.Typer(help="List, fetch, look at, convert and make models.", no_args_is_help=True)

Model = Annotated[str, typer.Argument(help="A weights file, or a name that `list` shows.")]


@app.callback()
def _models() -> None:
    """List, fetch, look at, convert and make models."""


@app.command("list")
def list_models(as_json: AsJSON = False) -> None:
    """List the models that have names: shipped, downloaded, or to be downloaded on first use."""
    rows = _known_models()
    if as_json:
        print(json.dumps(rows, indent=2))
        return
    unavailable = [row for row in rows if row["status"] == "unavailable"]
    rows = [row for row in rows if row not in unavailable]
    from rich.console import Console
    from rich.table import Column, Table

    from torch_sr.models.zoo import models_dir

    name = Column("name", overflow="fold")
    table = Table(name, "", "scale", "architecture", "licence", box=None)
    for row in rows:
        scale = f"x{row['scale_factor']}" if row["scale_factor"] else ""
        table.add_row(
            *(row["name"], row["status"], scale),
            *(row[key] or "" for key in ("architecture", "licence")),
        )
    Console(width=None if sys.stdout.isatty() else 160).print(table)
    print("\n-m NAME uses a model, and downloads it first if necessary.", file=sys.stderr)
    if unavailable:
        names = ", ".join(row["name"] for row in unavailable)
        print(
            f"\nThese have no permanent address: download them from {unavailable[0]['page']} "
            f"and save them in {models_dir()}: {names}.",
            file=sys.stderr,
        )


def _known_models() -> list[dict[str, Any]]:
    from torch_sr.models.weights import SHIPPED
    from torch_sr.models.zoo import ZOO, models_dir

    rows = [_shipped_row(name) for name in SHIPPED]
    for model in ZOO.values():
        there = model.path.is_file()
        rows.append(
            {
                "name": model.name,
                "status": "fetched" if there else "to fetch" if model.urls else "unavailable",
                "scale_factor": model.scale_factor,
                "architecture": model.architecture,
                "licence": model.licence,
                "author": model.author,
                "page": model.page,
                "urls": list(model.urls),
                "sha256": model.sha256,
                "path": str(model.path) if there else None,
            }
        )
    known = {model.file for model in ZOO.values()}
    kept = models_dir().glob("*") if models_dir().is_dir() else iter(())
    for path in sorted(kept):
        if path.suffix in (".pth", ".pt", ".safetensors", ".param") and path.name not in known:
            rows.append(_row(path.name, "yours", path=str(path)))
    return rows


def _row(name: str, status: str, **told: Any) -> dict[str, Any]:
    keys = ("scale_factor", "architecture", "licence", "author", "page", "sha256", "path")
    return {"name": name, "status": status, **dict.fromkeys(keys), "urls": [], **told}


def _shipped_row(name: str) -> dict[str, Any]:
    from torch_sr.models.loading import load_generator
    from torch_sr.models.weights import shipped_path

    path = shipped_path(name)
    assert path is not None
    info = load_generator(path).info
    return _row(
        name,
        "shipped",
        scale_factor=info.scale_factor,
        architecture=info.architecture,
        licence=info.metadata.get("licence"),
        author="torch-sr",
        path=str(path),
    )


@app.command("info")
def info(
    model: Model,
    measure: Annotated[
        bool,
        typer.Option("--measure", help="Also how much context tiles need, by running the network."),
    ] = False,
    as_json: AsJSON = False,
) -> None:
    """Print what a weights file holds: architecture, scale, sizes, cost, hashes, records."""
    from torch_sr.models.inspection import inspect_model

    path = find_model(model)
    found = _completed(inspect_model(path), model)
    if measure:
        from torch_sr.inference.upscaler import Upscaler

        found["overlap"] = Upscaler(path, device="cpu", precision="fp32").overlap
    if as_json:
        print(json.dumps(found, indent=2))
        return
    for name, value in found.items():
        if isinstance(value, dict):
            for key, inner in value.items():
                print(f"{name}.{key}: {json.dumps(inner) if _is_nested(inner) else inner}")
        elif value is not None:
            print(f"{name}: {', '.join(value) if isinstance(value, tuple) else value}")


def _completed(report: ModelReport, name: str) -> dict[str, Any]:
    """What the zoo knows of a model that says nothing of itself."""
    from torch_sr.models.zoo import find_in_zoo

    found = report.to_dict()
    row = find_in_zoo(name)
    if row is not None and row.sha256 in (None, report.sha256):
        found["licence"] = found["licence"] or row.licence
        found |= {"author": row.author, "page": row.page}
    return found


def _is_nested(value: Any) -> bool:
    return isinstance(value, dict | list)


@app.command("convert")
def convert(
    source: Model,
    target: Annotated[
        Path,
        typer.Argument(help="The new file: .safetensors, .pth, .pt, or .param for ncnn."),
    ],
    layout: Annotated[
        str | None,
        typer.Option(help="old, mid, new (BasicSR) or enhanced-srgan; else what suits the file."),
    ] = None,
    dtype: Annotated[
        str | None,
        typer.Option(help="fp32, fp16 or bf16 (not for ncnn); else the source's."),
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Write a model under other names, in another format, with other numbers.

    For ncnn, NAME.param is written with NAME.bin beside it.
    """
    from torch_sr.models.conversion import convert as convert_model
    from torch_sr.models.saving import written_files

    for file in written_files(target):
        check_free(file, overwrite=overwrite)
    print(convert_model(find_model(source), target, layout=layout, dtype=dtype))


@app.command("extract")
def extract(
    checkpoint: Annotated[Path, typer.Argument(help="A training checkpoint.")],
    out: Annotated[
        Path, typer.Argument(help="The model: .safetensors, .pth, .pt, or .param for ncnn.")
    ],
    raw: Annotated[
        bool, typer.Option("--raw", help="Take the weights in training, not their average.")
    ] = False,
    overwrite: Overwrite = False,
) -> None:
    """Make a model of a training checkpoint."""
    from torch_sr.models.saving import written_files
    from torch_sr.training.export import extract_model

    for file in written_files(out):
        check_free(file, overwrite=overwrite)
    extract_model(checkpoint, out, raw=raw)
    print(out)


@app.command("annotate")
def annotate(
    model: Annotated[Path, typer.Argument(help="A model that torch-sr wrote.")],
    records: Annotated[
        list[str], typer.Argument(help="licence=CC-BY-4.0 author=… ; nothing after = removes it.")
    ],
) -> None:
    """Record the name, author, licence, description or data set of a model in its file."""
    from torch_sr.errors import ModelError
    from torch_sr.models import provenance
    from torch_sr.models.weights import shipped_path

    changes = {}
    for record in records:
        key, parted, value = record.partition("=")
        if not parted or key not in provenance.ANNOTATIONS:
            known = ", ".join(provenance.ANNOTATIONS)
            raise typer.BadParameter(f"{record!r}: write key=value with one of {known}")
        if key in changes:
            raise typer.BadParameter(f"{record!r}: {key} is given twice")
        changes[key] = value or None
    if shipped_path(str(model)) is not None:
        raise ModelError(f"copy {model} to a file first; it is part of the package")
    provenance.annotate(model, changes)


@app.command("verify")
def verify(
    models: Annotated[
        list[str] | None,
        typer.Argument(help="Files or names; without any, all that have been fetched."),
    ] = None,
) -> None:
    """Check files against their recorded hashes, and their weights for NaN and infinity."""
    from torch_sr.errors import TorchSRError
    from torch_sr.models.zoo import ZOO

    names = models or [model.name for model in ZOO.values() if model.path.is_file()]
    if not names:
        print("nothing has been fetched yet")
    failed = False
    for name in names:
        try:
            _verify(name)
            print(f"ok    {name}")
        except TorchSRError as error:
            failed = True
            print(f"FAIL  {error}")
    if failed:
        raise typer.Exit(1)


def _verify(name: str) -> None:
    from torch_sr.errors import ModelError
    from torch_sr.models import zoo
    from torch_sr.models.inspection import verify_model

    path, row = zoo.find_file(name), zoo.find_in_zoo(name)
    if row is not None and path == row.path and not zoo.is_intact(row):
        raise ModelError(f"{path} is damaged; run `torch-sr models fetch {name}` again")
    verify_model(path)


@app.command("fetch")
def fetch(names: Annotated[list[str], typer.Argument(help="Names that `list` shows.")]) -> None:
    """Fetch models ahead of time; -m NAME fetches them on first use."""
    from torch_sr.models import zoo

    for name in names:
        find_model(name)
        print(zoo.find_file(name))


@app.command("remove")
def remove(names: Annotated[list[str], typer.Argument(help="Fetched models.")]) -> None:
    """Remove fetched models."""
    from torch_sr.models import zoo

    for name in names:
        print(f"removed {zoo.remove(name)}")


@app.command("path")
def path(
    name: Annotated[str | None, typer.Argument(help="A model that is there already.")] = None,
) -> None:
    """Print the path of a model, or without a name the folder of fetched models."""
    from torch_sr.models import zoo

    print(zoo.models_dir() if name is None else zoo.find_file(name))

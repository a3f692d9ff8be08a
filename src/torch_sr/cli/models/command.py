"""``torch-sr models``: list, look at, convert, make, verify and fetch models."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from torch_sr.cli.console import AsJSON, Overwrite, check_free, find_model, load_model

if TYPE_CHECKING:
    from torch_sr.models.inspection import ModelReport

app = typer.Typer(help="List, fetch, look at, convert and make models.", no_args_is_help=True)

Model = Annotated[str, typer.Argument(help="A weights file, or a name that `list` shows.")]


@app.callback()
def _models() -> None:
    """List, fetch, look at, convert and make models."""


@app.command("list")
def list_models(as_json: AsJSON = False) -> None:
    """List the models that have names, and where each comes from."""
    from torch_sr.cli.models.listing import known_models, print_list

    rows = known_models()
    if as_json:
        print(json.dumps(rows, indent=2))
        return
    print_list(rows)


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
    from torch_sr.cli.models.listing import describe_pair
    from torch_sr.models.inspection import inspect_model

    path = find_model(model)
    found = _completed(inspect_model(path), path) | describe_pair(model)
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


def _completed(report: ModelReport, path: Path) -> dict[str, Any]:
    """Where a model comes from; for one without records, what the zoo records of it."""
    from torch_sr.cli.models.listing import describe_package
    from torch_sr.models import zoo
    from torch_sr.models.weights import SHIPPED, shipped_path

    found = report.to_dict() | {"source": "file", "package": None}
    if path in map(shipped_path, SHIPPED):
        return found | {"source": "shipped"}
    name = zoo.name_of(path)
    row = None if name is None else zoo.ZOO[name]
    if row is None or (path == row.path and row.sha256 not in (None, report.sha256)):
        return found
    found |= {"name": row.name, "author": row.author, "page": row.page, "source": "cache"}
    found["licence"] = found["licence"] or row.licence
    if path != row.path and row.packaged is not None:
        found |= {"source": "package", "package": describe_package(row.packaged)}
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
    from torch_sr.models.files.writing import written_files

    for file in written_files(target):
        check_free(file, overwrite=overwrite)
    print(convert_model(load_model(source), target, layout=layout, dtype=dtype))


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
    from torch_sr.models.files.writing import written_files
    from torch_sr.training.runs.export import extract_model

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
    from torch_sr.models.files import records as provenance
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
        typer.Argument(help="Files or names. \\[default: all fetched and installed models]"),
    ] = None,
) -> None:
    """Check files against their recorded hashes, and their weights for NaN and infinity."""
    from torch_sr.errors import TorchSRError

    names = models or _all_here()
    if not names:
        print("nothing has been fetched or installed yet")
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


def _all_here() -> list[str]:
    """Names of installed and fetched models; paths of fetched files that a package takes over."""
    from torch_sr.models.zoo import ZOO

    here = [model for model in ZOO.values() if model.found_path is not None]
    hidden = [model.path for model in here if model.installed_path and model.path.is_file()]
    return [*(model.name for model in here), *map(str, hidden)]


def _verify(name: str) -> None:
    from torch_sr.models import zoo
    from torch_sr.models.inspection import verify_model

    path = zoo.find_file(name)
    known = zoo.name_of(path)
    if known is not None:
        zoo.check_intact(zoo.ZOO[known], path)
    verify_model(path)


@app.command("fetch")
def fetch(names: Annotated[list[str], typer.Argument(help="Names that `list` shows.")]) -> None:
    """Fetch models ahead of time; installed and fetched models are kept."""
    from torch_sr.models import zoo

    for name in names:
        if (note := _installed_note(name)) is not None:
            print(note, file=sys.stderr)
        find_model(name)
        print(zoo.find_file(name))


def _installed_note(name: str) -> str | None:
    from torch_sr.models.zoo import find_in_zoo

    row = find_in_zoo(name)
    if row is None or row.packaged is None or row.installed_path is None:
        return None
    package = f"{row.packaged.package} {row.packaged.version}"
    return f"{row.name} is installed already, in the package {package}"


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

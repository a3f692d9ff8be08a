"""``torch-sr models download``, ``remove`` and ``path``."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from torch_sr.cli.downloads import find_model
from torch_sr.models import zoo


def download(
    names: Annotated[list[str], typer.Argument(help="Names that `models list` shows.")],
) -> None:
    """Download models ahead of time; installed and downloaded models are kept."""
    for name in names:
        if (note := _installed_note(name)) is not None:
            print(note, file=sys.stderr)
        find_model(name)
        print(zoo.find_file(name))


def _installed_note(name: str) -> str | None:
    row = zoo.find_in_zoo(name)
    if row is None or row.packaged is None or row.installed_path is None:
        return None
    package = f"{row.packaged.package} {row.packaged.version}"
    return f"{row.name} is installed already, in the package {package}"


def remove(names: Annotated[list[str], typer.Argument(help="Downloaded models.")]) -> None:
    """Remove downloaded models."""
    for name in names:
        print(f"removed {zoo.remove(name)}")


def path(
    name: Annotated[
        str | None, typer.Argument(help="A shipped, installed or downloaded model.")
    ] = None,
) -> None:
    """Print the path of a model, or without a name the folder of downloaded models."""
    print(zoo.models_dir() if name is None else zoo.find_file(name))

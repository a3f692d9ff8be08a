"""``torch-sr models annotate``: change the metadata in a model's file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from torch_sr.errors import ModelError
from torch_sr.models.files import records as records_of_files
from torch_sr.models.weights import shipped_path


def annotate(
    model: Annotated[Path, typer.Argument(help="A model that torch-sr wrote.")],
    records: Annotated[
        list[str],
        typer.Argument(
            help="KEY=VALUE, such as license=CC-BY-4.0; an empty value removes the record."
        ),
    ],
) -> None:
    """Record the name, author, license, description or data set of a model in its file."""
    changes = {}
    for record in records:
        key, equals, value = record.partition("=")
        if not equals or key not in records_of_files.ANNOTATIONS:
            known = ", ".join(records_of_files.ANNOTATIONS)
            raise typer.BadParameter(f"{record!r}: write key=value with one of {known}")
        if key in changes:
            raise typer.BadParameter(f"{record!r}: {key} is given twice")
        changes[key] = value or None
    if shipped_path(str(model)) is not None:
        raise ModelError(f"copy {model} to a file first; it is part of the package")
    records_of_files.annotate(model, changes)

"""``torch-sr models``: look at weights files."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from torch_sr.cli.console import AsJSON

app = typer.Typer(help="Look at models.", no_args_is_help=True)


@app.callback()
def _models() -> None:
    """Look at models."""


@app.command("info")
def info(
    model: Annotated[str, typer.Argument(help="A weights file or the name of a shipped model.")],
    as_json: AsJSON = False,
) -> None:
    """Print what a weights file holds: architecture, scale, sizes, metadata."""
    from torch_sr.models.loading import load_generator
    from torch_sr.models.weights import model_path

    found = load_generator(model_path(model)).info.to_dict()
    if as_json:
        print(json.dumps(found, indent=2))
        return
    for name, value in found.items():
        if isinstance(value, dict):
            for key, inner in value.items():
                print(f"{name}.{key}: {inner}")
        elif value is not None:
            print(f"{name}: {value}")

"""``torch-sr models``: look at weights files, and make them of checkpoints."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from torch_sr.cli.console import AsJSON

app = typer.Typer(help="Look at models, make them of checkpoints.", no_args_is_help=True)


@app.callback()
def _models() -> None:
    """Look at models, make them of checkpoints."""


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


@app.command("extract")
def extract(
    checkpoint: Annotated[Path, typer.Argument(help="A training checkpoint.")],
    out: Annotated[Path, typer.Argument(help="The model: .safetensors, .pth or .pt.")],
    raw: Annotated[
        bool, typer.Option("--raw", help="Take the weights in training, not their average.")
    ] = False,
) -> None:
    """Make a model of a training checkpoint."""
    from torch_sr.training.export import extract_model

    extract_model(checkpoint, out, raw=raw)
    print(out)

"""``torch-sr config check``, ``show`` and ``schema``: configurations and their keys."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from torch_sr.cli.options import Overrides
from torch_sr.config import json_schema, load_config

Config = Annotated[Path, typer.Argument(help="JSON file of hyper-parameters.")]


def check(config: Config, overrides: Overrides = None) -> None:
    """Check a configuration; exit code 1 if a key or value is wrong.

    The data sets, the disk and the memory are checked by `torch-sr train CONFIG --check`.
    """
    stages = load_config(config, overrides or []).stages
    described = ", ".join(
        f"{name} of {stage.num_steps or stage.num_epoch} {'steps' if stage.num_steps else 'epochs'}"
        for name, stage in stages.items()
    )
    print(f"{config}: correct; {described or 'no stage'}")


def show(config: Config, overrides: Overrides = None) -> None:
    """Print the complete configuration, with the defaults of all keys."""
    print(load_config(config, overrides or []).to_json(), end="")


def schema() -> None:
    """Print the JSON Schema of a configuration, for editors."""
    print(json.dumps(json_schema(), indent=2))

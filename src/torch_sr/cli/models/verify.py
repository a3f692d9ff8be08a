"""``torch-sr models verify``: check the hashes and the weights of files."""

from __future__ import annotations

from typing import Annotated

import typer

from torch_sr.cli.exits import printable
from torch_sr.errors import TorchSRError
from torch_sr.models import zoo
from torch_sr.models.inspection import verify_model


def verify(
    models: Annotated[
        list[str] | None,
        typer.Argument(help="Files or names. \\[default: all downloaded and installed models]"),
    ] = None,
) -> None:
    """Check files against their recorded hashes, and their weights for NaN and infinity."""
    names = models or _all_available()
    if not names:
        print("no models have been downloaded or installed yet")
    failed = False
    for name in names:
        try:
            _verify(name)
            print(f"ok    {name}")
        except TorchSRError as error:
            failed = True
            print(printable(f"FAIL  {error}"))
    if failed:
        raise typer.Exit(1)


def _all_available() -> list[str]:
    """Names of installed and downloaded models; paths of downloads that a package replaces."""
    available = [model for model in zoo.ZOO.values() if model.found_path is not None]
    hidden = [model.path for model in available if model.installed_path and model.path.is_file()]
    return [*(model.name for model in available), *map(str, hidden)]


def _verify(name: str) -> None:
    path = zoo.find_file(name)
    known = zoo.name_of(path)
    if known is not None:
        zoo.check_intact(zoo.ZOO[known], path)
    verify_model(path)

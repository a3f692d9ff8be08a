"""``torch-sr models convert`` and ``extract``: write a model to a new file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from torch_sr.cli.downloads import load_model
from torch_sr.cli.options import Overwrite
from torch_sr.errors import TorchSRError
from torch_sr.models.conversion import convert as convert_model
from torch_sr.models.files.writing import written_files
from torch_sr.options import Option
from torch_sr.training.runs.export import extract_model

Model = Annotated[str, typer.Argument(help="A weights file, or a name that `models list` shows.")]


def convert(
    source: Model,
    target: Annotated[
        Path,
        typer.Argument(help="The new file: .safetensors, .pth, .pt, or .param for ncnn."),
    ],
    layout: Annotated[
        str | None,
        Option(
            "old, mid, new (BasicSR) or enhanced-srgan.", default="the usual one of the file format"
        ),
    ] = None,
    dtype: Annotated[
        str | None,
        Option("fp32, fp16 or bf16 (not for ncnn).", default="as the source"),
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Write a model in another layout, file format or dtype.

    For ncnn, NAME.param and NAME.bin are written.
    """
    for file in written_files(target):
        _check_free(file, overwrite=overwrite)
    print(convert_model(load_model(source), target, layout=layout, dtype=dtype))


def extract(
    checkpoint: Annotated[Path, typer.Argument(help="A training checkpoint.")],
    out: Annotated[
        Path, typer.Argument(help="The model: .safetensors, .pth, .pt, or .param for ncnn.")
    ],
    raw: Annotated[
        bool, Option("Take the weights that are trained instead of their moving average.")
    ] = False,
    overwrite: Overwrite = False,
) -> None:
    """Make a model from a training checkpoint."""
    for file in written_files(out):
        _check_free(file, overwrite=overwrite)
    extract_model(checkpoint, out, raw=raw)
    print(out)


def _check_free(path: Path, *, overwrite: bool) -> None:
    """Raise an error if the file exists and may not be replaced."""
    if not overwrite and os.path.lexists(path):
        raise TorchSRError(f"{path} exists; --overwrite replaces it, or choose another name")

"""``torch-sr export``: write a model for other programs."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Annotated

import typer

from torch_sr.cli.downloads import load_model
from torch_sr.cli.export.report import to_text
from torch_sr.cli.options import AsJSON, Overwrite
from torch_sr.errors import ModelError
from torch_sr.exporting.check import FP32, HALF
from torch_sr.exporting.formats import FORMATS, SUFFIXES, choose_format
from torch_sr.models.weights import canonical_name, shipped_path
from torch_sr.options import Option

_SIZE = 256
"""Side of the images that ``--fixed`` stands for."""


def export(
    model: Annotated[
        str, typer.Argument(help="A weights file, or a name that `models list` shows.")
    ],
    out: Annotated[
        Path | None,
        typer.Argument(
            help="The new file: .onnx, .torchscript, .xml (OpenVINO) or .param (ncnn). "
            "\\[default: the model's name in the current folder]",
        ),
    ] = None,
    file_format: Annotated[
        str | None,
        Option(
            f"{', '.join(FORMATS)}.",
            ("--format",),
            default="that of the new file's suffix, otherwise onnx",
        ),
    ] = None,
    dynamic: Annotated[
        bool,
        Option(
            "Take any number of images of any size, or one of one size.", ("--dynamic/--fixed",)
        ),
    ] = True,
    size: Annotated[
        str | None,
        Option(
            "The only size of images, with --fixed: 256, or 640x480 (width x height).",
            default=f"{_SIZE} with --fixed",
            metavar="WIDTHxHEIGHT",
        ),
    ] = None,
    half: Annotated[
        bool,
        Option("Compute in float16 (ONNX, TorchScript), or store float16 (OpenVINO, ncnn)."),
    ] = False,
    opset: Annotated[int | None, Option("Version of ONNX's operators.", default="18")] = None,
    strength: Annotated[
        float | None,
        Option(
            "Mix of two models, as in `torch-sr upscale`.",
            min=0,
            max=1,
            default="that of the named model",
        ),
    ] = None,
    tolerance: Annotated[
        float | None,
        Option(
            "Largest difference from PyTorch, for images in [0, 1].",
            min=0,
            default=f"{FP32.largest_difference:g}, with --half {HALF.largest_difference:g}",
        ),
    ] = None,
    overwrite: Overwrite = False,
    as_json: AsJSON = False,
) -> None:
    """Write a model as ONNX, TorchScript, OpenVINO or ncnn, checked against PyTorch.

    If its results differ from PyTorch's by more than is tolerated, nothing is written and the exit
    code is 1.
    """
    from torch_sr.exporting.export import export as export_model

    done = export_model(
        load_model(model, strength),
        _target(model, out, file_format),
        format=file_format,
        size=_parse_size(size, dynamic=dynamic),
        half=half,
        opset=opset,
        tolerance=tolerance,
        overwrite=overwrite,
    )
    print(json.dumps(done.to_dict(), indent=2) if as_json else to_text(done))


def _target(model: str, out: Path | None, file_format: str | None) -> Path:
    """The new file: in a folder, it has the name of the model."""
    if out is not None and not out.is_dir():
        return out
    if out is not None and out.suffix.lower() in SUFFIXES and file_format is None:
        raise ModelError(f"{out} is a folder; remove it, or name a format to write a file into it")
    return (out or Path()) / f"{_name(model)}{choose_format(file_format, None).suffixes[0]}"


def _name(model: str) -> str:
    """The name of a model without folder and suffix."""
    return canonical_name(model) if shipped_path(model) is not None else Path(model).stem


def _parse_size(text: str | None, *, dynamic: bool) -> tuple[int, int] | None:
    """Height and width; None for any size."""
    if text is None:
        return None if dynamic else (_SIZE, _SIZE)
    match = re.fullmatch(r"([1-9]\d{0,4})(?:x([1-9]\d{0,4}))?", text)
    if match is None:
        raise typer.BadParameter(f"--size {text}: write WIDTHxHEIGHT, as 640x480, or one number")
    return int(match[2] or match[1]), int(match[1])

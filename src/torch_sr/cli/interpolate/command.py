"""``torch-sr interpolate``: parse and check the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from torch_sr.cli.interpolate.options import SweepOptions
from torch_sr.cli.options import AsJSON, DataRoot, Device, Download
from torch_sr.options import Option

Models = Annotated[
    list[str],
    typer.Argument(
        help="Files or names of the networks: with --alpha the PSNR-driven and the GAN-driven one; "
        "with --weights two or more, as LABEL=MODEL to name them."
    ),
]
Out = Annotated[Path, typer.Argument(help="The new weights file (.safetensors, .pth or .param).")]
Alpha = Annotated[
    str | None,
    Option("0 is the first network, 1 the second; 0:1:0.1 writes a sweep: OUT_0, OUT_0.1 …"),
]
Weights = Annotated[
    str | None,
    Option(
        "Shares of the networks, such as 0.5,0.3,0.2, or by label, such as a=0.8,b=0.2.",
        default="equal shares for three or more",
    ),
]
DType = Annotated[
    str | None, Option("Number type of the file: fp32, fp16 or bf16.", default="fp32")
]


def interpolate(
    models: Models,
    out: Out,
    *,
    alpha: Alpha = None,
    weights: Weights = None,
    dtype: DType = None,
    sweep: SweepOptions,
    data_root: DataRoot = Path("data"),
    download: Download = False,
    device: Device = "auto",
    as_json: AsJSON = False,
) -> None:
    """Mix the weights of networks: (1 - alpha) * FIRST + alpha * SECOND.

    The networks must have the same sizes, and should have been trained from the same start.
    """
    if len(models) < 2:
        raise typer.BadParameter("MODELS: give two networks or more, then OUT")
    if alpha is not None and weights is not None:
        raise typer.BadParameter("--alpha and --weights: give one of them")
    if alpha is not None and len(models) > 2:
        raise typer.BadParameter("--alpha mixes two networks; give more than two --weights")
    if alpha is None and weights is None and len(models) == 2:
        raise typer.BadParameter("give --alpha or --weights")
    from torch_sr.cli.interpolate import run

    if alpha is None:
        if sweep != SweepOptions():
            raise typer.BadParameter(
                "leave out --preview, --datasets, --perception and --image-space: they show a "
                "sweep of --alpha"
            )
        run.write_mixture(models, weights, out, dtype=dtype, as_json=as_json)
        return
    run.write_sweep(
        models,
        alpha,
        out,
        sweep,
        dtype=dtype,
        data_root=data_root,
        download=download,
        device=device,
        as_json=as_json,
    )

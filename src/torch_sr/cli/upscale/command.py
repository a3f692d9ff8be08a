"""``torch-sr upscale``: parse and check the command line."""

from __future__ import annotations

import math
from typing import Annotated

import typer

from torch_sr.cli.options import AsJSON
from torch_sr.cli.upscale.options import UpscaleOptions

Images = Annotated[
    list[str],
    typer.Argument(help="Files, folders and patterns; - reads names from standard input."),
]


def upscale(images: Images, *, options: UpscaleOptions, as_json: AsJSON = False) -> None:
    """Super-resolve images and videos: photo.jpg becomes photo_sr.jpg.

    Gray, alpha, 16 bits, color profile, EXIF and animation are kept.

    Failures are reported at the end; the other files are still processed.
    """
    scale = options.scale
    if scale is not None and not math.isfinite(scale):
        raise typer.BadParameter(f"--scale {scale} is not a number; write one such as 2 or 2.5")
    if scale is not None and (options.width is not None or options.height is not None):
        raise typer.BadParameter("--scale and --width or --height: give one of them")
    if options.skip_existing and options.overwrite:
        raise typer.BadParameter("--skip-existing and --overwrite: give one of them")
    if options.out == "" or options.model == "":
        raise typer.BadParameter("--out and --model: the name is empty; leave the option out")
    from torch_sr.cli.upscale.run import upscale_all

    upscale_all(images, options, as_json=as_json)

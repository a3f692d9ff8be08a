"""``torch-sr test``: the arguments and options."""

from __future__ import annotations

from typing import Annotated

import typer

from torch_sr.cli.options import AsJSON
from torch_sr.cli.test.options import MeasureOptions

Models = Annotated[
    list[str],
    typer.Argument(
        help="Weights files or names of models, of one scale factor; LABEL=MODEL sets the label."
    ),
]


def test(models: Models, *, options: MeasureOptions, as_json: AsJSON = False) -> None:
    """Measure models on data sets and compare them with bicubic interpolation.

    Prints PSNR, SSIM and other metrics as tables or documents; also writes reports and images.
    """
    from torch_sr.cli.test.run import run_test

    run_test(models, options, as_json=as_json)

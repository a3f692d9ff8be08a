"""``torch-sr interpolate``: blend a PSNR and a GAN network."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def interpolate(
    out: Annotated[Path, typer.Argument(help="Model to write (.safetensors or .pth).")],
    psnr_model_path: Annotated[
        Path, typer.Option("--psnr-model-path", help="PSNR-driven model (pre-training).")
    ],
    esrgan_model_path: Annotated[
        Path, typer.Option("--esrgan-model-path", help="GAN-driven model (training).")
    ],
    alpha: Annotated[float, typer.Option("--alpha", help="0 is the PSNR model, 1 the GAN model.")],
) -> None:
    """Interpolate the weights of two networks: (1 - alpha) * PSNR + alpha * GAN."""
    from torch_sr.models.interpolation import interpolate_files

    interpolate_files(psnr_model_path, esrgan_model_path, alpha, out)
    print(out)

"""What is compared: models, and interpolations between two of them.

Images are super-resolved whole, except that those larger than ``TILE_SIZE`` go in tiles, whose
overlap is wide enough for the deepest network of the description.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from torch_sr.errors import ModelError
from torch_sr.evaluation.evaluate import SuperResolve
from torch_sr.inference.backends.pytorch import PyTorchBackend
from torch_sr.inference.upscaler import Upscaler
from torch_sr.models.interpolation import interpolate_networks
from torch_sr.models.weights import model_path

TILE_SIZE = 640
"""Low-resolution pixels; all benchmarks at x4, and DIV2K, are smaller."""
OVERLAP = 32


def load_models(
    models: Sequence[str],
    *,
    device: str = "auto",
    precision: str = "fp32",
    tile_size: int = TILE_SIZE,
) -> tuple[int, dict[str, SuperResolve]]:
    """Load models of one factor.

    Args:
        models: weights files or names of shipped models.
        device, precision, tile_size: see :class:`~torch_sr.inference.upscaler.Upscaler`.

    Returns:
        The factor, and the methods by the models' names, or by their paths where two are alike.

    Raises:
        ModelError: when one cannot be read, or they have several factors.
    """
    upscalers = [
        Upscaler(model, device=device, precision=precision, tile_size=tile_size, overlap=OVERLAP)
        for model in models
    ]
    factors = [upscaler.scale_factor for upscaler in upscalers]
    if len(set(factors)) > 1:
        named = ", ".join(f"{m} x{factor}" for m, factor in zip(models, factors, strict=True))
        raise ModelError(f"{named}: only models of one factor can be compared")
    methods: dict[str, SuperResolve] = {}
    for model, upscaler in zip(models, upscalers, strict=True):
        assert upscaler.info is not None  # it has been given a model and no engine
        name = upscaler.info.name
        methods[model if name in methods else name] = upscaler.upscale
    return factors[0], methods


def load_sweep(
    psnr_path: str | Path,
    esrgan_path: str | Path,
    steps: int,
    *,
    device: str = "auto",
    precision: str = "fp32",
    tile_size: int = TILE_SIZE,
) -> tuple[int, dict[str, SuperResolve]]:
    """Load interpolations between two networks (ESRGAN, section 3.4), from one to the other.

    Args:
        psnr_path, esrgan_path: weights files, or names of shipped models.
        steps: intervals between the two, at least 1; one more network than that is made.
        device, precision, tile_size: as for :func:`load_models`.

    Returns:
        The factor, and the methods by names such as ``alpha 0.25``.

    Raises:
        ModelError: when one cannot be read, or the two are not alike.
    """
    methods: dict[str, SuperResolve] = {}
    for step in range(steps + 1):
        alpha = step / steps
        network = interpolate_networks(model_path(psnr_path), model_path(esrgan_path), alpha)
        scale_factor = int(network.hparams["scale_factor"])
        channels = int(network.hparams["img_channels"])
        backend = PyTorchBackend(network, scale_factor, channels, device, precision)
        upscaler = Upscaler(backend, tile_size=tile_size, overlap=OVERLAP)
        methods[f"alpha {alpha:.3g}"] = upscaler.upscale
    return scale_factor, methods

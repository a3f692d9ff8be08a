"""What is compared: models, and interpolations between two of them.

Images are super-resolved whole, except that those larger than ``TILE_SIZE`` go in tiles, whose
overlap is wide enough for the deepest network of the description.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from torch_sr.errors import ModelError
from torch_sr.evaluation.evaluate import Array, SuperResolve
from torch_sr.images import from_unit, to_unit
from torch_sr.inference.backends.pytorch import PyTorchBackend
from torch_sr.inference.upscaler import Upscaler
from torch_sr.models.interpolation import interpolate, load_network
from torch_sr.models.rrdb import RRDBNet

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
        models: weights files or names of models.
        device, precision, tile_size: see :class:`~torch_sr.inference.upscaler.Upscaler`.

    Returns:
        The factor, and the methods by the models' names, or by their paths where two are alike.

    Raises:
        ModelError: when one cannot be read, or they have several factors.
    """
    upscalers = [
        Upscaler(
            model,
            device=device,
            precision=precision,
            tile_size=tile_size,
            overlap=OVERLAP,
            border=0,
        )
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
    alphas: Sequence[float],
    *,
    image_space: bool = False,
    device: str = "auto",
    precision: str = "fp32",
    tile_size: int = TILE_SIZE,
) -> tuple[int, dict[str, SuperResolve]]:
    """Load interpolations between two networks (ESRGAN, section 3.4), from one to the other.

    Args:
        psnr_path, esrgan_path: weights files, or names of models.
        alphas: shares of the second, each in [0, 1].
        image_space: interpolate their results as well, which the paper compares with.
        device, precision, tile_size: as for :func:`load_models`.

    Returns:
        The factor, and the methods by names such as ``alpha 0.25`` and ``images 0.25``.

    Raises:
        ModelError: when one cannot be read, or the two are not alike.
    """

    def upscaler(network: RRDBNet) -> Upscaler:
        channels = int(network.hparams["img_channels"])
        backend = PyTorchBackend(network, network.scale_factor, channels, device, precision)
        return Upscaler(backend, tile_size=tile_size, overlap=OVERLAP, border=0)

    ends = [load_network(path) for path in (psnr_path, esrgan_path)]
    methods: dict[str, SuperResolve] = {
        f"alpha {alpha:.6g}": upscaler(interpolate(ends[0], ends[1], alpha)).upscale
        for alpha in alphas
    }
    if image_space:
        methods |= interpolate_images(*(upscaler(end).upscale for end in ends), alphas=alphas)
    return ends[0].scale_factor, methods


def interpolate_images(
    psnr: SuperResolve, esrgan: SuperResolve, *, alphas: Sequence[float]
) -> dict[str, SuperResolve]:
    """Mix the results of two methods, by names such as ``images 0.25`` (ESRGAN, section 4.4).

    Both are asked once for a picture that is given to one after the other.
    """
    latest: list[Any] = [None, None, None]  # a picture, and its results in [0, 1]

    def mix(alpha: float, lr: Array) -> Array:
        if latest[0] is not lr:
            latest[:] = lr, psnr(to_unit(lr)), esrgan(to_unit(lr))
        return from_unit((1 - alpha) * latest[1] + alpha * latest[2], lr.dtype)

    return {f"images {alpha:.6g}": partial(mix, alpha) for alpha in alphas}

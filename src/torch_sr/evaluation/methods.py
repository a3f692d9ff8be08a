"""What is compared: models, and interpolations between two of them.

Images are super-resolved whole, except that those larger than ``TILE_SIZE`` go in tiles, whose
overlap is wide enough for the deepest network of the description.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path

from torch_sr.aliases import Array
from torch_sr.errors import ModelError
from torch_sr.evaluation.labels import NamedModel, check_labels, label_models, parse_named
from torch_sr.evaluation.method import BASELINE, Method, SuperResolve
from torch_sr.images import from_unit, to_unit
from torch_sr.inference.engines.pytorch import PyTorchEngine
from torch_sr.inference.upscaler import Upscaler
from torch_sr.models.interpolation import Model, format_alphas, interpolate, load_network
from torch_sr.models.loading import GeneratorInfo
from torch_sr.models.strength import choose_model
from torch_sr.models.weights import Pair, find_pair
from torch_sr.models.zoo import find_model, name_of
from torch_sr.networks.rrdb import RRDBNet

TILE_SIZE = 640
"""Low-resolution pixels; all benchmarks at x4, and DIV2K, are smaller."""
OVERLAP = 32


def load_models(
    models: Sequence[str],
    *,
    strengths: Sequence[float] = (),
    device: str = "auto",
    precision: str = "fp32",
    tile_size: int = TILE_SIZE,
    taken: Iterable[str] = (),
) -> tuple[int, list[Method]]:
    """Load models of one factor.

    Args:
        models: weights files or names of models, each also as ``LABEL=MODEL``.
        strengths: each model with a partner is measured at all of these; by default as it is.
        device, precision, tile_size: see :class:`~torch_sr.inference.upscaler.Upscaler`.
        taken: labels that are in use, beside the baseline's.

    Returns:
        The factor, and the methods; see :func:`~torch_sr.evaluation.labels.label_models` for
        their labels.

    Raises:
        ModelError: when one cannot be read, they have several factors, or labels clash; when a
            strength is out of range, no model has a partner, or both of a pair are named.
    """
    named, places = _at_strengths([parse_named(model) for model in models], strengths)
    files = [find_model(model.model) for model in named]
    taken = [BASELINE, *taken]
    check_labels(named, files, taken)
    upscalers = [
        Upscaler(
            file if strength is None else model.model,
            strength=strength,
            device=device,
            precision=precision,
            tile_size=tile_size,
            overlap=OVERLAP,
            border=0,
        )
        for model, file, strength in zip(named, files, places, strict=True)
    ]
    infos = [_info(upscaler) for upscaler in upscalers]
    names = [name_of(info.path) or info.name for info in infos]
    labels = label_models(named, files, names, taken)
    factors = [upscaler.scale_factor for upscaler in upscalers]
    if len(set(factors)) > 1:
        listed = ", ".join(f"{m} x{factor}" for m, factor in zip(labels, factors, strict=True))
        raise ModelError(f"only models of one factor can be compared: {listed}")
    methods = [
        Method(label, upscaler.upscale, source=info.path)
        for label, upscaler, info in zip(labels, upscalers, infos, strict=True)
    ]
    return factors[0], methods


def _at_strengths(
    models: Sequence[NamedModel], strengths: Sequence[float]
) -> tuple[list[NamedModel], list[float | None]]:
    """List models with a partner once for each strength, with the strength in their label.

    With a single strength, a given label is kept.
    """
    if strengths and not any(find_pair(model.model) for model in models):
        choose_model(models[0].model, strengths[0])  # whose error says what has a partner
    named: list[NamedModel] = []
    places: list[float | None] = []
    seen: dict[Pair, str] = {}
    for model in models:
        pair = find_pair(model.model)
        if not strengths or pair is None:
            named.append(model)
            places.append(None)
            continue
        if pair in seen:
            raise ModelError(
                f"remove {model.model} or {seen[pair]}: --strength measures between these partners"
            )
        seen[pair] = model.model
        places += [choose_model(model.model, strength).strength for strength in strengths]
        if model.label is not None and len(strengths) == 1:
            named.append(model)
            continue
        bare = model.label or pair.faithful
        named += [NamedModel(model.model, f"{bare} {text}") for text in format_alphas(strengths)]
    return named, places


def _info(upscaler: Upscaler) -> GeneratorInfo:
    assert upscaler.info is not None  # it has been given a file and no engine
    return upscaler.info


def load_sweep(
    psnr: Model,
    esrgan: Model,
    alphas: Sequence[float],
    *,
    image_space: bool = False,
    device: str = "auto",
    precision: str = "fp32",
    tile_size: int = TILE_SIZE,
) -> tuple[int, list[Method]]:
    """Load interpolations between two networks (ESRGAN, section 3.4), from one to the other.

    Args:
        psnr, esrgan: networks, weights files, or names of models.
        alphas: shares of the second, each in [0, 1].
        image_space: interpolate their results as well, which the paper compares with.
        device, precision, tile_size: as for :func:`load_models`.

    Returns:
        The factor, and the methods in two groups, labelled as :func:`sweep_labels` does.

    Raises:
        ModelError: when one cannot be read, or the two differ in architecture.
    """

    def upscaler(network: RRDBNet) -> Upscaler:
        channels = network.img_channels
        engine = PyTorchEngine(network, network.scale_factor, channels, device, precision)
        return Upscaler(engine, tile_size=tile_size, overlap=OVERLAP, border=0)

    first, last = ends = load_network(psnr), load_network(esrgan)
    source = find_model(psnr) if isinstance(psnr, (str, Path)) else None
    labels = sweep_labels(alphas)
    methods = [
        Method(label, upscaler(interpolate(first, last, alpha)).upscale, "networks", alpha, source)
        for label, alpha in zip(labels, alphas, strict=True)
    ]
    if image_space:
        methods += interpolate_images(*(upscaler(end).upscale for end in ends), alphas=alphas)
    return first.scale_factor, methods


def sweep_labels(alphas: Sequence[float], *, images: bool = False) -> list[str]:
    """What the methods of a sweep are called: ``alpha 0.25``, or ``images 0.25``."""
    word = "images" if images else "alpha"
    return [f"{word} {text}" for text in format_alphas(alphas)]


def interpolate_images(
    psnr: SuperResolve, esrgan: SuperResolve, *, alphas: Sequence[float]
) -> list[Method]:
    """Mix the results of two methods (ESRGAN, section 4.4).

    Both are asked once for a picture that is given to one after the other.
    """
    mixer = _ImageMixer(psnr, esrgan)
    return [
        Method(label, partial(mixer.mix, alpha), "images", alpha)
        for label, alpha in zip(sweep_labels(alphas, images=True), alphas, strict=True)
    ]


class _ImageMixer:
    """Mixes two results of the same picture, and keeps those of the latest."""

    def __init__(self, psnr: SuperResolve, esrgan: SuperResolve) -> None:
        self._ends = psnr, esrgan
        self._picture: Array | None = None
        self._results: list[Array] = []

    def mix(self, alpha: float, lr: Array) -> Array:
        if self._picture is not lr:
            self._results = [end(to_unit(lr)) for end in self._ends]
            self._picture = lr
        psnr, esrgan = self._results
        return from_unit((1 - alpha) * psnr + alpha * esrgan, lr.dtype)

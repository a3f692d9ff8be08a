"""The methods of a test: models, and interpolations between two of them.

Images are super-resolved whole, except that those larger than ``TILE_SIZE`` are cut into tiles,
whose overlap is wide enough for the deepest network of ESRGAN.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from torch_sr.aliases import Array, OnDownload
from torch_sr.errors import ModelError
from torch_sr.evaluation.labels import NamedModel, label_models, parse_named
from torch_sr.evaluation.method import BASELINE, Method, SuperResolve
from torch_sr.images import from_unit, to_unit
from torch_sr.inference.upscaler import Upscaler
from torch_sr.models.interpolation import format_alphas, interpolate, open_parents
from torch_sr.models.loading import choose_model, load
from torch_sr.models.model import Model, ModelLike
from torch_sr.models.weights import Pair, find_pair
from torch_sr.models.zoo import name_of

TILE_SIZE = 640
"""Low-resolution pixels; all benchmarks at x4, and DIV2K, are smaller."""
OVERLAP = 32


def load_models(
    models: Sequence[str | Path | Model],
    *,
    strengths: Sequence[float] = (),
    device: str = "auto",
    precision: str = "fp32",
    engine: str = "auto",
    threads: int | None = None,
    tile_size: int = TILE_SIZE,
    taken: Iterable[str] = (),
    on_download: OnDownload | None = None,
) -> list[Method]:
    """Load models of one scale factor.

    Args:
        models: models, weights files or names; the last two also as ``LABEL=MODEL``.
        strengths: every named model with a partner is measured at each of these; by default
            without mixing.
        device, precision, engine, threads, tile_size: see
            :class:`~torch_sr.inference.upscaler.Upscaler`.
        taken: labels that are in use, in addition to the baseline's.
        on_download: called while a model is downloaded.

    Returns:
        A method for each; see :func:`~torch_sr.evaluation.labels.label_models` for their labels.

    Raises:
        ModelError: a model cannot be read, their scale factors differ, or labels clash; a strength
            is out of range, no model has a partner, or both models of a pair are named.
    """
    candidates = _at_strengths([_Candidate.of(model) for model in models], strengths)
    loaded = [candidate.load(on_download) for candidate in candidates]
    labels = label_models(
        [candidate.named for candidate in candidates],
        [model.info.path or Path(model.info.name) for model in loaded],
        [_name_of(model) for model in loaded],
        [BASELINE, *taken],
    )
    start = _starter(device, precision, engine, threads, tile_size)
    methods = [
        Method(label, start(model).upscale, model=model)
        for label, model in zip(labels, loaded, strict=True)
    ]
    common_scale_factor(methods)
    return methods


def load_sweep(
    psnr: ModelLike,
    esrgan: ModelLike,
    *,
    alphas: Sequence[float],
    image_space: bool = False,
    device: str = "auto",
    precision: str = "fp32",
    engine: str = "auto",
    threads: int | None = None,
    tile_size: int = TILE_SIZE,
) -> list[Method]:
    """Load interpolations between two networks (ESRGAN, section 3.4), from one to the other.

    Args:
        psnr, esrgan: models, networks, weights files, or names.
        alphas: shares of the second network, each in [0, 1].
        image_space: also interpolate the resulting images, as in the paper's comparison.
        device, precision, engine, threads, tile_size: see :func:`load_models`.

    Returns:
        The methods in one or two groups, labeled as :func:`sweep_labels` does.

    Raises:
        ModelError: a model cannot be read, or the architectures differ.
    """
    start = _starter(device, precision, engine, threads, tile_size)
    first, last = open_parents([psnr, esrgan])
    mixed = [interpolate(first, last, alpha) for alpha in alphas]
    methods = [
        Method(label, start(model).upscale, group="networks", alpha=alpha, model=model)
        for label, alpha, model in zip(sweep_labels(alphas), alphas, mixed, strict=True)
    ]
    if image_space:
        ends = (start(first).upscale, start(last).upscale)
        methods += interpolate_images(*ends, alphas=alphas)
    return methods


def common_scale_factor(methods: Sequence[Method]) -> int:
    """The scale factor of the models among some methods.

    Raises:
        ModelError: the scale factors differ, or no method is a model.
    """
    factors = {method.label: method.model.scale_factor for method in methods if method.model}
    if len(set(factors.values())) != 1:
        listed = ", ".join(f"{label} x{factor}" for label, factor in factors.items())
        raise ModelError(
            f"choose models of the same scale factor to compare: {listed or 'no model is given'}"
        )
    return next(iter(factors.values()))


@dataclass(frozen=True)
class _Candidate:
    """A model to load: the name that the user gave, and the strength."""

    source: str | Model
    named: NamedModel
    strength: float | None = None

    @classmethod
    def of(cls, model: str | Path | Model) -> _Candidate:
        if isinstance(model, Model):
            return cls(model, NamedModel(_name_of(model)))
        named = parse_named(str(model))
        return cls(named.model, named)

    @property
    def pair(self) -> Pair | None:
        """The pair that a named model belongs to."""
        return None if isinstance(self.source, Model) else find_pair(self.source)

    def load(self, on_download: OnDownload | None) -> Model:
        """The model at its strength."""
        if isinstance(self.source, Model):
            return self.source
        progress = None if on_download is None else partial(on_download, self.source)
        return load(self.source, strength=self.strength, progress=progress)

    def at_strengths(self, strengths: Sequence[float], pair: Pair) -> list[_Candidate]:
        """Copies at several strengths, which become part of the label.

        For a single strength, a label that the user gave is kept.
        """
        label = self.named.label
        bare = label or pair.faithful
        labels = [f"{bare} {text}" for text in format_alphas(strengths)]
        if label is not None and len(strengths) == 1:
            labels = [label]
        return [
            replace(self, named=replace(self.named, label=each), strength=strength)
            for each, strength in zip(labels, strengths, strict=True)
        ]


def _at_strengths(candidates: Sequence[_Candidate], strengths: Sequence[float]) -> list[_Candidate]:
    """List models with a partner once for each strength."""
    if strengths and not any(candidate.pair for candidate in candidates):
        choose_model(candidates[0].named.model, strengths[0])  # its error lists the pairs
    found: list[_Candidate] = []
    seen: dict[Pair, str] = {}
    for candidate in candidates:
        pair, name = candidate.pair, candidate.named.model
        if not strengths or pair is None:
            found.append(candidate)
            continue
        if pair in seen:
            raise ModelError(
                f"remove {name} or {seen[pair]}: --strength measures between these partners"
            )
        seen[pair] = name
        found += candidate.at_strengths(strengths, pair)
    return found


def _name_of(model: Model) -> str:
    path = model.info.path
    return (name_of(path) if path is not None else None) or model.info.name


def _starter(
    device: str, precision: str, engine: str, threads: int | None, tile_size: int
) -> Callable[[Model], Upscaler]:
    """A function that makes the upscaler of a model."""
    return lambda model: Upscaler(
        model,
        device=device,
        precision=precision,
        engine=engine,
        threads=threads,
        tile_size=tile_size,
        overlap=OVERLAP,
        border=0,
    )


def sweep_labels(alphas: Sequence[float], *, images: bool = False) -> list[str]:
    """The labels of the methods of a sweep: ``alpha 0.25``, or ``images 0.25``."""
    word = "images" if images else "alpha"
    return [f"{word} {text}" for text in format_alphas(alphas)]


def interpolate_images(
    psnr: SuperResolve, esrgan: SuperResolve, *, alphas: Sequence[float]
) -> list[Method]:
    """Mix the results of two methods (ESRGAN, section 4.4).

    Each method computes an image once if all alphas are applied to it one after another.
    """
    mixer = _ImageMixer(psnr, esrgan)
    return [
        Method(label, partial(mixer.mix, alpha), group="images", alpha=alpha)
        for label, alpha in zip(sweep_labels(alphas, images=True), alphas, strict=True)
    ]


class _ImageMixer:
    """Mixes the results of two methods, and caches those of the latest image."""

    def __init__(self, psnr: SuperResolve, esrgan: SuperResolve) -> None:
        self._ends = psnr, esrgan
        self._image: Array | None = None
        self._results: list[Array] = []

    def mix(self, alpha: float, lr: Array) -> Array:
        if self._image is not lr:
            self._results = [end(to_unit(lr)) for end in self._ends]
            self._image = lr
        psnr, esrgan = self._results
        return from_unit((1 - alpha) * psnr + alpha * esrgan, lr.dtype)

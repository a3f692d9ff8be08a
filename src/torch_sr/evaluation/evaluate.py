"""Evaluate models on data sets: scores of every image, and means."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import torch

from torch_sr.aliases import OnDownload, Progress
from torch_sr.data.image_pairs import ImagePairs, open_pairs
from torch_sr.data.sets.spec_syntax import split_specs
from torch_sr.data.ssim_size import refuse_small
from torch_sr.errors import DataError
from torch_sr.evaluation.compare import Comparison, ImageScore, compare
from torch_sr.evaluation.labels import distinct
from torch_sr.evaluation.method import Method, bicubic
from torch_sr.evaluation.methods import load_models
from torch_sr.evaluation.metric_table import build_protocol_metrics
from torch_sr.evaluation.setup import metric_settings
from torch_sr.evaluation.statistics import ByDataset, mean_scores
from torch_sr.metrics import PROTOCOLS
from torch_sr.models.model import Model

Measured: TypeAlias = str | Path | Model | Method
"""What can be measured: a name or weights file (also as ``LABEL=MODEL``), a model, or a method."""
OnComparison = Callable[[Comparison, int, int], None]
"""Called with an image under all methods, its number from 1, and the images of the data set."""


@dataclass(frozen=True)
class Evaluation:
    """The result of :func:`evaluate`.

    Args:
        scores: the metrics of every image under every method and protocol.
        protocols: the names of the protocols, the main one first.
    """

    scores: list[ImageScore]
    protocols: list[str]

    @property
    def means(self) -> ByDataset[float]:
        """Means by data set, method and metric under the main protocol.

        Values that are not finite are left out; see :mod:`torch_sr.evaluation.averages`.
        """
        return mean_scores(self.under(self.protocols[0]))

    def under(self, protocol: str) -> list[ImageScore]:
        """The scores under one protocol."""
        return [score for score in self.scores if score.protocol == protocol]


def evaluate(
    models: Measured | Sequence[Measured],
    datasets: str | Path | Sequence[str | Path],
    *,
    metrics: Sequence[str] = ("psnr", "ssim"),
    protocols: Sequence[str] = ("paper",),
    data_root: str | Path = "data",
    device: str = "auto",
    precision: str = "fp32",
    cache_progress: Progress | None = None,
    on_comparison: OnComparison | None = None,
    on_download: OnDownload | None = None,
) -> Evaluation:
    """Measure models, and bicubic as the baseline, on every image of data sets.

    Args:
        models: one or several, of the same scale factor: names or weights files (also as
            ``LABEL=MODEL``), models, or methods.
        datasets: specifications such as ``set5`` or ``div2k:val``, or folders of images; several
            in a sequence, or in a string, separated by commas.
        metrics: names of :data:`~torch_sr.evaluation.metric_table.METRICS`.
        protocols: names of :data:`~torch_sr.metrics.PROTOCOLS`; all metrics are measured under
            the first, PSNR and SSIM under the others as well.
        data_root: the folder of the data sets.
        device, precision: see :class:`~torch_sr.inference.upscaler.Upscaler`; the device also
            computes the metrics that are networks.
        cache_progress: called while images are decoded.
        on_comparison: called after each image.
        on_download: called while a model or the weights of a metric are downloaded.

    Returns:
        The scores, and their means. Names of images are distinct, even on file systems that
        ignore case.

    Raises:
        DataError: no data set is given, images are missing, unfit or too small, or a metric or
            protocol is unknown.
        DownloadError, ModelError: a model cannot be read, there are several scale factors, or a
            metric is not available.
        MissingExtraError: a metric needs a package that is not installed.

    >>> import tempfile, numpy, torch_sr
    >>> from torch_sr.images import write_image
    >>> folder = tempfile.mkdtemp()
    >>> colors = numpy.random.default_rng(0).integers(0, 256, (6, 6, 3), dtype=numpy.uint8)
    >>> squares = torch_sr.Image(colors.repeat(12, axis=0).repeat(12, axis=1))
    >>> _ = write_image(f"{folder}/squares.png", squares)
    >>> result = torch_sr.evaluate("compact-x4", folder, device="cpu")
    >>> for method, means in result.means[folder].items():
    ...     print(f"{method}: {means['psnr']:.1f} dB")
    bicubic: 24.4 dB
    compact-x4: 27.2 dB
    """
    data_root = Path(data_root)
    methods = _load(models, device, precision, on_download)
    settings = metric_settings(methods, protocols, device, on_download)
    built = build_protocol_metrics(list(metrics), settings)
    methods = [bicubic(settings.scale_factor), *methods]
    scores: list[ImageScore] = []
    folders: set[str] = set()
    with _deterministic():
        for spec in _specifications(datasets, data_root):
            pairs = open_pairs(
                [spec],
                data_root=data_root,
                scale_factor=settings.scale_factor,
                purpose="test",
                progress=cache_progress,
            )
            if "ssim" in metrics:
                crops = any(PROTOCOLS[name].crop_border for name in protocols)
                refuse_small(pairs, crop_border=crops)
            _make_names_distinct(pairs, folders)
            compared = compare(methods, spec, pairs, built)
            for number, comparison in enumerate(compared, start=1):
                scores += comparison.scores
                if on_comparison is not None:
                    on_comparison(comparison, number, len(pairs))
    return Evaluation(scores, settings.protocols)


def _load(
    models: Measured | Sequence[Measured],
    device: str,
    precision: str,
    on_download: OnDownload | None,
) -> list[Method]:
    """A method for each model, in their order."""
    given = [models] if isinstance(models, str | Path | Model | Method) else list(models)
    named = [model for model in given if not isinstance(model, Method)]
    taken = [model.label for model in given if isinstance(model, Method)]
    if not named:
        return [model for model in given if isinstance(model, Method)]
    loaded = iter(
        load_models(named, device=device, precision=precision, taken=taken, on_download=on_download)
    )
    return [model if isinstance(model, Method) else next(loaded) for model in given]


def _specifications(datasets: str | Path | Sequence[str | Path], data_root: Path) -> list[str]:
    if isinstance(datasets, str):
        specs = split_specs(datasets, data_root)
    else:
        specs = [str(datasets)] if isinstance(datasets, Path) else list(map(str, datasets))
    if not specs:
        raise DataError("name a data set to measure on, such as set5 or a folder of images")
    return list(dict.fromkeys(specs))


def _make_names_distinct(pairs: ImagePairs, folders: set[str]) -> None:
    """Rename images so that every data set has its own folder, with distinct names in it."""
    if not pairs.names:
        return
    folder = distinct([pairs.names[0].partition("/")[0]], folders)[0]
    inside = distinct(name.partition("/")[2] for name in pairs.names)
    pairs.names = [f"{folder}/{name}" for name in inside]


@contextmanager
def _deterministic() -> Iterator[None]:
    """Make CUDA compute the same numbers every time; restore the process's settings afterwards."""
    cudnn = torch.backends.cudnn
    before = cudnn.deterministic, cudnn.benchmark
    cudnn.deterministic, cudnn.benchmark = True, False
    try:
        yield
    finally:
        cudnn.deterministic, cudnn.benchmark = before

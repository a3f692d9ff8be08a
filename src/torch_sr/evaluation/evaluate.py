"""Evaluate methods on data sets: the scores of every image.

What is stored or drawn of each image is up to the function that the caller passes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch

from torch_sr.aliases import Progress
from torch_sr.data.image_pairs import ImagePairs, open_pairs
from torch_sr.data.ssim_size import refuse_small
from torch_sr.evaluation.compare import Comparison, ImageScore, compare
from torch_sr.evaluation.labels import distinct
from torch_sr.evaluation.method import Method, bicubic
from torch_sr.evaluation.metric_table import MetricSettings, build_protocol_metrics
from torch_sr.metrics import PROTOCOLS

OnComparison = Callable[[Comparison, int, int], None]
"""Called with an image under all methods, its number in its data set from 1, and their count."""


def evaluate(
    methods: Sequence[Method],
    specs: Sequence[str],
    metrics: Sequence[str],
    setting: MetricSettings,
    *,
    data_root: Path,
    cache_progress: Progress | None = None,
    on_comparison: OnComparison | None = None,
) -> list[ImageScore]:
    """Measure bicubic and the methods on every image of the data sets.

    Args:
        methods: see :mod:`torch_sr.evaluation.methods`.
        specs: data sets, each once; see :func:`torch_sr.data.image_pairs.open_pairs`.
        metrics: names of :data:`~torch_sr.evaluation.metric_table.METRICS`.
        setting: the factor, the protocols, and where networks that measure compute.
        data_root: see :func:`torch_sr.data.image_pairs.open_pairs`.
        cache_progress: called while images are decoded.
        on_comparison: called after each image.

    Returns:
        The scores. Names of images are distinct in the whole test, even where case does not count.

    Raises:
        DataError: for data that are missing, unfit or too small, or an unknown metric.
        ModelError, MissingExtraError: for a metric that is not available.
    """
    panels = build_protocol_metrics(metrics, setting)
    every_method = [bicubic(setting.scale_factor), *methods]
    scores: list[ImageScore] = []
    folders: set[str] = set()
    with _deterministic():
        for spec in specs:
            pairs = open_pairs(
                [spec],
                data_root=data_root,
                scale_factor=setting.scale_factor,
                purpose="test",
                progress=cache_progress,
            )
            if "ssim" in metrics:
                crops = any(PROTOCOLS[name].crop_border for name in setting.protocols)
                refuse_small(pairs, crop_border=crops)
            _make_names_distinct(pairs, folders)
            compared = compare(every_method, spec, pairs, panels)
            for number, comparison in enumerate(compared, start=1):
                scores += comparison.scores
                if on_comparison is not None:
                    on_comparison(comparison, number, len(pairs))
    return scores


def _make_names_distinct(pairs: ImagePairs, folders: set[str]) -> None:
    """Give the data set a folder of its own, and each image a name of its own in it."""
    if not pairs.names:
        return
    folder = distinct([pairs.names[0].partition("/")[0]], folders)[0]
    inside = distinct(name.partition("/")[2] for name in pairs.names)
    pairs.names = [f"{folder}/{name}" for name in inside]


@contextmanager
def _deterministic() -> Iterator[None]:
    """The same numbers every time on CUDA; the process's own settings come back after."""
    cudnn = torch.backends.cudnn
    before = cudnn.deterministic, cudnn.benchmark
    cudnn.deterministic, cudnn.benchmark = True, False
    try:
        yield
    finally:
        cudnn.deterministic, cudnn.benchmark = before

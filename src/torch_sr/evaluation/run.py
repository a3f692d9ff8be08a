"""A whole test: methods on data sets, with whatever looks on.

The command parses, calls :func:`run_test`, and prints; what is stored or drawn of each image is
the business of the functions it hands over.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from torch_sr.data.cache import Progress
from torch_sr.data.open import open_pairs
from torch_sr.errors import DataError, ImageError
from torch_sr.evaluation.evaluate import (
    Array,
    Comparison,
    ImageScore,
    SuperResolve,
    bicubic,
    evaluate,
    mean_scores,
)
from torch_sr.evaluation.measures import Setting, build_measures
from torch_sr.files import atomic_write
from torch_sr.images import Image, write_image

BASELINE = "bicubic"
OnComparison = Callable[[Comparison, int, int], None]
"""Given each image under all methods, its number in its data set from 1, and their number."""


def run_test(
    methods: Mapping[str, SuperResolve],
    specs: Sequence[str],
    metrics: Sequence[str],
    setting: Setting,
    *,
    data_root: Path,
    cache_progress: Progress | None = None,
    on_comparison: OnComparison | None = None,
) -> list[ImageScore]:
    """Measure bicubic and the methods on every image of the data sets.

    Args:
        methods: see :mod:`torch_sr.evaluation.methods`.
        specs: data sets; see :func:`torch_sr.data.open.open_pairs`.
        metrics: names of :data:`~torch_sr.evaluation.measures.MEASURES`.
        setting: the factor, the protocol, and where networks that measure compute.
        data_root: see :func:`torch_sr.data.open.open_pairs`.
        cache_progress: called while images are decoded.
        on_comparison: called after each image.

    Raises:
        DataError: for data that are missing, unfit or too small, or an unknown metric.
        ModelError, MissingExtraError: for a metric that is not to be had.
    """
    measures = build_measures(metrics, setting)
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False
    every_method = {BASELINE: bicubic(setting.scale_factor), **methods}
    scores: list[ImageScore] = []
    for spec in specs:
        pairs = open_pairs(
            [spec],
            data_root=data_root,
            scale_factor=setting.scale_factor,
            purpose="test",
            progress=cache_progress,
        )
        rounds = setting.protocol.round_to_8_bit
        compared = evaluate(every_method, spec, pairs, measures, round_to_8_bit=rounds)
        for number, comparison in enumerate(compared, start=1):
            scores += comparison.scores
            if on_comparison is not None:
                on_comparison(comparison, number, len(pairs))
    return scores


def overall_means(scores: Sequence[ImageScore]) -> dict[str, dict[str, float]]:
    """Means over the images of all data sets together, by method and metric."""
    together = [replace(score, dataset="") for score in scores]
    return mean_scores(together)[""] if scores else {}


def result_path(out_dir: Path, image: str, method: str | None) -> Path:
    """Where the result for ``set5/baby`` is stored: ``out_dir/set5/baby_sr.png``.

    With several models, each has a folder of its own: ``out_dir/compact-x4/set5/baby_sr.png``.
    """
    folder = out_dir if method is None else out_dir / re.sub(r"[\\/:]+", "_", method)
    return folder / f"{image}_sr.png"


def sheet_path(out_dir: Path, image: str) -> Path:
    """Where the sheet of ``set5/baby`` is stored: ``out_dir/set5/baby_sheet.png``."""
    return out_dir / f"{image}_sheet.png"


def store_comparison(out_dir: Path, comparison: Comparison, sheet: Array) -> None:
    """Write what the models made of an image, and its sheet, making the folders.

    Raises:
        ImageError: when that cannot be done.
    """
    models = [method for method in comparison.results if method != BASELINE]
    for method in models:
        path = result_path(out_dir, comparison.image, method if len(models) > 1 else None)
        store_image(path, comparison.results[method])
    store_image(sheet_path(out_dir, comparison.image), sheet)


def store_image(path: Path, pixels: Array) -> None:
    """Write an image, making its folder.

    Raises:
        ImageError: when that cannot be done.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ImageError(f"{path.parent}: cannot make this folder: {error.strerror}") from error
    write_image(path, Image.from_array(pixels))


def write_csv(path: Path, scores: Sequence[ImageScore]) -> None:
    """Write a line for each image and method: data set, image, method, then the metrics.

    Raises:
        DataError: when the file cannot be written.
    """
    metrics = list(scores[0].metrics) if scores else []
    try:
        with atomic_write(path) as temporary, temporary.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["dataset", "image", "method", *metrics])
            for score in scores:
                values = [score.metrics[metric] for metric in metrics]
                writer.writerow([score.dataset, score.image, score.method, *values])
    except OSError as error:
        raise DataError(f"{path}: cannot be written: {error.strerror}; name another") from error

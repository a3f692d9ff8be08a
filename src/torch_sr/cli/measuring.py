"""Measure methods with progress bars, for ``test`` and ``interpolate``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from torch_sr.cli.bars import cache_progress, download_progress, progress_bar
from torch_sr.evaluation.compare import Comparison, ImageScore
from torch_sr.evaluation.evaluate import evaluate
from torch_sr.evaluation.method import Method
from torch_sr.evaluation.metric_table import MetricSettings


def measure(
    methods: Sequence[Method],
    specs: Sequence[str],
    metrics: Sequence[str],
    setting: MetricSettings,
    data_root: Path,
    watchers: Sequence[Callable[[Comparison], None]] = (),
) -> list[ImageScore]:
    """Measure every method on every image.

    Args:
        methods, specs, metrics, setting, data_root: see :func:`~torch_sr.evaluation.evaluate`.
        watchers: functions that are called with each image under all methods.
    """
    with ExitStack() as stack:
        downloaded = stack.enter_context(download_progress())
        cached = stack.enter_context(cache_progress())
        bar = stack.enter_context(progress_bar("images"))
        tasks: dict[str, Any] = {}

        def on_comparison(comparison: Comparison, number: int, total: int) -> None:
            name = comparison.dataset
            if name not in tasks:
                tasks[name] = bar.add_task(name, total=total)
            bar.update(tasks[name], completed=number)
            for watch in watchers:
                watch(comparison)

        return evaluate(
            methods,
            specs,
            metrics=metrics,
            protocols=setting.protocols,
            data_root=data_root,
            device=setting.device,
            cache_progress=cached,
            on_comparison=on_comparison,
            on_download=downloaded,
        ).scores

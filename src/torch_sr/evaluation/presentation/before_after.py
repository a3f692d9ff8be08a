"""Draw validation images before and after a training as one image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from torch_sr.aliases import Bytes
from torch_sr.data.image_pairs import ImagePairs
from torch_sr.evaluation.compare import compare_image
from torch_sr.evaluation.method import Method
from torch_sr.evaluation.metric_table import MetricSettings, build_protocol_metrics
from torch_sr.evaluation.presentation.sheets import draw_sheet

_PAPER = 250


def draw_before_after(pairs: ImagePairs, methods: Sequence[Method], *, count: int = 4) -> Bytes:
    """Draw the sheets of some images, one below another.

    Args:
        pairs: the images; ``count`` of them are drawn, evenly spread.
        methods: the model before and the model after, or others.
        count: the largest number of images to draw.

    Returns:
        ``(H, W, 3)`` uint8.
    """
    chosen = np.unique(np.linspace(0, len(pairs) - 1, min(count, len(pairs))).round().astype(int))
    protocols = build_protocol_metrics(["psnr", "ssim"], MetricSettings(pairs.scale_factor))
    sheets = []
    for index in map(int, chosen):
        comparison = compare_image(methods, "validation", pairs, index, protocols)
        sheets.append(draw_sheet(replace(comparison, image=Path(comparison.image).name)))
    width = max(sheet.shape[1] for sheet in sheets)
    padded = [
        np.pad(sheet, ((0, 0), (0, width - sheet.shape[1]), (0, 0)), constant_values=_PAPER)
        for sheet in sheets
    ]
    return np.concatenate(padded)

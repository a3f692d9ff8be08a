"""One picture of several validation images before and after a training."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from torch_sr.aliases import Array, Bytes
from torch_sr.data.image_pairs import ImagePairs
from torch_sr.evaluation.compare import Comparison
from torch_sr.evaluation.method import SuperResolve
from torch_sr.evaluation.presentation.figures import draw_sheet
from torch_sr.images import convert, to_unit
from torch_sr.metrics import PROTOCOLS, measure

_PAPER = 250


def draw_before_after(
    pairs: ImagePairs, methods: Mapping[str, SuperResolve], *, count: int = 4
) -> Bytes:
    """Draw the sheets of some images below one another.

    Args:
        pairs: the images, of which ``count`` are taken, evenly spread.
        methods: by the name under which each is shown.
        count: images drawn at most.

    Returns:
        ``(H, W, 3)`` uint8.
    """
    chosen = np.unique(np.linspace(0, len(pairs) - 1, min(count, len(pairs))).round().astype(int))
    sheets = [draw_sheet(_compare(pairs, int(index), methods)) for index in chosen]
    width = max(sheet.shape[1] for sheet in sheets)
    padded = [
        np.pad(sheet, ((0, 0), (0, width - sheet.shape[1]), (0, 0)), constant_values=_PAPER)
        for sheet in sheets
    ]
    return np.concatenate(padded)


def _compare(pairs: ImagePairs, index: int, methods: Mapping[str, SuperResolve]) -> Comparison:
    lr, hr = (convert(image, np.uint8) for image in pairs[index])
    results = {name: super_resolve(lr) for name, super_resolve in methods.items()}
    metrics = {name: _measure(sr, hr, pairs.scale_factor) for name, sr in results.items()}
    name = Path(pairs.names[index]).name
    return Comparison("validation", name, lr, hr, results, metrics)


def _measure(sr: Array, hr: Array, scale_factor: int) -> dict[str, float]:
    a, b = (torch.from_numpy(to_unit(image).transpose(2, 0, 1)[None]) for image in (sr, hr))
    return measure(a, b, scale_factor, PROTOCOLS["paper"])

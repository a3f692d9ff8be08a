"""Draw validation images before and after a training."""

from __future__ import annotations

from pathlib import Path

from torch_sr.config import Hyperparameters
from torch_sr.data.image_pairs import open_pairs
from torch_sr.evaluation.method import Method, bicubic
from torch_sr.evaluation.presentation.before_after import draw_before_after
from torch_sr.images import Image, write_image
from torch_sr.inference.upscaler import Upscaler
from torch_sr.training.photos.plan import sheet_file
from torch_sr.training.runs.result import TrainingResult
from torch_sr.training.settings import RunSettings


def write_before_after(
    config: Hyperparameters,
    settings: RunSettings,
    start: str | Path | None,
    result: TrainingResult,
) -> Path | None:
    """Draw the sheet and return its file; None without validation images or a model.

    Args:
        config: the configuration of the training.
        settings: the settings of the run.
        start: the name or path of the model that it started from; None for a training from
            scratch.
        result: the result of the training.
    """
    model = result.stages[-1].recommended
    val_datasets = list(config.stages.values())[-1].val_datasets
    if model is None or not val_datasets:
        return None
    pairs = open_pairs(
        val_datasets,
        data_root=settings.data_root,
        scale_factor=config.scale_factor,
        purpose="val",
        channels=config.img_channels,
        cache_dir=settings.cache_dir,
    )
    after = Method("after", Upscaler(model, device=settings.device, border=0).upscale)
    methods = [_before(config, settings, start), after]
    file = sheet_file(settings.out_dir)
    write_image(file, Image(draw_before_after(pairs, methods)))
    return file


def _before(config: Hyperparameters, settings: RunSettings, start: str | Path | None) -> Method:
    """The model that the training started from, or bicubic interpolation."""
    if start is None:
        return bicubic(config.scale_factor)
    return Method("before", Upscaler(start, device=settings.device, border=0).upscale)

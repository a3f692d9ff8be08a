"""Download the models and data sets that a command needs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from torch_sr.cli.bars import download_progress

if TYPE_CHECKING:
    from torch_sr.data.sets.table import Purpose
    from torch_sr.models.model import Model


def find_model(name_or_path: str | Path) -> Path:
    """Find the file of a model; download it if needed."""
    from torch_sr.models import zoo

    with download_progress() as show:
        return zoo.find_model(
            name_or_path, lambda done, total: show(str(name_or_path), done, total)
        )


def load_model(name_or_path: str | Path | None, strength: float | None = None) -> Model:
    """Load a model as :func:`torch_sr.load` does; download it if needed."""
    from torch_sr.models.loading import load

    with download_progress() as show:
        return load(
            name_or_path,
            strength=strength,
            progress=lambda done, total: show(str(name_or_path), done, total),
        )


def download_weights(network: str) -> None:
    """Download the weights of a feature network (perceptual loss) if they are missing."""
    from torch_sr.models.backbones import find_weights

    with download_progress() as show:
        find_weights(network, lambda done, total: show(network, done, total))


def download_data(
    specs: Sequence[str], data_root: Path, scale_factor: int, purpose: Purpose
) -> None:
    """Download missing data sets that are known by name."""
    from torch_sr.data.sets.downloads import download_missing

    with download_progress() as show:
        download_missing(
            specs,
            data_root=data_root,
            scale_factor=scale_factor,
            purpose=purpose,
            progress=show,
        )

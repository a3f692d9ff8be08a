"""Choose the metrics of a test; suggest available ones."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec

from torch_sr.errors import (
    DataError,
    DownloadError,
    MissingExtraError,
    ModelError,
    TorchSRError,
)
from torch_sr.evaluation.metric_table import DISTORTIONS, METRICS, MetricSettings, build_metrics
from torch_sr.models.backbones import backbone_file


def choose_metrics(
    wanted: Sequence[str], settings: MetricSettings, *, plane: bool
) -> tuple[list[str], list[str]]:
    """Choose the metrics of a test; PSNR, by which images are ranked, is always included.

    Args:
        wanted: names of metrics, or only ``all`` for every available one.
        settings: what the metrics share.
        plane: whether the perception-distortion plane is drawn; it needs a perceptual metric, by
            default LPIPS.

    Returns:
        The names, and a note on each metric of ``all`` that is not available.

    Raises:
        DataError: an unknown name, or a plane without a perceptual metric.
        ModelError: the metric of the plane is not available.
    """
    if list(wanted) == ["all"]:
        names, notes = available(settings)
        if plane and perceptual_of(names) is None:
            raise DataError("--plane needs a perceptual metric, and none is available")
        return names, notes
    names = list(dict.fromkeys(["psnr", *wanted]))
    if plane:
        perceptual = perceptual_of(names) or "lpips"
        require(perceptual, settings, "--metrics {}")
        names = list(dict.fromkeys([*names, perceptual]))
    return names, []


def require(name: str, settings: MetricSettings, option: str) -> None:
    """Check that a perceptual metric can be loaded; the error names other metrics.

    Args:
        name: the metric.
        settings: what the metrics share.
        option: the option that chooses another metric, with ``{}`` in place of its name.

    Raises:
        DataError: an unknown name.
        ModelError: it is not available; the message starts with the remedy.
    """
    try:
        build_metrics([name], settings)
    except (DownloadError, ModelError, MissingExtraError) as error:
        others = [option.format(other) for other in substitutes(name)]
        extra = f"`pip install 'torch-sr[quality]'` and {option.format('niqe')}"
        if not others and isinstance(error, MissingExtraError):
            raise  # its message names the package that provides it
        remedy = " or ".join(others) or extra
        raise ModelError(f"use {remedy}: {name} is not available: {error}") from error


def perceptual_of(names: Sequence[str]) -> str | None:
    """The first perceptual metric among some; None if there is none."""
    return next((name for name in names if name not in DISTORTIONS), None)


def is_perceptual(name: str) -> bool:
    """Whether a metric is perceptual, so that it can be plotted against PSNR.

    Raises:
        DataError: an unknown name.
    """
    if name not in METRICS:
        known = [other for other in METRICS if other not in DISTORTIONS]
        raise DataError(f"metric {name!r}: choose one of {', '.join(known)}")
    return name not in DISTORTIONS


def available(settings: MetricSettings) -> tuple[list[str], list[str]]:
    """The metrics that can be loaded here, and a note on each of the others."""
    names, notes = [], []
    for name in METRICS:
        try:
            build_metrics([name], settings)
            names.append(name)
        except TorchSRError as error:
            notes.append(f"without {name}: {error}")
    return names, notes


def substitutes(name: str) -> list[str]:
    """Other perceptual metrics whose packages and weights are already installed."""
    installed = {
        "perceptual_loss": lambda: backbone_file("vgg19")[0].is_file(),
        "lpips": lambda: backbone_file("alexnet")[0].is_file(),
        "dists": lambda: backbone_file("vgg16")[0].is_file(),
        "niqe": lambda: find_spec("pyiqa") is not None,
        "brisque": lambda: find_spec("pyiqa") is not None,
    }
    order = ("lpips", "dists", "niqe", "brisque", "perceptual_loss")
    return [other for other in order if other != name and installed[other]()]

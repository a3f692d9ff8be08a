"""Measure a stage's network on whole validation images.

PSNR and SSIM follow the papers' protocol. Images too large for the device are super-resolved in
tiles, and their losses and extra metrics are means over pieces, weighted by area.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from torch_sr.data.image_pairs import ImagePairs
from torch_sr.errors import ConfigError, DataError, DownloadError, ModelError
from torch_sr.evaluation.averages import PSNR_CEILING, ImageMean, mean_over_images
from torch_sr.evaluation.metric_table import METRICS, MetricFunction, MetricSettings, build_metrics
from torch_sr.evaluation.tiled_network import TiledNetwork
from torch_sr.images import to_nchw
from torch_sr.metrics import measure
from torch_sr.training.stage_base import Stage

PERCEPTUAL_LOSS = "perceptual_loss"
_ALWAYS = ("psnr", "ssim", "content_loss")
EXTRA_METRICS = tuple(name for name in METRICS if name not in _ALWAYS)
"""Optional metrics; ``perceptual_loss`` is always measured in the GAN stage."""
_SHOWN_IMAGES = 4
_PIECE = 1024  # pixels of HR


class Interrupted(Exception):  # noqa: N818
    """Raised between images or tiles to abort a validation."""


@dataclass(frozen=True)
class Validated:
    """The result of a validation.

    Args:
        metrics: means over the images: ``val/PSNR``, ``val/SSIM``, ``val/content_loss`` …
        images: ``(C, H, W)`` in [0, 1], for the logs: ``val/<name>/lr``, ``…/sr`` and ``…/hr``.
        notes: a sentence for every value that was limited or left out.
    """

    metrics: dict[str, float]
    images: dict[str, Tensor] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def check_extra_metrics(names: Sequence[str]) -> None:
    """Refuse names that are not in :data:`EXTRA_METRICS`.

    Raises:
        ConfigError: a name is unknown, or always measured.
    """
    for name in names:
        if name in _ALWAYS:
            raise ConfigError(f"--val-metrics {name}: leave it out; it is always measured")
        if name not in EXTRA_METRICS:
            raise ConfigError(f"--val-metrics {name}: choose from {', '.join(EXTRA_METRICS)}")


def build_extra_metrics(
    names: Sequence[str], scale_factor: int, device: str
) -> dict[str, MetricFunction]:
    """Build metrics by the names under which they are logged: ``LPIPS``, ``NIQE``.

    Args:
        names: some of :data:`EXTRA_METRICS`; the perceptual loss, which the stage measures itself,
            is left out.
        scale_factor: the scale factor of the models.
        device: the device of metrics that are networks.

    Raises:
        ConfigError: a name is unknown.
        ModelError, MissingExtraError: weights or a package are missing.
    """
    check_extra_metrics(names)
    built: dict[str, MetricFunction] = {}
    for name in dict.fromkeys(names):
        if name == PERCEPTUAL_LOSS:
            continue
        try:
            (compare,) = build_metrics([name], MetricSettings(scale_factor, device=device)).values()
        except (DownloadError, ModelError) as error:
            raise type(error)(f"--val-metrics {name}: leave it out, or {error}") from error
        built[METRICS[name].title] = compare
    return built


class Validation:
    """Measure the network of a stage on validation images.

    Args:
        pairs: the images; may be empty.
        extra: other metrics, by the names under which they are logged.
        budget: see :class:`~torch_sr.evaluation.tiled_network.TiledNetwork`.
    """

    def __init__(
        self,
        pairs: ImagePairs,
        extra: Mapping[str, MetricFunction] | None = None,
        budget: int | None = None,
    ) -> None:
        self._pairs = pairs
        self._extra = dict(extra or {})
        self._budget = budget

    def __len__(self) -> int:
        return len(self._pairs)

    def measure(
        self,
        stage: Stage,
        *,
        show: bool = False,
        between: Callable[[], None] = lambda: None,
        on_image: Callable[[int], None] = lambda done: None,
    ) -> Validated:
        """Super-resolve all images and measure the results.

        Args:
            stage: its :attr:`~torch_sr.training.stage_base.Stage.evaluated` network is measured.
            show: return the first images for the logs.
            between: called before each image or tile; raises :class:`Interrupted` to abort.
            on_image: called with the number of images done.

        Raises:
            DataError: an image is too small for a metric.
        """
        values: dict[str, dict[str, float]] = {}
        shifts: dict[str, Tensor] = {}
        images: dict[str, Tensor] = {}
        with _evaluating(stage.evaluated) as evaluated:
            tiled = TiledNetwork(
                evaluated, self._pairs.scale_factor, self._channels(), between, self._budget
            )
            for index, name in enumerate(self._pairs.names):
                lr, hr = (torch.from_numpy(to_nchw(image)) for image in self._pairs[index])
                sr = tiled.super_resolve(lr)
                between()
                hr = hr.to(sr.device)
                for key, value in self._measure(stage, sr, hr, name, tiled.fits(*lr.shape[2:])):
                    values.setdefault(key, {})[name] = value
                shifts[name] = (sr - hr).mean(dim=(0, 2, 3)).cpu()
                if show and index < _SHOWN_IMAGES:
                    kinds = (("lr", lr), ("sr", sr), ("hr", hr))
                    images |= {f"val/{name}/{kind}": image[0] for kind, image in kinds}
                on_image(index + 1)
        return _summarize(values, shifts, images)

    def _channels(self) -> int:
        return int(self._pairs[0][0].shape[2])

    def _measure(
        self, stage: Stage, sr: Tensor, hr: Tensor, name: str, whole: bool
    ) -> Iterator[tuple[str, float]]:
        try:
            losses: dict[str, float] = {}
            for share, part_sr, part_hr in _pieces(sr, hr, whole):
                found: dict[str, Tensor | float] = dict(_losses(stage, part_sr, part_hr))
                found |= {key: compare(part_sr, part_hr) for key, compare in self._extra.items()}
                for key, value in found.items():
                    losses[key] = losses.get(key, 0.0) + share * float(value)
            metrics = measure(sr, hr, self._pairs.scale_factor)
        except DataError as error:
            raise DataError(f"{name}: {error}") from error
        yield from losses.items()
        yield from (("PSNR", metrics["psnr"]), ("SSIM", metrics["ssim"]))


def _losses(stage: Stage, sr: Tensor, hr: Tensor) -> dict[str, Tensor]:
    device = next(stage.evaluated.parameters()).device
    return stage.validation_losses(sr.to(device), hr.to(device))


def _summarize(
    values: Mapping[str, Mapping[str, float]],
    shifts: Mapping[str, Tensor],
    images: dict[str, Tensor],
) -> Validated:
    metrics: dict[str, float] = {}
    notes: list[str] = []
    for key, by_image in values.items():
        mean = mean_over_images(by_image, PSNR_CEILING if key == "PSNR" else math.inf)
        metrics[f"val/{key}"] = mean.value
        notes += _notes(key, mean)
    # Color differences that cancel out over the images are not a drift.
    finite = [shift for shift in shifts.values() if bool(torch.isfinite(shift).all())]
    shift = torch.stack(finite).mean(dim=0).abs().max() if finite else math.nan
    return Validated(metrics | {"val/color_shift": float(shift)}, images, notes)


def _notes(key: str, mean: ImageMean) -> Iterator[str]:
    for name, value in mean.bounded.items():
        reason = "SR equals HR" if math.isinf(value) else "SR hardly differs from HR"
        yield f"{name}: {reason}; its {key} counts as {PSNR_CEILING:g} dB in the mean"
    for name, value in mean.left_out.items():
        yield f"{name}: its {key} is {value}; left out of the mean"


def _pieces(sr: Tensor, hr: Tensor, whole: bool) -> Iterator[tuple[float, Tensor, Tensor]]:
    """An image and its original, whole or in pieces, with the share of the area of each."""
    if whole:
        yield 1.0, sr, hr
        return
    height, width = hr.shape[-2:]
    for top, bottom in _cuts(height):
        for left, right in _cuts(width):
            share = (bottom - top) * (right - left) / (height * width)
            yield share, sr[..., top:bottom, left:right], hr[..., top:bottom, left:right]


def _cuts(length: int) -> list[tuple[int, int]]:
    count = math.ceil(length / _PIECE)
    return [(i * length // count, (i + 1) * length // count) for i in range(count)]


@contextmanager
def _evaluating(network: nn.Module) -> Iterator[nn.Module]:
    """Put a network into evaluation mode, and restore its mode afterwards."""
    training = network.training
    try:
        yield network.eval()
    finally:
        network.train(training)

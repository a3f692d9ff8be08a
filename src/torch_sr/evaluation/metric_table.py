"""The table of metrics: their titles, and how each is computed.

PSNR and SSIM follow the protocol (:mod:`torch_sr.metrics`). All others compare whole RGB images,
rounded to 8 bits where the protocol rounds; a gray image counts as three equal channels. Content
and perceptual loss are those of training, with the weights of ESRGAN (Wang et al. 2018). LPIPS
(Zhang et al. 2018, AlexNet) and DISTS (Ding et al. 2020) come from torchmetrics and need
torchvision's weights; NIQE (Mittal et al. 2013) and BRISQUE (Mittal et al. 2012), which need no
original, come from pyiqa. To add a metric, add a row and a function that builds it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from torch_sr.aliases import OnDownload, OpenProgress
from torch_sr.errors import DataError, MissingExtraError, ModelError
from torch_sr.losses import PerceptualLoss, content_loss
from torch_sr.metrics import PROTOCOLS, MetricProtocol, prepare, psnr, ssim
from torch_sr.models.backbones import download_backbone, find_weights
from torch_sr.models.files.reading import load_state

MetricFunction = Callable[[Tensor, Tensor], float]
"""Computes a value from ``sr`` and ``hr``, both ``(1, C, H, W)`` in [0, 1]."""


@dataclass(frozen=True)
class MetricSettings:
    """What all metrics of one test share.

    Args:
        scale_factor: the scale factor of the models.
        protocol: how PSNR and SSIM compare images.
        device: the device of the metrics that are networks.
        vgg_weights: weights file for the network of the perceptual loss; None uses torchvision's.
        further: other protocols under which PSNR and SSIM are also measured.
        on_download: called while the weights of a metric are downloaded.
    """

    scale_factor: int
    protocol: MetricProtocol = PROTOCOLS["paper"]
    device: str = "cpu"
    vgg_weights: str | None = None
    further: tuple[MetricProtocol, ...] = ()
    on_download: OnDownload | None = None

    @property
    def protocols(self) -> list[str]:
        """The names of all protocols, the main one first."""
        return [self.protocol.name, *(protocol.name for protocol in self.further)]


@dataclass(frozen=True)
class ProtocolMetrics:
    """The metrics of one protocol, ready to compute."""

    protocol: MetricProtocol
    metrics: Mapping[str, MetricFunction]


@dataclass(frozen=True)
class Metric:
    """A row of the table.

    Args:
        title: the name in tables, with the unit.
        digits: shown after the decimal point.
        higher_is_better: whether the larger of two values is the better one.
        build: loads what the metric needs.
    """

    title: str
    digits: int
    higher_is_better: bool
    build: Callable[[MetricSettings], MetricFunction]


def build_metrics(names: Sequence[str], settings: MetricSettings) -> dict[str, MetricFunction]:
    """Load metrics.

    Raises:
        DataError: for an unknown name.
        DownloadError, ModelError: the weights of one are not available.
        MissingExtraError: a package of one is not installed.
    """
    for name in names:
        if name not in METRICS:
            raise DataError(f"metric {name!r}: choose one of {', '.join(METRICS)}")
    return {name: _guarded(name, METRICS[name].build(settings)) for name in names}


def build_protocol_metrics(names: Sequence[str], settings: MetricSettings) -> list[ProtocolMetrics]:
    """Load all metrics under the main protocol; PSNR and SSIM under the others.

    Raises:
        DataError, DownloadError, ModelError, MissingExtraError: as :func:`build_metrics` does.
    """
    found = [ProtocolMetrics(settings.protocol, build_metrics(names, settings))]
    kept = [name for name in names if name in PROTOCOL_METRICS]
    for protocol in settings.further:
        metrics = build_metrics(kept, replace(settings, protocol=protocol))
        found.append(ProtocolMetrics(protocol, metrics))
    return found


def _guarded(name: str, compare: MetricFunction) -> MetricFunction:
    """Raise a DataError for the errors that networks raise on images that are too small."""

    def guarded(sr: Tensor, hr: Tensor) -> float:
        try:
            return compare(sr, hr)
        except torch.OutOfMemoryError:
            raise
        except (RuntimeError, ValueError, AssertionError, IndexError) as error:
            size = f"{hr.shape[-1]}x{hr.shape[-2]}"
            reason = " ".join(str(error).split())[:150]
            raise DataError(f"{name} cannot compare {size} pixels ({reason})") from error

    return guarded


def _psnr(settings: MetricSettings) -> MetricFunction:
    return lambda sr, hr: float(psnr(*_prepared(sr, hr, settings)))


def _ssim(settings: MetricSettings) -> MetricFunction:
    return lambda sr, hr: float(ssim(*_prepared(sr, hr, settings)))


def _prepared(sr: Tensor, hr: Tensor, settings: MetricSettings) -> tuple[Tensor, Tensor]:
    return (
        prepare(sr, settings.scale_factor, settings.protocol),
        prepare(hr, settings.scale_factor, settings.protocol),
    )


def _content_loss(settings: MetricSettings) -> MetricFunction:
    return lambda sr, hr: float(content_loss(_rgb(sr, settings), _rgb(hr, settings)))


def _perceptual_loss(settings: MetricSettings) -> MetricFunction:
    weights = settings.vgg_weights or find_weights("vgg19", _progress("vgg19", settings))
    loss = PerceptualLoss({"conv5_4": 1.0}, weights=weights).to(settings.device)
    return _without_gradient(loss, settings)


def _lpips(settings: MetricSettings) -> MetricFunction:
    _check_backbone("alexnet", settings)
    from torchmetrics.image.lpip import LearnedPerceptualImagePatchSimilarity

    return _metric(LearnedPerceptualImagePatchSimilarity(net_type="alex", normalize=True), settings)


def _dists(settings: MetricSettings) -> MetricFunction:
    _check_backbone("vgg16", settings)
    from torchmetrics.image.dists import DeepImageStructureAndTextureSimilarity

    return _metric(DeepImageStructureAndTextureSimilarity(), settings)


def _niqe(settings: MetricSettings) -> MetricFunction:
    return _without_reference("niqe", settings)


def _brisque(settings: MetricSettings) -> MetricFunction:
    return _without_reference("brisque", settings)


METRICS: dict[str, Metric] = {
    "psnr": Metric("PSNR (dB)", 2, True, _psnr),
    "ssim": Metric("SSIM", 4, True, _ssim),
    "content_loss": Metric("content loss", 4, False, _content_loss),
    "perceptual_loss": Metric("perceptual loss", 4, False, _perceptual_loss),
    "lpips": Metric("LPIPS", 4, False, _lpips),
    "dists": Metric("DISTS", 4, False, _dists),
    "niqe": Metric("NIQE", 2, False, _niqe),
    "brisque": Metric("BRISQUE", 2, False, _brisque),
}

PROTOCOL_METRICS = ("psnr", "ssim")
"""The metrics that depend on the protocol."""
DISTORTIONS = (*PROTOCOL_METRICS, "content_loss")
"""The metrics that compare pixels; all others are perceptual."""


def _check_backbone(name: str, settings: MetricSettings) -> None:
    """Download the weights of torchvision if needed; check that they contain tensors, not code."""
    load_state(download_backbone(name, progress=_progress(name, settings)))


def _progress(network: str, settings: MetricSettings) -> OpenProgress | None:
    return None if settings.on_download is None else partial(settings.on_download, network)


def _metric(metric: Any, settings: MetricSettings) -> MetricFunction:
    """A metric of torchmetrics; it is reset after each image, because it accumulates."""
    metric = metric.to(settings.device)

    def compare(sr: Tensor, hr: Tensor) -> float:
        with torch.inference_mode():
            value = float(metric(sr, hr))
        metric.reset()
        return value

    return lambda sr, hr: compare(_placed(sr, settings), _placed(hr, settings))


def _without_reference(name: str, settings: MetricSettings) -> MetricFunction:
    try:
        import pyiqa
    except ImportError as error:
        raise MissingExtraError("pyiqa", "quality") from error
    try:
        metric = pyiqa.create_metric(name, device=torch.device(settings.device))
    except Exception as error:  # downloads raise errors of many kinds
        reason = " ".join(str(error).split())[:200]
        raise ModelError(f"pyiqa cannot download the model of {name} ({reason})") from error

    def compute(sr: Tensor, _: Tensor) -> float:
        with torch.inference_mode():
            return float(metric(_placed(sr, settings)))

    return compute


def _without_gradient(
    loss: Callable[[Tensor, Tensor], Tensor], settings: MetricSettings
) -> MetricFunction:
    def compare(sr: Tensor, hr: Tensor) -> float:
        with torch.inference_mode():
            return float(loss(_placed(sr, settings), _placed(hr, settings)))

    return compare


def _placed(image: Tensor, settings: MetricSettings) -> Tensor:
    """RGB on the device, rounded to 8 bits if the protocol rounds."""
    return _rgb(image, settings).expand(-1, 3, -1, -1).to(settings.device)


def _rgb(image: Tensor, settings: MetricSettings) -> Tensor:
    image = image.float().clamp(0, 1)
    return (image * 255).round() / 255 if settings.protocol.round_to_8_bit else image

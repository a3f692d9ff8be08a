"""The table of metrics: what each is called, and how it is computed.

PSNR and SSIM follow the protocol (:mod:`torch_sr.metrics`). All others compare whole RGB images,
rounded to 8 bits where the protocol rounds; a gray image counts as three equal channels. Content
and perceptual loss are those of training, with the weights of ESRGAN (Wang et al. 2018). LPIPS
(Zhang et al. 2018, AlexNet) and DISTS (Ding et al. 2020) come from torchmetrics and need
torchvision's weights; NIQE (Mittal et al. 2013) and BRISQUE (Mittal et al. 2012), which look at the
result alone, from pyiqa. To add a metric, add a row and a function that builds it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from torch_sr.errors import DataError, MissingExtraError, ModelError
from torch_sr.losses import PerceptualLoss, content_loss
from torch_sr.metrics import PROTOCOLS, MetricProtocol, prepare, psnr, ssim
from torch_sr.models.backbones import download_backbone
from torch_sr.models.files.reading import load_state

MetricFunction = Callable[[Tensor, Tensor], float]
"""From ``sr`` and ``hr``, both ``(1, C, H, W)`` in [0, 1], to a value."""


@dataclass(frozen=True)
class MetricSettings:
    """What all metrics of one test share.

    Args:
        scale_factor: of the models.
        protocol: how PSNR and SSIM compare.
        device: of the metrics that are networks.
        vgg_weights: weights file of the network of the perceptual loss; None takes torchvision's.
        further: protocols under which PSNR and SSIM are measured as well.
    """

    scale_factor: int
    protocol: MetricProtocol = PROTOCOLS["paper"]
    device: str = "cpu"
    vgg_weights: str | None = None
    further: tuple[MetricProtocol, ...] = ()

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


def build_metrics(names: Sequence[str], setting: MetricSettings) -> dict[str, MetricFunction]:
    """Load metrics.

    Raises:
        DataError: for an unknown name.
        ModelError: the weights of one are not available.
        MissingExtraError: a package of one is not installed.
    """
    for name in names:
        if name not in METRICS:
            raise DataError(f"metric {name!r}: choose one of {', '.join(METRICS)}")
    return {name: _guarded(name, METRICS[name].build(setting)) for name in names}


def build_protocol_metrics(names: Sequence[str], setting: MetricSettings) -> list[ProtocolMetrics]:
    """Load all metrics under the main protocol; PSNR and SSIM under the others.

    Raises:
        DataError, ModelError, MissingExtraError: as :func:`build_metrics` does.
    """
    found = [ProtocolMetrics(setting.protocol, build_metrics(names, setting))]
    kept = [name for name in names if name in PROTOCOL_METRICS]
    for protocol in setting.further:
        metrics = build_metrics(kept, replace(setting, protocol=protocol))
        found.append(ProtocolMetrics(protocol, metrics))
    return found


def _guarded(name: str, compare: MetricFunction) -> MetricFunction:
    """Turn the errors of networks on images that are too small into one kind."""

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


def _psnr(setting: MetricSettings) -> MetricFunction:
    return lambda sr, hr: float(psnr(*_prepared(sr, hr, setting)))


def _ssim(setting: MetricSettings) -> MetricFunction:
    return lambda sr, hr: float(ssim(*_prepared(sr, hr, setting)))


def _prepared(sr: Tensor, hr: Tensor, setting: MetricSettings) -> tuple[Tensor, Tensor]:
    return (
        prepare(sr, setting.scale_factor, setting.protocol),
        prepare(hr, setting.scale_factor, setting.protocol),
    )


def _content_loss(setting: MetricSettings) -> MetricFunction:
    return lambda sr, hr: float(content_loss(_rgb(sr, setting), _rgb(hr, setting)))


def _perceptual_loss(setting: MetricSettings) -> MetricFunction:
    loss = PerceptualLoss({"conv5_4": 1.0}, weights=setting.vgg_weights).to(setting.device)
    return _without_gradient(loss, setting)


def _lpips(setting: MetricSettings) -> MetricFunction:
    _check_backbone("alexnet")
    from torchmetrics.image.lpip import LearnedPerceptualImagePatchSimilarity

    return _metric(LearnedPerceptualImagePatchSimilarity(net_type="alex", normalize=True), setting)


def _dists(setting: MetricSettings) -> MetricFunction:
    _check_backbone("vgg16")
    from torchmetrics.image.dists import DeepImageStructureAndTextureSimilarity

    return _metric(DeepImageStructureAndTextureSimilarity(), setting)


def _niqe(setting: MetricSettings) -> MetricFunction:
    return _without_reference("niqe", setting)


def _brisque(setting: MetricSettings) -> MetricFunction:
    return _without_reference("brisque", setting)


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


def _check_backbone(name: str) -> None:
    """Download the weights of torchvision if needed; check that they contain tensors, not code."""
    load_state(download_backbone(name))


def _metric(metric: Any, setting: MetricSettings) -> MetricFunction:
    """A metric of torchmetrics, which accumulates unless it is reset."""
    metric = metric.to(setting.device)

    def compare(sr: Tensor, hr: Tensor) -> float:
        with torch.inference_mode():
            value = float(metric(sr, hr))
        metric.reset()
        return value

    return lambda sr, hr: compare(_placed(sr, setting), _placed(hr, setting))


def _without_reference(name: str, setting: MetricSettings) -> MetricFunction:
    try:
        import pyiqa
    except ImportError as error:
        raise MissingExtraError("pyiqa", "quality") from error
    try:
        metric = pyiqa.create_metric(name, device=torch.device(setting.device))
    except Exception as error:  # downloads raise errors of many kinds
        reason = " ".join(str(error).split())[:200]
        raise ModelError(f"pyiqa cannot download the model of {name} ({reason})") from error

    def compute(sr: Tensor, _: Tensor) -> float:
        with torch.inference_mode():
            return float(metric(_placed(sr, setting)))

    return compute


def _without_gradient(
    loss: Callable[[Tensor, Tensor], Tensor], setting: MetricSettings
) -> MetricFunction:
    def compare(sr: Tensor, hr: Tensor) -> float:
        with torch.inference_mode():
            return float(loss(_placed(sr, setting), _placed(hr, setting)))

    return compare


def _placed(image: Tensor, setting: MetricSettings) -> Tensor:
    """RGB on the device, rounded to 8 bits if the protocol rounds."""
    return _rgb(image, setting).expand(-1, 3, -1, -1).to(setting.device)


def _rgb(image: Tensor, setting: MetricSettings) -> Tensor:
    image = image.float().clamp(0, 1)
    return (image * 255).round() / 255 if setting.protocol.round_to_8_bit else image

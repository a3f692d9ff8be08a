"""The measures that models are compared by, as rows of one table.

PSNR and SSIM follow the protocol (:mod:`torch_sr.metrics`). All others compare whole RGB images,
rounded to 8 bits where the protocol rounds; a gray image counts as three equal channels. Content
and perceptual loss are those of training, with the weights of ESRGAN (Wang et al. 2018). LPIPS
(Zhang et al. 2018, AlexNet) and DISTS (Ding et al. 2020) come from torchmetrics and need
torchvision's weights; NIQE (Mittal et al. 2013) and BRISQUE (Mittal et al. 2012), which look at the
result alone, from pyiqa. Adding a measure is adding a row and a function that builds it.
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
"""Given ``sr`` and ``hr``, both ``(1, C, H, W)`` in [0, 1]."""


@dataclass(frozen=True)
class MetricSettings:
    """What all measures of one test share.

    Args:
        scale_factor: of the models.
        protocol: how PSNR and SSIM compare.
        device: where networks that measure compute.
        vgg_weights: file of the perceptual loss's network; None takes torchvision's.
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
    """The measures of one protocol."""

    protocol: MetricProtocol
    metrics: Mapping[str, MetricFunction]


@dataclass(frozen=True)
class Metric:
    """A row of the table.

    Args:
        title: as tables show it, with the unit.
        digits: shown behind the point.
        higher_is_better: which of two results is the better one.
        build: loads what the measure needs.
    """

    title: str
    digits: int
    higher_is_better: bool
    build: Callable[[MetricSettings], MetricFunction]


def build_metrics(names: Sequence[str], setting: MetricSettings) -> dict[str, MetricFunction]:
    """Make the measures of those names ready.

    Raises:
        DataError: for an unknown name.
        ModelError: when the weights of one cannot be had.
        MissingExtraError: when a package of one is not installed.
    """
    for name in names:
        if name not in METRICS:
            raise DataError(f"metric {name!r}: there are {', '.join(METRICS)}")
    return {name: _guarded(name, METRICS[name].build(setting)) for name in names}


def build_protocol_metrics(names: Sequence[str], setting: MetricSettings) -> list[ProtocolMetrics]:
    """Make ready all measures under the main protocol; PSNR and SSIM under the others.

    Raises:
        DataError, ModelError, MissingExtraError: as :func:`build_metrics` does.
    """
    panels = [ProtocolMetrics(setting.protocol, build_metrics(names, setting))]
    kept = [name for name in names if name in PROTOCOL_METRICS]
    for protocol in setting.further:
        measures = build_metrics(kept, replace(setting, protocol=protocol))
        panels.append(ProtocolMetrics(protocol, measures))
    return panels


def _guarded(name: str, compare: MetricFunction) -> MetricFunction:
    """Networks that measure fail in many ways where an image is too small for them."""

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
"""Those that the protocol decides."""
DISTORTIONS = (*PROTOCOL_METRICS, "content_loss")
"""Those that compare pixels; all others judge what is perceived."""


def _check_backbone(name: str) -> None:
    """Have torchvision's weights in place, and see that they hold tensors and no code."""
    load_state(download_backbone(name))


def _metric(metric: Any, setting: MetricSettings) -> MetricFunction:
    """A metric of torchmetrics, which adds up unless it is told to forget."""
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
    except Exception as error:  # whatever its downloads raise
        reason = " ".join(str(error).split())[:200]
        raise ModelError(f"pyiqa cannot fetch the model of {name} ({reason})") from error

    def judge(sr: Tensor, _: Tensor) -> float:
        with torch.inference_mode():
            return float(metric(_placed(sr, setting)))

    return judge


def _without_gradient(
    loss: Callable[[Tensor, Tensor], Tensor], setting: MetricSettings
) -> MetricFunction:
    def compare(sr: Tensor, hr: Tensor) -> float:
        with torch.inference_mode():
            return float(loss(_placed(sr, setting), _placed(hr, setting)))

    return compare


def _placed(image: Tensor, setting: MetricSettings) -> Tensor:
    """Three channels, on the device."""
    return _rgb(image, setting).expand(-1, 3, -1, -1).to(setting.device)


def _rgb(image: Tensor, setting: MetricSettings) -> Tensor:
    image = image.float().clamp(0, 1)
    return (image * 255).round() / 255 if setting.protocol.round_to_8_bit else image

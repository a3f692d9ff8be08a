"""The losses of ESRGAN (Wang et al. 2018), and three of later papers.

ESRGAN's losses are in section 3 of its paper. Images are ``(N, C, H, W)``, RGB in [0, 1]; every
loss is a scalar, the mean over batch, channels and pixels. The three of later papers,
:func:`artifact_loss`, :func:`ms_ssim_loss` and :func:`focal_frequency_loss`, compute in single
precision or better for images of any precision, because they square, divide and transform.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from torch_sr.metrics import SSIM_WINDOW, similarity_maps
from torch_sr.models.backbones import load_features
from torch_sr.networks.efficientnet import EFFICIENTNET_MEAN, EFFICIENTNET_STD
from torch_sr.networks.feature_layers import EFFICIENTNET
from torch_sr.networks.vgg import VGG_MEAN, VGG_STD

CONTENT_LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "l1": F.l1_loss,
    "l2": F.mse_loss,
    "mse": F.mse_loss,
}
Average = Callable[[Tensor], Tensor]
_ARTIFACT_WINDOW = 7
_MS_SSIM_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
# Smaller similarities are clamped to this: the slope of x**0.0448 grows without bound towards 0.
_MIN_SIMILARITY = 1e-4


def content_loss(sr: Tensor, hr: Tensor, loss_f: str = "l1") -> Tensor:
    """Mean pixel-wise distance between two images.

    Args:
        sr, hr: ``(N, C, H, W)``, RGB in [0, 1].
        loss_f: ``"l1"`` (mean absolute error), ``"l2"`` or ``"mse"`` (mean square error).

    >>> content_loss(torch.zeros(1, 3, 4, 4), torch.full((1, 3, 4, 4), 0.5), "l2")
    tensor(0.2500)
    """
    return CONTENT_LOSSES[loss_f](sr, hr)


def relativistic_discriminator_loss(
    real: Tensor, fake: Tensor, average: Average = torch.mean
) -> Tensor:
    """Relativistic average loss of the discriminator (ESRGAN, section 3.2, equation 1).

    ``-E[log D(x_r, x_f)] - E[log(1 - D(x_f, x_r))]`` with ``D(a, b) = sigmoid(C(a) - E[C(b)])``.

    Args:
        real, fake: logits ``C(x_r)`` and ``C(x_f)`` of real and of super-resolved images, of any
            shape.
        average: the inner average ``E[C(b)]``, which spans the mini-batches of all processes.

    >>> relativistic_discriminator_loss(torch.tensor([9.0, 9.0]), torch.tensor([-9.0, -9.0])) < 1e-6
    tensor(True)
    """
    return _bce_real(real, average(fake)) + _bce_fake(fake, average(real))


def relativistic_generator_loss(
    real: Tensor, fake: Tensor, average: Average = torch.mean
) -> Tensor:
    """Relativistic average loss of the generator (ESRGAN, section 3.2, equation 2).

    ``-E[log(1 - D(x_r, x_f))] - E[log D(x_f, x_r)]``.

    Args:
        real, fake, average: as in :func:`relativistic_discriminator_loss`.
    """
    return _bce_fake(real, average(fake)) + _bce_real(fake, average(real))


def artifact_loss(sr: Tensor, sr_average: Tensor, hr: Tensor) -> Tensor:
    """Locally discriminative learning: the L1 distance where ``sr`` shows artifacts.

    Liang, Zeng and Zhang 2022, "Details or Artifacts: A Locally Discriminative Learning Approach to
    Realistic Image Super-Resolution", section 3, with the values of their code
    (github.com/csjliang/LDL). The map that weights the pixels has no gradient here; in their code
    it has one, which is not finite where ``sr`` equals ``hr``.

    Args:
        sr: the generator's result, ``(N, C, H, W)`` in [0, 1], at least 4 pixels high and wide.
        sr_average: the result of the generator's moving average; it gets no gradient.
        hr: the target.
    """
    sr, sr_average, hr = map(_at_least_single, (sr, sr_average, hr))
    return (_artifact_map(sr, sr_average, hr) * (sr - hr).abs()).mean()


@torch.no_grad()
def _artifact_map(sr: Tensor, sr_average: Tensor, hr: Tensor) -> Tensor:
    """How much each pixel looks like an artifact, 0 or more, ``(N, 1, H, W)``."""
    residual = (hr - sr).abs().sum(dim=1, keepdim=True)
    residual_average = (hr - sr_average).abs().sum(dim=1, keepdim=True)
    padding = [_ARTIFACT_WINDOW // 2] * 4
    windows = F.pad(residual, padding, mode="reflect")
    windows = windows.unfold(2, _ARTIFACT_WINDOW, 1).unfold(3, _ARTIFACT_WINDOW, 1)
    local_variance = windows.var(dim=(-2, -1))
    patch_variance = residual.var(dim=(-3, -2, -1), keepdim=True)
    weight = patch_variance.pow(1 / 5) * local_variance
    # Where the average has the larger error, the generator is approaching the details.
    return weight.masked_fill(residual < residual_average, 0)


def ms_ssim_loss(sr: Tensor, hr: Tensor) -> Tensor:
    """1 - MS-SSIM, in [0, 1].

    Wang, Simoncelli and Bovik 2003, "Multiscale structural similarity for image quality
    assessment", section 3, for each image and channel. A crop too small for their five scales
    is compared only at the scales that fit the 11x11 window, with weights that sum to 1; at a
    single scale this is 1 - SSIM. If images differ strongly, their similarity at a scale is clamped
    near 0, and that scale has no gradient: combine it with a content loss.

    Args:
        sr, hr: ``(N, C, H, W)`` in [0, 1]; at least 11 pixels high and wide, 176 for all scales.

    Raises:
        DataError: when the image is smaller than the window.
    """
    sr, hr = map(_at_least_single, (sr, hr))
    # A variance is a small difference of large means, and a GPU may convolve single precision in
    # TF32. Apple's GPUs have no double precision, and no TF32.
    exact = sr.dtype if sr.device.type == "mps" else torch.float64
    return (1 - _ms_ssim(sr.to(exact), hr.to(exact))).to(sr.dtype)


def _ms_ssim(sr: Tensor, hr: Tensor) -> Tensor:
    side = min(sr.shape[-2:])
    weights = [w for i, w in enumerate(_MS_SSIM_WEIGHTS) if i == 0 or side >> i >= SSIM_WINDOW]
    product = sr.new_ones(sr.shape[:2])  # (N, C)
    for scale, weight in enumerate(weights, start=1):
        luminance, similarity = similarity_maps(sr, hr)
        if scale == len(weights):
            similarity = luminance * similarity
        else:
            sr, hr = F.avg_pool2d(sr, 2), F.avg_pool2d(hr, 2)
        mean = similarity.mean(dim=(-2, -1)).clamp(min=_MIN_SIMILARITY)
        product = product * mean.pow(weight / sum(weights))
    return product.mean()


def focal_frequency_loss(sr: Tensor, hr: Tensor) -> Tensor:
    """Squared distance of the spectra, in which frequencies with larger errors weigh more.

    Jiang, Dai, Wu and Loy 2021, "Focal Frequency Loss for Image Reconstruction and Synthesis",
    section 3, with alpha 1 and the whole image as one patch. The weight of a frequency, in [0, 1],
    is its distance divided by the largest of its image and channel; it has no gradient.

    Args:
        sr, hr: ``(N, C, H, W)`` in [0, 1].

    >>> image = torch.rand(2, 3, 8, 8)
    >>> focal_frequency_loss(image, image)
    tensor(0.)
    """
    sr, hr = map(_at_least_single, (sr, hr))
    difference: Tensor = torch.fft.fft2(sr - hr, norm="ortho")
    distance = difference.real.square() + difference.imag.square()
    weight = distance.detach().sqrt()
    # Equal images give 0/0 here.
    weight = (weight / weight.amax(dim=(-2, -1), keepdim=True)).nan_to_num(nan=0.0)
    return (weight * distance).mean()


EXTRA_LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "ms_ssim": ms_ssim_loss,
    "focal_frequency": focal_frequency_loss,
}


def cosine_distance(a: Tensor, b: Tensor) -> Tensor:
    """Squared distance of feature vectors scaled to length 1, as in LPIPS (Zhang et al. 2018).

    Strong and weak activations count alike, which L1 and L2 between features do not do.

    Args:
        a, b: features, ``(N, C, H, W)``.

    Returns:
        The mean over images and positions: 0 (same directions) to 4 (opposite ones).

    >>> cosine_distance(torch.tensor([[[[3.0]], [[0.0]]]]), torch.tensor([[[[0.0]], [[5.0]]]]))
    tensor(2.)
    """
    return (F.normalize(a, dim=1) - F.normalize(b, dim=1)).square().sum(dim=1).mean()


FEATURE_DISTANCES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "l1": F.l1_loss,
    "l2": F.mse_loss,
    "cosine": cosine_distance,
}
"""By the value of ``perceptual_loss.criterion``."""


class PerceptualLoss(nn.Module):
    """Distance between features of a network trained on ImageNet (ESRGAN, section 3.3).

    Args:
        layer_weights: by layer name: ``conv{block}_{convolution in the block}`` of VGG, before
            activation; for EfficientNet see :mod:`torch_sr.networks.efficientnet`.
        vgg_type: ``vgg11``, ``vgg13``, ``vgg16`` or ``vgg19``, where the backbone is ``vgg``.
        criterion: ``"l1"`` or ``"l2"`` between features, or ``"cosine"``, :func:`cosine_distance`.
        normalize_input: normalize images by the mean and standard deviation of its training.
        normalize_loss: divide by the sum of the layers' weights.
        weights: file of the network; None for torchvision's VGG weights in the cache of
            ``torch.hub``, downloaded if needed, or for EfficientNet's in the installed package.
        backbone: ``vgg`` or ``efficientnet_lite0``.

    Raises:
        ModelError: the weights cannot be read, are not installed, or do not fit.
        DownloadError: torchvision's weights cannot be downloaded.
    """

    def __init__(
        self,
        layer_weights: Mapping[str, float],
        vgg_type: str = "vgg19",
        criterion: str = "l1",
        normalize_input: bool = True,
        normalize_loss: bool = False,
        weights: str | Path | None = None,
        backbone: str = "vgg",
    ) -> None:
        super().__init__()
        self.layer_weights = dict(layer_weights)
        self._distance = FEATURE_DISTANCES[criterion]
        self._normalize_input = normalize_input
        self._total_weight = sum(layer_weights.values()) if normalize_loss else 1.0
        network, mean, std = vgg_type, VGG_MEAN, VGG_STD
        if backbone == EFFICIENTNET:
            network, mean, std = EFFICIENTNET, EFFICIENTNET_MEAN, EFFICIENTNET_STD
        self.features = load_features(network, self.layer_weights, weights)
        self.mean = nn.Buffer(torch.tensor(mean).view(1, 3, 1, 1))
        self.std = nn.Buffer(torch.tensor(std).view(1, 3, 1, 1))
        self.requires_grad_(False).eval()

    def forward(self, sr: Tensor, hr: Tensor) -> Tensor:
        with torch.no_grad():
            targets = self._extract(hr)
        found = self._extract(sr)
        losses = [
            weight * self._distance(*map(_at_least_single, (found[name], targets[name])))
            for name, weight in self.layer_weights.items()
        ]
        return torch.stack(losses).sum() / self._total_weight

    def _extract(self, image: Tensor) -> dict[str, Tensor]:
        x = image.expand(-1, 3, -1, -1) if image.shape[1] == 1 else image[:, :3]
        if self._normalize_input:
            x = (x - self.mean) / self.std
        taken = {}
        for name, layer in self.features.named_children():
            x = layer(x)
            if name in self.layer_weights:
                taken[name] = x
        return taken


def _bce_real(a: Tensor, average_b: Tensor) -> Tensor:
    """``-E[log D(a, b)]``; softplus stays finite where the sigmoid rounds to 0 or 1."""
    return F.softplus(average_b - a).mean()


def _bce_fake(a: Tensor, average_b: Tensor) -> Tensor:
    """``-E[log(1 - D(a, b))]``."""
    return F.softplus(a - average_b).mean()


def _at_least_single(image: Tensor) -> Tensor:
    return image if image.dtype == torch.float64 else image.float()

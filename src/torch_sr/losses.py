"""The losses of ESRGAN (Wang et al. 2018, section 3).

Images are ``(N, C, H, W)``, RGB in [0, 1]; every loss is a scalar, averaged over what it compares.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from torch_sr.models.vgg import vgg_features

CONTENT_LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "l1": F.l1_loss,
    "l2": F.mse_loss,
    "mse": F.mse_loss,
}
Average = Callable[[Tensor], Tensor]
_IMAGENET_MEAN = (0.485, 0.456, 0.406)
_IMAGENET_STD = (0.229, 0.224, 0.225)


def content_loss(sr: Tensor, hr: Tensor, loss_f: str = "l1") -> Tensor:
    """Mean pixel-wise distance between two images.

    Args:
        sr, hr: ``(N, C, H, W)``, RGB in [0, 1].
        loss_f: ``"l1"`` (mean absolute error), ``"l2"`` or ``"mse"`` (mean square error).
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
    """
    return _realer(real, average(fake)) + _faker(fake, average(real))


def relativistic_generator_loss(
    real: Tensor, fake: Tensor, average: Average = torch.mean
) -> Tensor:
    """Relativistic average loss of the generator (ESRGAN, section 3.2, equation 2).

    ``-E[log(1 - D(x_r, x_f))] - E[log D(x_f, x_r)]``.

    Args:
        real, fake, average: as in :func:`relativistic_discriminator_loss`.
    """
    return _faker(real, average(fake)) + _realer(fake, average(real))


class PerceptualLoss(nn.Module):
    """Distance between VGG features before activation (ESRGAN, section 3.3).

    Args:
        layer_weights: by layer name, ``conv{block}_{convolution in the block}``, both from 1.
        vgg_type: ``vgg11``, ``vgg13``, ``vgg16`` or ``vgg19``.
        criterion: ``"l1"`` or ``"l2"`` between features.
        normalize_input: normalise images by ImageNet's mean and standard deviation.
        normalize_loss: divide by the sum of the layers' weights.
        weights: file of the VGG network, whole or its features; None takes torchvision's, trained
            on ImageNet, from the cache of ``torch.hub``, where it is fetched at need.

    Raises:
        ModelError: when the weights cannot be fetched, read, or do not fit.
    """

    def __init__(
        self,
        layer_weights: Mapping[str, float],
        vgg_type: str = "vgg19",
        criterion: str = "l1",
        normalize_input: bool = True,
        normalize_loss: bool = False,
        weights: str | Path | None = None,
    ) -> None:
        super().__init__()
        self.layer_weights = dict(layer_weights)
        self._distance = CONTENT_LOSSES[criterion]
        self._normalize_input = normalize_input
        self._total_weight = sum(layer_weights.values()) if normalize_loss else 1.0
        self.features = vgg_features(vgg_type, self.layer_weights, weights)
        self.mean = nn.Buffer(torch.tensor(_IMAGENET_MEAN).view(1, 3, 1, 1))
        self.std = nn.Buffer(torch.tensor(_IMAGENET_STD).view(1, 3, 1, 1))
        self.requires_grad_(False).eval()

    def forward(self, sr: Tensor, hr: Tensor) -> Tensor:
        with torch.no_grad():
            targets = self._extract(hr)
        found = self._extract(sr)
        losses = [
            weight * self._distance(found[name], targets[name])
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


def _realer(a: Tensor, average_b: Tensor) -> Tensor:
    """``-E[log D(a, b)]``; softplus stays finite where the sigmoid rounds to 0 or 1."""
    return F.softplus(average_b - a).mean()


def _faker(a: Tensor, average_b: Tensor) -> Tensor:
    """``-E[log(1 - D(a, b))]``."""
    return F.softplus(a - average_b).mean()

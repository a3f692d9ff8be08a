"""The discriminators, which classify images as real or super-resolved.

:class:`VGGDiscriminator` is that of SRGAN (Ledig et al. 2017, figure 4) and ESRGAN: one output per
image. :class:`UNetDiscriminator` is that of Real-ESRGAN (Wang et al. 2021, section 3.4): one output
per pixel. Both return logits; the losses apply the sigmoid.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from torch_sr.errors import ModelError
from torch_sr.networks.synced_norm import SyncedBatchNorm2d


class VGGDiscriminator(nn.Module):
    """Classify whole images: ``(N, C, H, W)`` in [0, 1] to logits ``(N, 1)``.

    Args:
        crop_size: ``(H, W)`` of the images it will see, on which the dense layers depend.
        img_channels: ``C``.
        vgg_blk_ch: output channels of each convolution; one that repeats the channels of the
            convolution before it has a stride of two.
        fc_features: outputs of each hidden dense layer.
        synced: normalize over the mini-batches of all processes, see
            :class:`~torch_sr.networks.synced_norm.SyncedBatchNorm2d`.

    Raises:
        ModelError: for images of another size than it was built for.
    """

    def __init__(
        self,
        crop_size: tuple[int, int],
        img_channels: int = 3,
        vgg_blk_ch: Sequence[int] = (64, 64, 128, 128, 256, 256, 512, 512),
        fc_features: Sequence[int] = (100,),
        *,
        synced: bool = False,
    ) -> None:
        super().__init__()
        self.crop_size = crop_size
        norm = SyncedBatchNorm2d if synced else nn.BatchNorm2d
        height, width = crop_size
        features: list[nn.Module] = []
        for number, (before, after) in enumerate(pairwise([img_channels, *vgg_blk_ch])):
            first = number == 0  # without normalization, so that colors reach the next layer
            stride = 2 if after == before and not first else 1
            height, width = -(-height // stride), -(-width // stride)
            features.append(nn.Conv2d(before, after, 3, stride=stride, padding=1, bias=first))
            features += [] if first else [norm(after)]
            features.append(nn.LeakyReLU(0.2, inplace=True))
        self.features = nn.Sequential(*features)
        sizes = [vgg_blk_ch[-1] * height * width, *fc_features]
        dense: list[nn.Module] = []
        for before, after in pairwise(sizes):
            dense += [nn.Linear(before, after), nn.LeakyReLU(0.2, inplace=True)]
        self.classifier = nn.Sequential(*dense, nn.Linear(sizes[-1], 1))

    def forward(self, image: Tensor) -> Tensor:
        if tuple(image.shape[-2:]) != tuple(self.crop_size):
            raise ModelError(
                f"the discriminator is built for crops of {tuple(self.crop_size)} pixels and got "
                f"{tuple(image.shape[-2:])}"
            )
        logits: Tensor = self.classifier(self.features(image).flatten(1))
        return logits


class UNetDiscriminator(nn.Module):
    """Classify every pixel: ``(N, C, H, W)`` in [0, 1] to logits ``(N, 1, H, W)``.

    Three steps down and up again with skips, all but the outer convolutions under spectral
    normalization (Miyato et al. 2018).

    Args:
        img_channels: ``C``.
        channels: of the finest level; each level below doubles them.
    """

    def __init__(self, img_channels: int = 3, channels: int = 64) -> None:
        super().__init__()
        self.conv_first = nn.Conv2d(img_channels, channels, 3, padding=1)
        widths = [channels * factor for factor in (1, 2, 4, 8)]
        self.down = nn.ModuleList(
            spectral_norm(nn.Conv2d(fine, coarse, 4, stride=2, padding=1, bias=False))
            for fine, coarse in pairwise(widths)
        )
        self.up = nn.ModuleList(
            spectral_norm(nn.Conv2d(coarse, fine, 3, padding=1, bias=False))
            for coarse, fine in pairwise(reversed(widths))
        )
        self.refine = nn.Sequential(
            spectral_norm(nn.Conv2d(channels, channels, 3, padding=1, bias=False)),
            nn.LeakyReLU(0.2),
            spectral_norm(nn.Conv2d(channels, channels, 3, padding=1, bias=False)),
            nn.LeakyReLU(0.2),
            nn.Conv2d(channels, 1, 3, padding=1),
        )

    def forward(self, image: Tensor) -> Tensor:
        x = F.leaky_relu(self.conv_first(image), 0.2)
        skips = []
        for down in self.down:
            skips.append(x)
            x = F.leaky_relu(down(x), 0.2)  # (N, 2^i F, H / 2^i, W / 2^i)
        for up in self.up:
            skip = skips.pop()
            x = F.interpolate(x, size=skip.shape[-2:], mode="bilinear", align_corners=False)
            x = F.leaky_relu(up(x), 0.2) + skip
        logits: Tensor = self.refine(x)
        return logits

"""RRDBNet, the generator of ESRGAN.

Wang et al., "ESRGAN: Enhanced Super-Resolution Generative Adversarial Networks" (ECCVW 2018),
section 3.1: a residual-in-residual trunk of dense blocks without batch normalization, residual
scaling, and a small initialization. Parameter names are those of BasicSR and Real-ESRGAN, so that
the weights written here load in other programs; :mod:`torch_sr.models.files.layouts` reads the
others.

Beyond the paper: sub-pixel up-scaling (Shi et al. 2016), scale factors of 1, 2, 3, 4 and
8, each exact, and the pixel-unshuffled input of Real-ESRGAN (Wang et al. 2021, section 4).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from torch_sr.networks.configs import LEAKY_SLOPE, RRDBConfig


class RRDBNet(nn.Module):
    """Super-resolve images by a whole factor.

    Args:
        scale_factor: 1, 2, 3, 4 or 8.
        img_channels: channels of input and output: 1 (gray), 3 (RGB) or 4.
        rrdb_channels: channels of the trunk.
        growth_channels: channels that each convolution of a dense block adds.
        num_basic_blocks: RRDBs in the trunk.
        num_dense_blocks: dense blocks in each RRDB.
        num_residual_blocks: convolutions in each dense block.
        residual_scaling: factor, in (0, 1], on every residual before it is added.
        use_subpixel_conv: up-scale by sub-pixel convolution instead of nearest-neighbor
            interpolation and convolution.
        pixel_unshuffle: fold squares of this side into channels before the first convolution
            (Real-ESRGAN has 2 for its x2 models); 1 does nothing. The up-scaling steps then
            also undo it: ``scale_factor * pixel_unshuffle`` must be 1, 2, 3, 4 or 8.

    Shapes:
        ``(N, img_channels, H, W)`` to ``(N, img_channels, H * scale_factor, W * scale_factor)``;
        RGB in [0, 1] as trained. The result is not clamped.

    Raises:
        ModelError: for a scale factor that cannot be built, or a size below 1.

    >>> network = RRDBNet(scale_factor=2, rrdb_channels=8, growth_channels=4, num_basic_blocks=1)
    >>> network(torch.rand(1, 3, 10, 12)).shape
    torch.Size([1, 3, 20, 24])
    """

    def __init__(
        self,
        scale_factor: int = 4,
        img_channels: int = 3,
        rrdb_channels: int = 64,
        growth_channels: int = 32,
        num_basic_blocks: int = 16,
        num_dense_blocks: int = 3,
        num_residual_blocks: int = 5,
        residual_scaling: float = 0.2,
        use_subpixel_conv: bool = False,
        pixel_unshuffle: int = 1,
    ) -> None:
        super().__init__()
        self.config = RRDBConfig(
            scale_factor,
            img_channels,
            rrdb_channels,
            growth_channels,
            num_basic_blocks,
            num_dense_blocks,
            num_residual_blocks,
            residual_scaling,
            use_subpixel_conv,
            pixel_unshuffle,
        )
        self.scale_factor = scale_factor
        self.img_channels = img_channels
        self.pixel_unshuffle = pixel_unshuffle
        width = rrdb_channels

        self.conv_first = _conv(img_channels * pixel_unshuffle**2, width)
        self.body = nn.Sequential(
            *(
                RRDB(
                    width, growth_channels, num_dense_blocks, num_residual_blocks, residual_scaling
                )
                for _ in range(num_basic_blocks)
            )
        )
        self.conv_body = _conv(width, width)
        self._upscaling: list[Upscale] = []
        for number, factor in enumerate(self.config.upscaling_steps, start=1):
            step = Upscale(width, factor, use_subpixel_conv)
            self.add_module(f"conv_up{number}", step)
            self._upscaling.append(step)
        self.conv_hr = _conv(width, width)
        self.conv_last = _conv(width, img_channels)

    @classmethod
    def from_config(cls, config: RRDBConfig) -> RRDBNet:
        """Build the network that has these hyper-parameters."""
        return cls(**config.to_dict())

    def forward(self, lr: Tensor) -> Tensor:
        if self.pixel_unshuffle == 1:
            return self.super_resolve(lr)
        height, width = lr.shape[-2:]
        sr = self.super_resolve(_pad_to(lr, self.pixel_unshuffle))
        return sr[..., : height * self.scale_factor, : width * self.scale_factor]

    def super_resolve(self, lr: Tensor) -> Tensor:
        """Super-resolve images whose sides are multiples of ``pixel_unshuffle``."""
        x = lr if self.pixel_unshuffle == 1 else F.pixel_unshuffle(lr, self.pixel_unshuffle)
        shallow = self.conv_first(x)  # (N, F, H, W)
        features = shallow + self.conv_body(self.body(shallow))
        for upscale in self._upscaling:
            features = _activate(upscale(features))  # (N, F, H * 2^i, W * 2^i)
        out: Tensor = self.conv_last(_activate(self.conv_hr(features)))
        return out


class RRDB(nn.Module):
    """Residual-in-residual dense block (ESRGAN, figure 4): ``(N, F, H, W)`` to the same."""

    def __init__(
        self,
        channels: int,
        growth_channels: int,
        num_dense_blocks: int,
        num_residual_blocks: int,
        residual_scaling: float,
    ) -> None:
        super().__init__()
        self.residual_scaling = residual_scaling
        for number in range(1, num_dense_blocks + 1):
            block = ResidualDenseBlock(
                channels, growth_channels, num_residual_blocks, residual_scaling
            )
            self.add_module(f"rdb{number}", block)

    def forward(self, x: Tensor) -> Tensor:
        out = x
        for block in self.children():
            out = block(out)
        return torch.add(x, out, alpha=self.residual_scaling)


class ResidualDenseBlock(nn.Module):
    """Convolutions that each read all earlier features (Huang et al. 2017), and a scaled skip."""

    def __init__(
        self, channels: int, growth_channels: int, num_residual_blocks: int, residual_scaling: float
    ) -> None:
        super().__init__()
        self.residual_scaling = residual_scaling
        for number in range(1, num_residual_blocks + 1):
            grown = channels + (number - 1) * growth_channels
            last = number == num_residual_blocks
            conv = _conv(grown, channels if last else growth_channels)
            _initialize_small(conv)
            self.add_module(f"conv{number}", conv)

    def forward(self, x: Tensor) -> Tensor:
        features = [x]
        *growing, fusing = self.children()
        for conv in growing:
            features.append(_activate(conv(torch.cat(features, dim=1))))
        return torch.add(x, fusing(torch.cat(features, dim=1)), alpha=self.residual_scaling)


class Upscale(nn.Conv2d):
    """Enlarge ``(N, F, H, W)`` by a small factor, by interpolation or sub-pixel convolution.

    It is itself the convolution, so that its parameters keep the names other programs expect.
    """

    def __init__(self, channels: int, factor: int, subpixel: bool) -> None:
        super().__init__(channels, channels * factor**2 if subpixel else channels, 3, padding=1)
        self.factor = factor
        self.subpixel = subpixel

    def forward(self, x: Tensor) -> Tensor:
        if self.subpixel:
            return F.pixel_shuffle(super().forward(x), self.factor)
        return super().forward(F.interpolate(x, scale_factor=float(self.factor), mode="nearest"))


def _conv(in_channels: int, out_channels: int) -> nn.Conv2d:
    return nn.Conv2d(in_channels, out_channels, kernel_size=3, padding=1)


def _activate(x: Tensor) -> Tensor:
    """In place, for half the memory: a convolution does not need its output again."""
    return F.leaky_relu(x, negative_slope=LEAKY_SLOPE, inplace=True)


def _initialize_small(conv: nn.Conv2d) -> None:
    """Kaiming initialization times 0.1: a small variance lets deep residual trunks train."""
    if conv.weight.is_meta:  # filled later; random numbers on meta would import half of PyTorch
        return
    nn.init.kaiming_normal_(conv.weight)
    with torch.no_grad():
        conv.weight.mul_(0.1)
    if conv.bias is not None:
        nn.init.zeros_(conv.bias)


def _pad_to(x: Tensor, multiple: int) -> Tensor:
    """Pad at the bottom and right to a multiple: mirrored, or repeated if x is too small."""
    bottom, right = -x.shape[-2] % multiple, -x.shape[-1] % multiple
    mirrors = x.shape[-2] > bottom and x.shape[-1] > right
    return F.pad(x, (0, right, 0, bottom), mode="reflect" if mirrors else "replicate")

"""PSNR and SSIM under a named protocol.

Two programs that both say "PSNR" easily differ by a decibel: in the colors they compare, in the
border they leave out, in whether the image was rounded to 8 bits first. So a number here always
belongs to a :class:`MetricProtocol`. ``paper`` is what the super-resolution literature reports.

SSIM follows Wang, Bovik, Sheikh and Simoncelli, "Image Quality Assessment: From Error Visibility to
Structural Similarity" (2004): an 11x11 Gaussian window of sigma 1.5, only where it fits completely.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from torch_sr.errors import DataError

SSIM_WINDOW = 11
"""Side of the window of SSIM, in pixels."""
_SIGMA = 1.5


@dataclass(frozen=True)
class MetricProtocol:
    """How two images are prepared before they are compared.

    Args:
        name: printed with every result.
        color: ``"y"``, the luma of ITU-R BT.601 as MATLAB's ``rgb2ycbcr`` scales it (gray
            images are compared as they are; Set14 has one, which changes its mean by 0.1 dB);
            ``"gray"``, the luma of BT.601 over the full range; or ``"rgb"``, all channels together.
        crop_border: leave out ``scale_factor`` pixels at each border.
        round_to_8_bit: round to 8 bits first, as a stored image is.
    """

    name: str
    color: Literal["y", "gray", "rgb"]
    crop_border: bool = True
    round_to_8_bit: bool = True


PROTOCOLS: dict[str, MetricProtocol] = {
    "paper": MetricProtocol("paper", "y"),
    "rgb": MetricProtocol("rgb", "rgb"),
    "enhanced-srgan": MetricProtocol(
        "enhanced-srgan", "gray", crop_border=False, round_to_8_bit=False
    ),
}


def measure(
    sr: Tensor, hr: Tensor, scale_factor: int, protocol: MetricProtocol = PROTOCOLS["paper"]
) -> dict[str, float]:
    """PSNR in dB and SSIM of one image under a protocol.

    Args:
        sr, hr: ``(1, C, H, W)`` in [0, 1], C 1 (gray) or 3 (RGB).
        scale_factor: the border that ``crop_border`` leaves out, in pixels.
        protocol: one of ``PROTOCOLS``.

    Returns:
        ``{"psnr": …, "ssim": …}``.

    Raises:
        DataError: when the shapes differ, or the image is smaller than the SSIM window.
    """
    if sr.shape != hr.shape:
        raise DataError(f"cannot compare images of shape {tuple(sr.shape)} and {tuple(hr.shape)}")
    sr, hr = (prepare(image, scale_factor, protocol) for image in (sr, hr))
    return {"psnr": float(psnr(sr, hr)), "ssim": float(ssim(sr, hr))}


def prepare(image: Tensor, scale_factor: int, protocol: MetricProtocol) -> Tensor:
    """Prepare an image as a protocol requires: double precision, clamp, round, crop, gray.

    Args:
        image: ``(N, C, H, W)`` in [0, 1].
        scale_factor, protocol: as in :func:`measure`.
    """
    # Apple's GPUs have no double precision.
    image = (image.cpu() if image.device.type == "mps" else image).double()
    image = image.clamp(0, 1)
    if protocol.round_to_8_bit:
        image = (image * 255).round() / 255
    if protocol.crop_border:
        border = scale_factor
        image = image[..., border : image.shape[-2] - border, border : image.shape[-1] - border]
    if protocol.color == "rgb" or image.shape[1] != 3:
        return image
    return luma(image) if protocol.color == "y" else _gray(image)


def psnr(sr: Tensor, hr: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in dB: a scalar, infinite for equal images.

    Args:
        sr, hr: images in [0, 1] of the same shape, such as ``(N, C, H, W)``. A batch is taken as
            one large image: the mean square error is averaged over it before the logarithm. For
            the mean over images, as papers report, call it for each image.

    >>> round(float(psnr(torch.zeros(1, 3, 16, 16), torch.full((1, 3, 16, 16), 0.1))), 3)
    20.0
    """
    return -10 * torch.log10(F.mse_loss(sr, hr))


def ssim(sr: Tensor, hr: Tensor) -> Tensor:
    """Structural similarity: a scalar in [-1, 1], 1 for equal images.

    Args:
        sr, hr: ``(N, C, H, W)`` in [0, 1], at least 11 pixels high and wide. The result is the
            mean over window positions, channels and the batch.

    Raises:
        DataError: the images are smaller than the window.

    >>> image = torch.rand(2, 3, 16, 16, dtype=torch.float64)
    >>> round(float(ssim(image, image)), 6)
    1.0
    """
    luminance, contrast_structure = similarity_maps(sr, hr)
    return (luminance * contrast_structure).mean()


def similarity_maps(sr: Tensor, hr: Tensor) -> tuple[Tensor, Tensor]:
    """The two factors of SSIM at every window position (Wang et al. 2004, section III.B).

    Args:
        sr, hr: ``(N, C, H, W)`` in [0, 1], at least 11 pixels high and wide.

    Returns:
        Luminance in (0, 1] and contrast times structure in [-1, 1], each
        ``(N, C, H - 10, W - 10)``.

    Raises:
        DataError: when the image is smaller than the window.
    """
    if min(sr.shape[-2:]) < SSIM_WINDOW:
        raise DataError(
            f"SSIM needs {SSIM_WINDOW}x{SSIM_WINDOW} pixels or more (a cropped border does not "
            f"count); got {sr.shape[-1]}x{sr.shape[-2]}"
        )
    c1, c2 = 0.01**2, 0.03**2
    mean_sr, mean_hr = _blur(sr), _blur(hr)
    variance_sr = _blur(sr * sr) - mean_sr**2
    variance_hr = _blur(hr * hr) - mean_hr**2
    covariance = _blur(sr * hr) - mean_sr * mean_hr
    luminance = (2 * mean_sr * mean_hr + c1) / (mean_sr**2 + mean_hr**2 + c1)
    contrast_structure = (2 * covariance + c2) / (variance_sr + variance_hr + c2)
    return luminance, contrast_structure


def luma(rgb: Tensor) -> Tensor:
    """``(N, 3, H, W)`` in [0, 1] to luma ``(N, 1, H, W)`` in [16/255, 235/255]."""
    weights = rgb.new_tensor([65.481, 128.553, 24.966]).view(1, 3, 1, 1)
    return ((rgb * weights).sum(dim=1, keepdim=True) + 16) / 255


def _gray(rgb: Tensor) -> Tensor:
    """``(N, 3, H, W)`` to ``(N, 1, H, W)`` of the same range, as torchvision converts."""
    weights = rgb.new_tensor([0.2989, 0.587, 0.114]).view(1, 3, 1, 1)
    return (rgb * weights).sum(dim=1, keepdim=True)


def _blur(image: Tensor) -> Tensor:
    """Gaussian-weighted local mean, ``(N, C, H - 10, W - 10)``."""
    offsets = torch.arange(SSIM_WINDOW, dtype=image.dtype, device=image.device) - SSIM_WINDOW // 2
    window = torch.exp(-(offsets**2) / (2 * _SIGMA**2))
    window = window / window.sum()
    channels = image.shape[1]
    rows = window.view(1, 1, -1, 1).expand(channels, 1, -1, 1)
    columns = window.view(1, 1, 1, -1).expand(channels, 1, 1, -1)
    return F.conv2d(F.conv2d(image, rows, groups=channels), columns, groups=channels)

"""The losses of ESRGAN (Wang et al. 2018, section 3)."""

from __future__ import annotations

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor

CONTENT_LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "l1": F.l1_loss,
    "l2": F.mse_loss,
    "mse": F.mse_loss,
}


def content_loss(sr: Tensor, hr: Tensor, loss_f: str = "l1") -> Tensor:
    """Mean pixel-wise distance between two images.

    Args:
        sr, hr: ``(N, C, H, W)``, RGB in [0, 1].
        loss_f: ``"l1"`` (mean absolute error), ``"l2"`` or ``"mse"`` (mean square error).

    Returns:
        A scalar.
    """
    return CONTENT_LOSSES[loss_f](sr, hr)

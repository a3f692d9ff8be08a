"""Batch normalization over the mini-batches of all processes, as over one large mini-batch.

Ioffe and Szegedy 2015, https://arxiv.org/abs/1502.03167. PyTorch's SyncBatchNorm does the same on
GPUs only; this one runs on every device, so that a test on CPUs covers it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class SyncedBatchNorm2d(nn.BatchNorm2d):
    """``nn.BatchNorm2d`` whose statistics span all processes of the default process group.

    All processes call it equally often, with inputs of the same shape. The parameters and their
    names are those of ``nn.BatchNorm2d``. Statistics are computed in single precision.
    """

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)
        single = x.float()
        mean = mean_of_processes(single.mean(dim=(0, 2, 3)))  # (C,)
        centered = single - mean[:, None, None]
        variance = mean_of_processes(centered.square().mean(dim=(0, 2, 3)))
        self._average(mean.detach(), variance.detach(), x.numel() // x.shape[1])
        scale = torch.rsqrt(variance + self.eps) * self.weight
        return (centered * scale[:, None, None] + self.bias[:, None, None]).to(x.dtype)

    @torch.no_grad()
    def _average(self, mean: Tensor, variance: Tensor, values: int) -> None:
        """Update the running statistics, which keep the unbiased variance."""
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        assert self.momentum is not None
        values *= torch.distributed.get_world_size()
        self.num_batches_tracked += 1
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(variance * (values / max(values - 1, 1)), self.momentum)


def mean_of_processes(x: Tensor) -> Tensor:
    """The mean of a tensor over all processes, with gradients; all call it in the same order."""
    total: Tensor = _SumOfProcesses.apply(x)
    return total / torch.distributed.get_world_size()


class _SumOfProcesses(torch.autograd.Function):
    """Sum a tensor over all processes; its gradient is the sum of the gradients of all."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        total = x.clone(memory_format=torch.contiguous_format)
        torch.distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        total: Tensor = _SumOfProcesses.apply(gradient)
        return total

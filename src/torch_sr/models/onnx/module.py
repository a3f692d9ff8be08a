"""An ONNX file as a module of PyTorch."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from torch_sr.models.onnx.network import OnnxNetwork
from torch_sr.models.onnx.session import Session


class OnnxModule(nn.Module):
    """Runs an ONNX file with ONNX Runtime: on the CPU, without gradients or parameters.

    Args:
        network: the file.

    Shapes:
        ``(N, img_channels, H, W)`` to ``(N, img_channels, H * scale_factor, W * scale_factor)``.
    """

    def __init__(self, network: OnnxNetwork) -> None:
        super().__init__()
        self.scale_factor = network.scale_factor
        self.img_channels = network.img_channels
        self._onnx = network
        self._session = Session(network.source)

    def forward(self, lr: Tensor) -> Tensor:
        """Super-resolve a batch."""
        sr = self._onnx.run(self._session, lr.detach().cpu().float().numpy())
        return torch.from_numpy(sr).to(lr)

    def __deepcopy__(self, memo: object) -> OnnxModule:
        return OnnxModule(self._onnx)

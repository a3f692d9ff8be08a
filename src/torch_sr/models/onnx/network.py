"""A network in an ONNX file, and how to run it on images of any size."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from torch_sr.aliases import Floats
from torch_sr.errors import ImageError, ModelError

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class OnnxNetwork:
    """A network in an ONNX file.

    Args:
        path: the file.
        scale_factor: how many times higher and wider the result is.
        img_channels: channels of input and output.
        precision: ``fp32`` or ``fp16``.
        size: height and width of the only images that it takes; None for any size.
        batch: the only number of images that it takes at once; None for any number.
        multiple: the sides of images have to be multiples of this.
        least: the least height and width of images.
        overlap: recorded overlap of tiles, in low-resolution pixels; None if there is none.
        content: of the file, on a machine that does not have it: pickling adds it.
    """

    path: Path
    scale_factor: int
    img_channels: int
    precision: str = "fp32"
    size: tuple[int, int] | None = None
    batch: int | None = None
    multiple: int = 1
    least: int = 1
    overlap: int | None = None
    content: bytes | None = field(default=None, repr=False)

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "content": self.content or self.path.read_bytes()}

    @property
    def source(self) -> Path | bytes:
        """What ONNX Runtime loads: the file or its content."""
        return self.content or self.path

    def run(self, session: Callable[[Floats], Floats], lr: Floats) -> Floats:
        """Run the network on images of any number and size that it can be made to take.

        Args:
            session: the loaded file.
            lr: ``(N, C, H, W)`` in [0, 1]; padded at the bottom and right if necessary.

        Raises:
            ImageError: the images are larger than the only size.
            ModelError: the result has another shape than the network is known for.
        """
        padded = self._pad(lr)
        if self.batch is None:
            sr = session(padded)
        else:
            parts = [padded[at : at + self.batch] for at in range(0, len(padded), self.batch)]
            sr = np.concatenate([self._run_part(session, part) for part in parts])
        if sr.shape != (expected := self.result_shape(padded.shape)):
            raise ModelError(
                f"{self.path}: export it again; from {padded.shape} it makes {sr.shape}, not "
                f"{expected}"
            )
        height, width = (side * self.scale_factor for side in lr.shape[2:])
        return sr[..., :height, :width]

    def result_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of the result for images ``(N, C, H, W)`` that need no padding."""
        number, _, height, width = shape
        scale = self.scale_factor
        return number, self.img_channels, height * scale, width * scale

    def build(self) -> nn.Module:
        """The network as a module of PyTorch, on the CPU and without gradients."""
        from torch_sr.models.onnx.module import OnnxModule

        return OnnxModule(self)

    def _run_part(self, session: Callable[[Floats], Floats], part: Floats) -> Floats:
        """Run a part of a batch; the last one may have too few images."""
        assert self.batch is not None
        missing = self.batch - len(part)
        full = np.concatenate([part, np.repeat(part[-1:], missing, axis=0)]) if missing else part
        return session(full)[: len(part)]

    def _fit(self, side: int) -> int:
        """The least side that the network takes, and that is not below the given one."""
        side = max(side, self.least)
        return side + -side % self.multiple

    def _pad(self, lr: Floats) -> Floats:
        height, width = lr.shape[2:]
        bottom, right = (self._fit(side) - side for side in (height, width))
        if self.size is not None:
            bottom, right = self.size[0] - height, self.size[1] - width
        if bottom < 0 or right < 0:
            assert self.size is not None
            raise ImageError(
                f"{self.path} takes images of {self.size[1]}x{self.size[0]} pixels, not "
                f"{width}x{height}; use Upscaler, which cuts larger ones into tiles"
            )
        if not bottom and not right:
            return lr
        # Unlike other modes, this one has no least size.
        return np.pad(lr, ((0, 0), (0, 0), (0, bottom), (0, right)), mode="symmetric")

"""The hyper-parameters of the generators, and the shapes of their parameters; needs no PyTorch."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch_sr.errors import ModelError

Shapes = dict[str, tuple[int, ...]]
"""The shape of every parameter, by name, in the order of a state dict."""

UPSCALING_STEPS: dict[int, tuple[int, ...]] = {1: (), 2: (2,), 3: (3,), 4: (2, 2), 8: (2, 2, 2)}
"""The factor of every up-scaling step, by total factor."""
LEAKY_SLOPE = 0.2
"""The factor of negative activations."""


@dataclass(frozen=True)
class RRDBConfig:
    """The hyper-parameters of an :class:`RRDBNet`; its docstring describes them.

    Raises:
        ModelError: for a scale factor that cannot be built, or a size below 1.
    """

    scale_factor: int
    img_channels: int
    rrdb_channels: int
    growth_channels: int
    num_basic_blocks: int
    num_dense_blocks: int
    num_residual_blocks: int
    residual_scaling: float
    use_subpixel_conv: bool
    pixel_unshuffle: int

    def __post_init__(self) -> None:
        for name, value in self.to_dict().items():
            if name != "use_subpixel_conv" and value <= 0:
                raise ModelError(f"RRDBNet: {name} is {value}; it must be above 0")
        if self.enlargement not in UPSCALING_STEPS:
            raise ModelError(
                f"RRDBNet: scale_factor {self.scale_factor} with pixel_unshuffle "
                f"{self.pixel_unshuffle} needs up-scaling by {self.enlargement}; "
                f"possible are {', '.join(map(str, UPSCALING_STEPS))}"
            )

    @property
    def enlargement(self) -> int:
        """The factor of all up-scaling steps together."""
        return self.scale_factor * self.pixel_unshuffle

    @property
    def upscaling_steps(self) -> tuple[int, ...]:
        """The factor of each up-scaling step."""
        return UPSCALING_STEPS[self.enlargement]

    def to_dict(self) -> dict[str, Any]:
        """The keyword arguments of :class:`RRDBNet`, ready for JSON."""
        return dataclasses.asdict(self)

    def shapes(self) -> Shapes:
        """The parameters of the network."""
        width = self.rrdb_channels
        steps = range(1, len(self.upscaling_steps) + 1)
        return {
            **_conv("conv_first", self.img_channels * self.pixel_unshuffle**2, width),
            **_merged(self._block_shapes()),
            **_conv("conv_body", width, width),
            **_merged(
                _conv(f"conv_up{step}", width, self._made_by_upscaling(step)) for step in steps
            ),
            **_conv("conv_hr", width, width),
            **_conv("conv_last", width, self.img_channels),
        }

    def _block_shapes(self) -> Iterator[Shapes]:
        width, growth, last = self.rrdb_channels, self.growth_channels, self.num_residual_blocks
        for block in range(self.num_basic_blocks):
            for dense in range(1, self.num_dense_blocks + 1):
                for number in range(1, last + 1):
                    name = f"body.{block}.rdb{dense}.conv{number}"
                    read = width + (number - 1) * growth
                    yield _conv(name, read, width if number == last else growth)

    def _made_by_upscaling(self, step: int) -> int:
        factor = self.upscaling_steps[step - 1] if self.use_subpixel_conv else 1
        return self.rrdb_channels * factor**2


@dataclass(frozen=True)
class CompactConfig:
    """The hyper-parameters of an SRVGGNetCompact (Real-ESRGAN, ``srvgg_arch.py``).

    Args:
        scale_factor: how many times higher and wider the output is.
        img_channels: channels of input and output.
        num_feat: channels between the convolutions.
        num_conv: convolutions between the first and the last one.
    """

    scale_factor: int
    img_channels: int
    num_feat: int
    num_conv: int

    def shapes(self) -> Shapes:
        """The parameters of the network: convolutions, and between them the slopes of PReLU."""
        width, last = self.num_feat, 2 * self.num_conv + 2
        shapes = _conv("body.0", self.img_channels, width)
        for number in range(1, last, 2):
            made = self.img_channels * self.scale_factor**2 if number + 1 == last else width
            shapes[f"body.{number}.weight"] = (width,)
            shapes |= _conv(f"body.{number + 1}", width, made)
        return shapes


def _conv(name: str, read: int, made: int) -> Shapes:
    return {f"{name}.weight": (made, read, 3, 3), f"{name}.bias": (made,)}


def _merged(parts: Iterator[Shapes]) -> Shapes:
    return {name: shape for part in parts for name, shape in part.items()}

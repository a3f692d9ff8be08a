"""Networks of other architectures, through spandrel.

spandrel tells more than forty architectures by their parameter names and brings their code. It
takes seconds to import, hence only when a file holds no RRDB generator.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from torch import Tensor, nn

from torch_sr.errors import ModelError
from torch_sr.models.layouts import describe_keys

if TYPE_CHECKING:
    from spandrel import ImageModelDescriptor


class ForeignGenerator(nn.Module):
    """A network of another architecture, used like RRDBNet.

    Args:
        descriptor: what spandrel found; it also pads what its network cannot take.

    Shapes:
        ``(N, img_channels, H, W)`` to ``(N, img_channels, H * scale_factor, W * scale_factor)``;
        unlike RRDBNet's, the result is clamped to [0, 1] and has no gradient.
    """

    def __init__(self, descriptor: ImageModelDescriptor[nn.Module]) -> None:
        super().__init__()
        self.architecture = str(descriptor.architecture.name)
        self.scale_factor = int(descriptor.scale)
        self.img_channels = int(descriptor.input_channels)
        self.network = descriptor.model  # registered, so that .to() moves what the descriptor calls
        self._call = descriptor

    def forward(self, lr: Tensor) -> Tensor:
        """Super-resolve a batch."""
        sr: Tensor = self._call(lr)
        return sr


def build_foreign(state: Mapping[str, Tensor]) -> ForeignGenerator:
    """Recognise and build any other super-resolution network.

    Args:
        state: its parameters under their own names, without wrappers.

    Raises:
        ModelError: spandrel does not know it either, or it does not map images to like images.
    """
    import spandrel

    keys = describe_keys(state)
    try:
        found = spandrel.ModelLoader(device="cpu").load_from_state_dict(dict(state))
    except spandrel.UnsupportedModelError:
        raise ModelError(f"holds no generator that is known here; it has {keys}") from None
    except Exception as error:  # an architecture fed with what merely resembles it
        reason = str(error).strip().split("\n")[0] or type(error).__name__
        raise ModelError(f"looks like a known network, but does not fit: {reason}") from error
    if not isinstance(found, spandrel.ImageModelDescriptor):
        raise ModelError(f"is a {found.architecture.name} network, which needs a mask besides")
    if found.input_channels != found.output_channels:
        raise ModelError(
            f"is a {found.architecture.name} network that makes {found.output_channels} channels "
            f"of {found.input_channels}; they must be as many"
        )
    return ForeignGenerator(found)

"""Networks of other architectures, through spandrel.

spandrel recognizes more than forty architectures by their parameter names and contains their code.
It takes seconds to import, so it is imported only for files without an RRDB generator.
Architectures whose makers restrict their use come with ``spandrel_extra_arches``, an extra;
:data:`RESTRICTED` names them.
"""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from torch_sr.errors import ModelError
from torch_sr.models.files.layouts import describe_keys
from torch_sr.models.network_weights import COMPACT

if TYPE_CHECKING:
    from spandrel import ImageModelDescriptor

_log = logging.getLogger(__name__)

RESTRICTED = {
    "AdaCode": "CC BY-NC-SA 4.0",
    "CodeFormer": "S-Lab License 1.0 (not for commercial use)",
    "DDColor": "Alibaba (academic, not for commercial use)",
    "FeMaSR": "CC BY-NC-SA 4.0",
    "M3SNet": "Academic Public License (not for commercial use)",
    "MAT": "CC BY-NC 4.0",
    "MIRNet2": "Academic Public License (not for commercial use)",
    "MPRNet": "Academic Public License (not for commercial use)",
    "Restormer": "Academic Public License (not for commercial use)",
    "SRFormer": "CC BY-NC 4.0",
}
"""The licenses of the architectures in spandrel_extra_arches, as spandrel's repository has them."""

_TILING = {"SUPPORTED": "free", "DISCOURAGED": "avoided", "INTERNAL": "never"}


class ForeignGenerator(nn.Module):
    """A network of another architecture, used like RRDBNet.

    Args:
        descriptor: what spandrel found; it also pads images to sizes that its network accepts.
        output_scale: resize the result to this scale (bicubic, without smoothing), as the x2 and
            x3 files of realesr-animevideov3 for ncnn do; only for a network that takes any size.

    Shapes:
        ``(N, img_channels, H, W)`` to ``(N, img_channels, H * scale_factor, W * scale_factor)``;
        unlike RRDBNet's, the result is clamped to [0, 1] and has no gradient.
    """

    def __init__(
        self, descriptor: ImageModelDescriptor[nn.Module], output_scale: int | None = None
    ) -> None:
        super().__init__()
        self.architecture = str(descriptor.architecture.name)
        self.output_scale = output_scale
        self.scale_factor = output_scale or int(descriptor.scale)
        self.img_channels = int(descriptor.input_channels)
        self.restriction = RESTRICTED.get(str(descriptor.architecture.id))
        halves = {"fp16": descriptor.supports_half, "bf16": descriptor.supports_bfloat16}
        self.precisions = ("fp32", *(name for name, works in halves.items() if works))
        self.tiling = _TILING[descriptor.tiling.name]
        self.multiple_of = int(descriptor.size_requirements.multiple_of)
        self.least_side = max(1, int(descriptor.size_requirements.minimum))
        self.network = descriptor.model  # registered, so that .to() moves what the descriptor calls
        self._call = self._resized if output_scale else descriptor
        self._call_network = descriptor._call_fn

    def forward(self, lr: Tensor) -> Tensor:
        """Super-resolve a batch."""
        with warnings.catch_warnings():  # warnings of libraries about their own code
            warnings.simplefilter("ignore")
            sr: Tensor = self._call(lr)
        return sr

    def super_resolve(self, lr: Tensor) -> Tensor:
        """Super-resolve a batch of a size that the network takes, in a way that can be traced.

        Args:
            lr: the sides are multiples of ``multiple_of``, and at least ``least_side``.
        """
        sr: Tensor = self._call_network(self.network, lr)
        if self.output_scale is not None:
            height, width = (side * self.output_scale for side in lr.shape[-2:])
            sr = F.interpolate(sr, (height, width), mode="bicubic", align_corners=False)
        return sr.clamp(0, 1)

    def rules(self) -> dict[str, Any]:
        """The rules for using the network, as fields of ``ModelInfo``."""
        return {
            "architecture": self.architecture,
            "precisions": self.precisions,
            "tiling": self.tiling,
            "restriction": self.restriction,
        }

    @torch.inference_mode()
    def _resized(self, lr: Tensor) -> Tensor:
        height, width = (side * self.scale_factor for side in lr.shape[-2:])
        sr = F.interpolate(self.network(lr), (height, width), mode="bicubic", align_corners=False)
        return sr.clamp_(0, 1)


def build_foreign(state: Mapping[str, Tensor], output_scale: int | None = None) -> ForeignGenerator:
    """Recognize and build any other super-resolution network.

    Args:
        state: its parameters under their own names, without wrappers.
        output_scale: see :class:`ForeignGenerator`.

    Raises:
        ModelError: spandrel does not know it, or its input and output have different channels.
    """
    with warnings.catch_warnings():  # warnings of libraries about their own code
        warnings.simplefilter("ignore")
        import spandrel

        found = _recognize(dict(state))
    if not isinstance(found, spandrel.ImageModelDescriptor):
        raise ModelError(f"is a {found.architecture.name} network, which also needs a mask")
    if found.input_channels != found.output_channels:
        raise ModelError(
            f"is a {found.architecture.name} network that makes {found.output_channels} channels "
            f"of {found.input_channels}; the counts must match"
        )
    compact = found.architecture.name == COMPACT
    generator = ForeignGenerator(found, output_scale if compact else None)
    if generator.restriction:
        _log.warning(
            "%s is an architecture under %s; check this license before you use its results",
            generator.architecture,
            generator.restriction,
        )
    return generator


def _reason(error: Exception) -> str:
    """What does not fit; PyTorch names the parameters below a generic first line."""
    lines = [line.strip().rstrip(".") for line in str(error).split("\n") if line.strip()]
    if len(lines) > 1 and re.match(r"Error\(s\) in loading state_dict", lines[0]):
        more = f" (and {len(lines) - 2} more)" if len(lines) > 2 else ""
        return f"{lines[1]}{more}"
    return lines[0] if lines else type(error).__name__


def _recognize(state: dict[str, Tensor]) -> Any:
    """Try spandrel, then its architectures of restricted use if these are installed."""
    import spandrel

    registries: list[Any] = [spandrel.MAIN_REGISTRY]
    try:
        from spandrel_extra_arches import EXTRA_REGISTRY

        registries.append(EXTRA_REGISTRY)
    except ImportError:
        pass
    for registry in registries:
        try:
            return spandrel.ModelLoader(device="cpu", registry=registry).load_from_state_dict(state)
        except spandrel.UnsupportedModelError:
            continue
        except Exception as error:  # from weights that only resemble an architecture
            raise ModelError(
                f"looks like a known network, but does not fit: {_reason(error)}"
            ) from error
    remedy = (
        ""
        if len(registries) > 1
        else (
            "; if its architecture is only free for research ("
            + ", ".join(RESTRICTED)
            + "), run: pip install 'torch-sr[restricted]'"
        )
    )
    raise ModelError(f"has no known generator; it has {describe_keys(state)}{remedy}")

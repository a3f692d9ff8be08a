"""An RRDBNet or SRVGGNetCompact as hyper-parameters and NumPy arrays, without PyTorch.

This is all that an engine needs that is not PyTorch's, and what is read from files. PyTorch is
imported only where a network is built.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeGuard

import numpy as np

from torch_sr.aliases import Floats
from torch_sr.models.files.layouts import State
from torch_sr.networks.configs import CompactConfig, RRDBConfig

if TYPE_CHECKING:
    from torch import Tensor, nn

    from torch_sr.networks.rrdb import RRDBNet


COMPACT = "RealESRGAN Compact"
"""spandrel's name for SRVGGNetCompact."""


@dataclass(frozen=True, eq=False)
class NetworkWeights:
    """The hyper-parameters and parameters of a network.

    Args:
        config: the hyper-parameters.
        parameters: float32 arrays under RRDBNet's or SRVGGNetCompact's names, in the order of
            ``config.shapes()``. They are not written to.
    """

    config: RRDBConfig | CompactConfig
    parameters: Mapping[str, Floats] = field(repr=False)

    @property
    def architecture(self) -> str:
        """Its name, as in :class:`~torch_sr.models.info.ModelInfo`."""
        return COMPACT if isinstance(self.config, CompactConfig) else "RRDBNet"

    def build(self) -> nn.Module:
        """The network in PyTorch, on the CPU, in evaluation mode, with a copy of the parameters."""
        import torch

        with torch.inference_mode(mode=False):  # where it is built must not decide its use
            state = {key: torch.from_numpy(value.copy()) for key, value in self.parameters.items()}
            return _build(self.config, state).eval()


def _build(config: RRDBConfig | CompactConfig, state: dict[str, Tensor]) -> nn.Module:
    import torch

    if isinstance(config, CompactConfig):
        from torch_sr.models.foreign import build_foreign

        return build_foreign(state)
    from torch_sr.networks.rrdb import RRDBNet

    with torch.device("meta"):  # no memory yet, and no random numbers drawn
        network = RRDBNet.from_config(config)
    network.load_state_dict(state, assign=True)
    return network


def find_weights(network: nn.Module) -> NetworkWeights | None:
    """The hyper-parameters and parameters of a network, on any device.

    Returns:
        None for another network than RRDBNet or SRVGGNetCompact, for one that was changed (a
        subclass, or other modules in it), and for one that does not compute in float32.
    """
    import torch

    from torch_sr.models.foreign import ForeignGenerator

    config: RRDBConfig | CompactConfig | None = None
    if is_rrdbnet(network) and not _is_changed(network):
        config = network.config
    elif isinstance(network, ForeignGenerator) and network.output_scale is None:
        network = network.network
        config = infer_compact(network.state_dict())
    state: dict[str, Tensor] = network.state_dict()
    if config is None or {key: tuple(v.shape) for key, v in state.items()} != config.shapes():
        return None
    if any(value.dtype != torch.float32 or value.is_meta for value in state.values()):
        return None
    return NetworkWeights(config, to_numpy(state))


def to_numpy(state: Mapping[str, Tensor]) -> dict[str, Floats]:
    """Tensors of any floating-point type on any device as float32 arrays."""
    return {key: value.detach().cpu().float().numpy() for key, value in state.items()}


def infer_compact(state: State) -> CompactConfig | None:
    """The hyper-parameters of an SRVGGNetCompact with PReLU; None if it is something else."""
    first = tuple(state["body.0.weight"].shape) if "body.0.weight" in state else ()
    convolutions = sum(key.endswith(".bias") for key in state)
    if len(first) != 4 or 0 in first or convolutions < 2:
        return None
    made = math.prod(state.get(f"body.{2 * convolutions - 2}.bias", np.zeros(0)).shape)
    config = CompactConfig(
        scale_factor=math.isqrt(made // first[1]),
        img_channels=first[1],
        num_feat=first[0],
        num_conv=convolutions - 2,
    )
    found = {key: tuple(value.shape) for key, value in state.items()}
    return config if config.scale_factor and found == config.shapes() else None


def is_network(value: object) -> TypeGuard[nn.Module]:
    """Whether it is an ``nn.Module``; PyTorch is not imported to find out."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.nn.Module)


def is_rrdbnet(value: object) -> TypeGuard[RRDBNet]:
    """Whether it is an :class:`RRDBNet`; PyTorch is not imported to find out."""
    module = sys.modules.get("torch_sr.networks.rrdb")
    return module is not None and isinstance(value, module.RRDBNet)


def _is_changed(network: RRDBNet) -> bool:
    """Whether other classes of modules, hooks or parametrizations may change what it computes."""
    ours = ("torch_sr.networks.rrdb", "torch.nn.modules")
    return any(
        not type(module).__module__.startswith(ours)
        or module._forward_hooks
        or module._forward_pre_hooks
        or "forward" in vars(module)
        for module in network.modules()
    )

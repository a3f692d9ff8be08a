"""torch-sr: train, test and use ESRGAN super-resolution networks.

The names below are all that is public. They are imported when they are first used, because PyTorch
takes a second to import and ``torch-sr --help`` should not.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from torch_sr._version import __version__
from torch_sr.errors import TorchSRError

if TYPE_CHECKING:
    from torch_sr.inference.upscaler import Upscaler
    from torch_sr.models.conversion import convert
    from torch_sr.models.interpolation import interpolate
    from torch_sr.models.loading import load_generator
    from torch_sr.models.strength import load
    from torch_sr.networks.rrdb import RRDBNet

__all__ = [
    "RRDBNet",
    "TorchSRError",
    "Upscaler",
    "__version__",
    "convert",
    "interpolate",
    "load",
    "load_generator",
]

_HOMES = {
    "RRDBNet": "torch_sr.networks.rrdb",
    "Upscaler": "torch_sr.inference.upscaler",
    "convert": "torch_sr.models.conversion",
    "interpolate": "torch_sr.models.interpolation",
    "load": "torch_sr.models.strength",
    "load_generator": "torch_sr.models.loading",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value  # so that the next use does not come here
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

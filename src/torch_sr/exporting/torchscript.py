"""A network -> a TorchScript file, for C++ programs."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from torch_sr.aliases import Floats
from torch_sr.exporting.check import Run
from torch_sr.exporting.portable import PortableNetwork, TracingError

RECORDS = "torch-sr.json"
"""The extra file in the archive that has the records."""


def trace(network: PortableNetwork, size: tuple[int, int] | None) -> Any:
    """Record what the network computes, for images of any size unless one is given.

    Raises:
        TracingError: PyTorch cannot trace the network.
    """
    try:
        with warnings.catch_warnings(), torch.inference_mode(mode=False), torch.no_grad():
            warnings.simplefilter("ignore")  # of tracing, and that PyTorch prefers torch.export
            traced: Any = torch.jit.trace(  # type: ignore[no-untyped-call]
                network, network.example(size), check_trace=False
            )
            return torch.jit.freeze(traced.eval())
    except Exception as error:  # of any kind, from the network
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise TracingError(f"PyTorch cannot trace it ({reason[-1][:200]})") from error


def write_torchscript(
    path: Path,
    network: PortableNetwork,
    records: Mapping[str, str],
    *,
    size: tuple[int, int] | None,
) -> None:
    """Write a network, with its records as JSON in the extra file ``torch-sr.json``.

    Raises:
        TracingError: PyTorch cannot trace the network.
    """
    program = trace(network, size)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(program, str(path), _extra_files={RECORDS: json.dumps(dict(records))})


def open_torchscript(path: Path) -> Run:
    """Load a file that was just written, and run it on the CPU."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program: Any = torch.jit.load(str(path), map_location="cpu")  # type: ignore[no-untyped-call]

    def run(lr: Floats) -> Floats:
        with torch.inference_mode():
            sr: Floats = program(torch.from_numpy(lr)).numpy()
        return sr

    return run

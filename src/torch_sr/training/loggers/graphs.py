"""Copy a network so that loggers can trace it to draw its graph."""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

_log = logging.getLogger(__name__)


@contextmanager
def traceable_copy(name: str, network: nn.Module) -> Iterator[nn.Module]:
    """Yield a copy to trace; if the graph cannot be drawn, log a warning and train anyway."""
    try:
        # Tracing runs the network, which would change the statistics of its batch normalization.
        with warnings.catch_warnings():
            # PyTorch warns about its own deprecated tracing, and about constants in the graph.
            warnings.simplefilter("ignore")
            yield copy.deepcopy(network).cpu().eval()
    except (ImportError, RuntimeError, TypeError, ValueError) as error:
        _log.warning("no graph of the %s: %s", name, str(error).partition("\n")[0])

"""A copy of a network that loggers can trace to draw its graph."""

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
    """A copy to draw a graph of; one that cannot be drawn is no reason to stop a training."""
    try:
        # Drawing runs the network, which would move the averages of its batch normalisation.
        with warnings.catch_warnings():
            # PyTorch draws by what it deprecates, and warns of constants in what it drew.
            warnings.simplefilter("ignore")
            yield copy.deepcopy(network).cpu().eval()
    except (ImportError, RuntimeError, TypeError, ValueError) as error:
        _log.warning("no graph of the %s: %s", name, str(error).partition("\n")[0])

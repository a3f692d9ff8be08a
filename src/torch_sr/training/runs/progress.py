"""The progress of a stage, and the state of the random number generators."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from torch_sr.training.runs.result import Scores


@dataclass
class Progress:
    """The counters and best scores of a stage, which a checkpoint stores."""

    epoch: int = 0
    """Epochs done."""
    batch: int = 0
    """Mini-batches done in the current epoch."""
    step: int = 0
    """Mini-batches done in total."""
    best_psnr: float = float("-inf")
    best_ssim: float = float("-inf")


def read_scores(state: Mapping[str, Any] | None) -> Scores | None:
    """Scores from a checkpoint; None if it has none."""
    return None if state is None else Scores(**state)


def random_state(device: torch.device) -> dict[str, Tensor]:
    """The state of PyTorch's generators, which a network with dropout would use."""
    state = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    return state


def set_random_state(state: Mapping[str, Tensor], device: torch.device) -> None:
    """Restore :func:`random_state`."""
    torch.set_rng_state(state["cpu"])
    if device.type == "cuda" and "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"], device)

"""Learning rates as pure functions of the step."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence

from torch_sr.config import PretrainingConfig


def pretraining_factor(step: int, config: PretrainingConfig, total_steps: int) -> float:
    """The factor of the learning rate of the pre-training, in [0, 1].

    Args:
        step: mini-batches done.
        config: ``scheduler``, ``sched_step``, ``sched_gamma`` and ``warmup_steps``.
        total_steps: number of mini-batches of the whole stage, at which the cosine ends.
    """
    warmup = _warm_up(step, config.warmup_steps)
    if config.scheduler == "cosine":
        done = min(1.0, step / max(1, total_steps))
        return warmup * (1 + math.cos(math.pi * done)) / 2
    return float(warmup * config.sched_gamma ** (step // config.sched_step))


def milestone_factor(
    step: int, milestones: Sequence[int], gamma: float, warmup_steps: int = 0
) -> float:
    """``gamma`` to the power of the milestones reached: torch's ``MultiStepLR``, after a warm-up.

    Args:
        step: mini-batches done.
        milestones: steps in ascending order.
        gamma: the factor at each milestone.
        warmup_steps: number of steps over which the factor first rises linearly.
    """
    return float(_warm_up(step, warmup_steps) * gamma ** bisect_right(milestones, step))


def _warm_up(step: int, steps: int) -> float:
    return min(1.0, (step + 1) / (steps + 1))

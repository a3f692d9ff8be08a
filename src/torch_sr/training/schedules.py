"""Learning rates as pure functions of the mini-batch count: nothing to store, exact to resume."""

from __future__ import annotations

import math

from torch_sr.config import PretrainingConfig


def learning_rate_factor(step: int, config: PretrainingConfig, total_steps: int) -> float:
    """What the learning rate of the pre-training is multiplied by, in [0, 1].

    Args:
        step: mini-batches done.
        config: ``scheduler``, ``sched_step``, ``sched_gamma`` and ``warmup_steps``.
        total_steps: of the whole stage; the cosine ends there.
    """
    warmup = min(1.0, (step + 1) / (config.warmup_steps + 1))
    if config.scheduler == "cosine":
        done = min(1.0, step / max(1, total_steps))
        return warmup * (1 + math.cos(math.pi * done)) / 2
    return float(warmup * config.sched_gamma ** (step // config.sched_step))

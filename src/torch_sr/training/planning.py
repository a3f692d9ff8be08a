"""What to know before a stage starts: whether it is long enough, and what is left out of it."""

from __future__ import annotations

import math

from torch_sr.config import Hyperparameters

_LEARNT = 0.5
"""Sum of the learning rates of all steps after which a fresh generator equals bicubic.

Adam moves every weight by about the learning rate in a step, so this sum measures how far a network
has come from its random start. Measured on Set5 at x4 with BSDS500's crops of 64x64, 8 a step:
0.44 (2,200 steps of 2e-4) and 0.68 (680 of 1e-3) with 16 channels in 2 blocks.
"""
_STARTING_MODEL = "compact-x4"


def remark_on_length(config: Hyperparameters, steps: int) -> str | None:
    """Remark that a stage has too few steps to learn from scratch; None where it has enough.

    Args:
        config: of a training from scratch.
        steps: mini-batches of its first stage.
    """
    needed = steps_from_scratch(config)
    if steps >= needed:
        return None
    example = _STARTING_MODEL if config.scale_factor == 4 and config.img_channels == 3 else "MODEL"
    return (
        f"start from a model with --load-checkpoint {example} --like {example}, or train for at "
        f"least {needed} steps: {steps} steps are too few for a network from scratch, whose images "
        "are dark and blurred until then"
    )


def steps_from_scratch(config: Hyperparameters) -> int:
    """Mini-batches after which a generator from scratch is about as good as bicubic."""
    name = next(iter(config.stages))
    lr = config.pretraining.lr if name == "pretraining" else config.training.g_lr
    needed = _LEARNT / lr
    magnitude = 10.0 ** (math.floor(math.log10(needed)) - 1)
    return max(1, round(round(needed / magnitude) * magnitude))


def describe_no_validation(stage: str) -> str:
    """Say what a stage does without validation images."""
    return (
        f"{stage}.val_datasets is empty: no validation, and no best model; the model at the end of "
        "the stage is stored"
    )

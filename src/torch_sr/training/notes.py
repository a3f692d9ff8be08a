"""Notes before a stage starts, such as too few steps."""

from __future__ import annotations

import math
from collections.abc import Iterator

from torch_sr.config import Hyperparameters

_LEARNED = 0.5
"""Sum of the learning rates of all steps after which an untrained generator surpasses bicubic.

Adam moves every weight by about the learning rate in a step, so this sum measures how far a network
is from its random start. Measured on Set5 at x4, with 8 crops of BSDS500 of 64x64 a step:
0.44 (2,200 steps of 2e-4) and 0.68 (680 of 1e-3) with 16 channels in 2 blocks, and 0.16 (820 of
2e-4) with 32 channels in 4 blocks.
"""
_STARTING_MODEL = "compact-x4"


def notes_on_stage(
    config: Hyperparameters, stage: str, *, batch_size: int, steps: int, from_scratch: bool
) -> Iterator[str]:
    """Notes on small mini-batches, and on too few of them.

    Args:
        config: all hyper-parameters.
        stage: the section of the stage.
        batch_size: crops in a mini-batch of one process, limited by the number of images.
        steps: number of mini-batches of the stage.
        from_scratch: whether the stage is the first, and starts from scratch.
    """
    if batch_size < config.batch_size:
        yield (
            f"add images, or repeat data sets in {stage}.train_datasets: mini-batches have "
            f"{batch_size} crops instead of batch_size {config.batch_size}, because each image "
            "gives one crop per epoch"
        )
    warmup = config.stages[stage].warmup_steps
    if warmup >= steps:
        yield (
            f"lower {stage}.warmup_steps {warmup}: the stage has {steps} steps, and ends before "
            "the full learning rate is reached"
        )
    note = note_on_length(config, steps) if from_scratch else None
    if note is not None:
        yield note


def note_on_length(config: Hyperparameters, steps: int) -> str | None:
    """A note that a stage has too few steps to learn from scratch; None if it has enough.

    Args:
        config: the configuration of a training from scratch.
        steps: number of mini-batches of its first stage.
    """
    needed = steps_from_scratch(config)
    if steps >= needed:
        return None
    example = _STARTING_MODEL if config.scale_factor == 4 and config.img_channels == 3 else "MODEL"
    return (
        f"start from a model with --load-checkpoint {example} --like {example}, or train for at "
        f"least {needed} steps: after {steps} of them a network from scratch is still worse than "
        "bicubic interpolation"
    )


def steps_from_scratch(config: Hyperparameters) -> int:
    """Mini-batches after which a generator from scratch is better than bicubic interpolation."""
    first = next(iter(config.stages.values()))
    needed = _LEARNED / first.generator_lr
    magnitude = 10.0 ** (math.floor(math.log10(needed)) - 1)
    return max(1, round(round(needed / magnitude) * magnitude))


def describe_no_validation(stage: str) -> str:
    """A note on a stage without validation images."""
    return (
        f"{stage}.val_datasets is empty: no validation, and no best model; the model at the end of "
        "the stage is stored"
    )

"""Check that the mini-batches of a stage fit into the memory."""

from __future__ import annotations

import math

import torch

from torch_sr.devices import free_memory
from torch_sr.errors import ConfigError, DataError, DeviceError
from torch_sr.training.building import build_generator, build_stage, prepare_network
from torch_sr.training.preflight.checked_run import CheckedRun
from torch_sr.training.preflight.memory import StepMemory, gigabytes, measure_step_memory


def check_batch_memory(run: CheckedRun, name: str) -> str:
    """Run steps of a stage on random crops, and compare their memory with what is free.

    Returns:
        the memory of a step, and the largest batch, in words.

    Raises:
        DataError: the size of whole images is unknown, because they cannot be opened.
        DeviceError: a mini-batch does not fit.
        ConfigError: the crops are too small for the discriminator.
    """
    fabric, batch = run.context.fabric, run.config.batch_size
    memory = _measure(run, name)
    crops = math.ceil(batch / run.settings.accumulate)
    need, free = memory.needed(crops), free_memory(fabric.device)
    text = f"a step of {crops} crops at once takes {gigabytes(need)}"
    if fabric.device.type == "cpu":  # which all processes share
        free //= fabric.world_size
    text += f" of {gigabytes(free)} free on {fabric.device}"
    fits = memory.largest_batch(free)
    if crops <= fits:
        return f"{text}; up to {fits} would fit"
    if not fits:
        raise DeviceError(f"{text}; not even one fits: lower cr_patch_size")
    raise DeviceError(
        f"{text}; {fits} would fit: use --accumulate {math.ceil(batch / fits)}, or "
        f"batch_size {fits}"
    )


def _measure(run: CheckedRun, name: str) -> StepMemory:
    context, config = run.context, run.config
    device = context.fabric.device
    if run.perceptual is not None:
        prepare_network(run.perceptual, context.settings).to(device)
    generator = prepare_network(build_generator(config), context.settings)
    stage = build_stage(
        name, context, generator=generator, perceptual=run.perceptual, total_steps=1
    )
    height, width = _lr_size(run, name)
    scale, channels = config.scale_factor, config.img_channels

    def step(crops: int) -> None:
        lr = torch.rand(crops, channels, height, width, device=device)
        hr = torch.rand(crops, channels, scale * height, scale * width, device=device)
        try:
            stage.train_step(lr, hr)
        except ValueError as error:  # from the batch normalization of a VGG discriminator
            if "more than 1 value per channel" not in str(error):
                raise
            raise ConfigError(
                f"use crops larger than {height * scale}x{width * scale}, or fewer repeated "
                "numbers in discriminator.vgg_blk_ch: it halves the crops to a single pixel"
            ) from error

    return measure_step_memory(step, device, run.base_memory)


def _lr_size(run: CheckedRun, name: str) -> tuple[int, int]:
    """Height and width of the LR crops, or of the largest image."""
    size = run.config.stages[name].cr_patch_size
    if size is not None:
        scale = run.config.scale_factor
        return size[0] // scale, size[1] // scale
    if name not in run.data:
        raise DataError("unknown, because the data cannot be opened")
    pairs = run.data[name].crops.pairs
    return max((pairs.lr_size(index) for index in range(len(pairs))), key=math.prod)

"""Check that the largest validation image of a stage fits into the memory."""

from __future__ import annotations

import math

from torch_sr.devices import free_memory
from torch_sr.errors import DeviceError
from torch_sr.evaluation.tiled_network import TiledNetwork
from torch_sr.training.building import build_generator, prepare_network
from torch_sr.training.preflight.checked_run import CheckedRun
from torch_sr.training.preflight.memory import gigabytes


def check_validation_memory(run: CheckedRun, name: str) -> str:
    """Estimate the memory of the largest image, and compare it with what is free.

    Returns:
        the image and its memory, in words.

    Raises:
        DeviceError: it does not fit.
    """
    config, context, pairs = run.config, run.context, run.data[name].validation
    device, scale = context.fabric.device, config.scale_factor
    largest = max(range(len(pairs)), key=lambda index: math.prod(pairs.lr_size(index)))
    height, width = pairs.lr_size(largest)
    generator = prepare_network(build_generator(config), context.settings).to(device).eval()
    tiled = TiledNetwork(generator, scale, config.img_channels)
    need, free = tiled.needed_bytes(height, width), free_memory(device)
    how = "whole" if tiled.fits(height, width) else "in tiles"
    text = (
        f"{pairs.names[largest]}, the largest image, {width * scale}x{height * scale}, {how} "
        f"takes about {gigabytes(need)} of {gigabytes(free)} free on {device}"
    )
    if need > free:
        raise DeviceError(f"{text}: leave it out of val_datasets, or cut it into smaller ones")
    return text

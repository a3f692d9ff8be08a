"""Measure how long the steps of a training take on this machine."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import median

import torch
from lightning_fabric import Fabric

from torch_sr.config import Hyperparameters
from torch_sr.errors import DeviceError
from torch_sr.losses import PerceptualLoss
from torch_sr.training.building import build_generator, build_stage, prepare_network
from torch_sr.training.context import RunContext
from torch_sr.training.settings import RunSettings

_MEASURED_SECONDS = 2.0
_LEAST_STEPS = 2
_PROBE = 96  # low-resolution pixels per side
_MEASURING = 1.3  # factor, because a validation also measures and shows images


@dataclass(frozen=True)
class Pace:
    """Seconds that parts of a training take.

    Args:
        step: one mini-batch of each stage, by the stage's name.
        validation: one pass over the validation images.
    """

    step: dict[str, float]
    validation: float


def measure_pace(
    fabric: Fabric,
    config: Hyperparameters,
    settings: RunSettings,
    validation_sizes: Sequence[tuple[int, int]],
    perceptual: PerceptualLoss | None = None,
) -> Pace:
    """Time some steps of each stage, on random crops, and the generator alone.

    Args:
        fabric: device and precision of the training.
        config: hyper-parameters; every stage has a crop size.
        settings: the settings of the run.
        validation_sizes: height and width of each validation image, in high-resolution pixels.
        perceptual: the perceptual loss on the device, for stages that need it.

    Raises:
        DeviceError: a mini-batch does not fit into the device's memory.
    """
    settings = replace(settings, compile=False)  # compiling takes minutes, but only once
    context = RunContext("pace", fabric, config, settings)
    step = {name: _time_step(context, name, perceptual) for name in config.stages}
    pixels = sum(height * width for height, width in validation_sizes) / config.scale_factor**2
    return Pace(step, pixels * _time_pixel(context) * _MEASURING)


def _time_step(context: RunContext, name: str, perceptual: PerceptualLoss | None) -> float:
    fabric, config = context.fabric, context.config
    generator = prepare_network(build_generator(config), context.settings)
    stage = build_stage(name, context, generator=generator, perceptual=perceptual, total_steps=1)
    crop = config.stages[name].cr_patch_size
    assert crop is not None
    shape = (config.batch_size, config.img_channels)
    hr = torch.rand(*shape, *crop, device=fabric.device)
    lr = torch.rand(*shape, *(side // config.scale_factor for side in crop), device=fabric.device)
    try:
        return _time(lambda: stage.train_step(lr, hr), fabric.device)
    except torch.OutOfMemoryError:
        raise DeviceError(
            f"lower batch_size or {name}.cr_patch_size: {config.batch_size} crops of "
            f"{crop[1]}x{crop[0]} pixels are too many for the memory of {fabric.device}"
        ) from None


def _time_pixel(context: RunContext) -> float:
    """Time of the generator for a low-resolution pixel, in seconds."""
    config, device = context.config, context.fabric.device
    generator = prepare_network(build_generator(config), context.settings).to(device).eval()
    lr = torch.rand(1, config.img_channels, _PROBE, _PROBE, device=device)
    with torch.inference_mode():
        return _time(lambda: generator(lr), device) / _PROBE**2


def _time(work: Callable[[], object], device: torch.device) -> float:
    """The median time of several runs, after a warm-up run."""
    work()
    times: list[float] = []
    while len(times) < _LEAST_STEPS or sum(times) < _MEASURED_SECONDS:
        _wait_for(device)
        started = time.perf_counter()
        work()
        _wait_for(device)
        times.append(time.perf_counter() - started)
    return median(times)


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()

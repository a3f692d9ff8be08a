"""Check what a training starts from, and its device."""

from __future__ import annotations

from torch_sr.errors import ConfigError
from torch_sr.training.building import build_generator
from torch_sr.training.launch import launch
from torch_sr.training.preflight.checked_run import CheckedRun
from torch_sr.training.preflight.memory import used_memory
from torch_sr.training.runs.starting_point import read_start


def check_start(run: CheckedRun) -> str:
    """Read the model or checkpoint, and compare it with the configuration.

    Returns:
        what the training starts from, in words.

    Raises:
        CheckpointError: a checkpoint or model cannot be read, or does not fit.
        ConfigError: no stage has epochs.
        ModelError: the file is neither a checkpoint nor a model.
    """
    config, settings = run.config, run.settings
    if not config.stages:
        raise ConfigError("pretraining.num_epoch and training.num_epoch are both 0; raise one")
    start = read_start(settings.resume, stage=settings.start_stage, partial=settings.partial)
    run.start = start
    changes = start.check(config)
    run.stages = start.stages(config)
    if start.path is None:
        return "; ".join(["from scratch", *start.describe(config)])
    taken = start.fill(build_generator(config))
    if start.model is not None:
        return "; ".join([*start.describe(config), *taken])
    changed = f"; changed since: {', '.join(changes)}" if changes else ""
    return f"from {start.path}, with the stage {start.stage}{changed}"


def check_device(run: CheckedRun) -> str:
    """Open the device.

    Returns:
        the device, the number of processes and the precision, in words.

    Raises:
        DeviceError: the device, the number of devices or the precision is not available.
    """
    run.fabric = launch(run.settings)
    run.base_memory = used_memory(run.fabric.device)
    return f"{run.fabric.world_size} x {run.fabric.device}, {run.settings.precision}"

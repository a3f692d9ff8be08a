"""Check that the disk has room for the checkpoints and models of a run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import nn

from torch_sr.config import GAN_STAGE, Hyperparameters
from torch_sr.data.cache import default_cache_dir
from torch_sr.errors import CheckpointError
from torch_sr.files import free_space, try_writing
from torch_sr.training.building import build_discriminator, build_generator
from torch_sr.training.preflight.checked_run import CheckedRun

_BYTES = 4  # per weight


def check_disk(run: CheckedRun) -> str:
    """Check that there is room for decoded images, and for the checkpoints and models.

    Returns:
        the result in words.

    Raises:
        CheckpointError: a folder cannot be written to, or has too little room.
    """
    settings = run.settings
    # Both stages often have the same data, which are cached only once.
    cache = max(
        data.crops.pairs.uncached_bytes + data.validation.uncached_bytes
        for data in run.data.values()
    )
    interval = settings.intervals.store_model
    extra_models = {
        name: data.total_steps // interval.in_steps(data.steps_per_epoch) if interval else 0
        for name, data in run.data.items()
    }
    stored = stored_bytes(run.config, extra_models, settings.intervals.keep_checkpoints)
    cached = check_room(settings.cache_dir or default_cache_dir(), "decoded images", cache)
    return f"{cached}; {check_room(settings.models_dir, 'checkpoints and models', stored)}"


def stored_bytes(
    config: Hyperparameters, extra_models: Mapping[str, int], keep_checkpoints: int
) -> int:
    """Size in bytes of the checkpoints and models that a run stores.

    Args:
        config: the hyper-parameters.
        extra_models: for each stage that runs, the number of models besides the best and the last.
        keep_checkpoints: number of older checkpoints that are kept.
    """
    generator = _count_bytes(build_generator(config))
    total = 0
    for name, extra in extra_models.items():
        discriminator = _count_bytes(build_discriminator(config)) if name == GAN_STAGE else 0
        # Weights and Adam's two averages of each, and the average of the generator's weights.
        checkpoint = 4 * generator + 3 * discriminator
        # The best, the newest, the one that is being written, and older ones.
        total += checkpoint * (3 + keep_checkpoints) + (2 + extra) * generator
    return total


def check_room(folder: Path, what: str, need: int) -> str:
    """Refuse a folder that cannot be written to or has too little room; leave nothing in it.

    Args:
        folder: the folder, which may not exist yet.
        what: what will be stored there, in words.
        need: the bytes needed.

    Returns:
        the result in words.

    Raises:
        CheckpointError: the folder cannot be written to, or has too little room.
    """
    try:
        try_writing(folder)
    except OSError as error:
        raise CheckpointError(f"{folder}: cannot write {what} there: {error.strerror}") from error
    free = free_space(folder)
    if free is None:
        return f"{what} take {_size(need)} in {folder}"
    said = f"{what} take {_size(need)} of {_size(free)} free"
    if need > free:
        raise CheckpointError(f"{folder}: make room, or name another folder: {said}")
    return f"{said} in {folder}"


def _count_bytes(network: nn.Module) -> int:
    return _BYTES * sum(parameter.numel() for parameter in network.parameters())


def _size(count: int) -> str:
    return f"{count / 1e9:.2f} GB" if count >= 1e9 else f"{count / 1e6:.2f} MB"

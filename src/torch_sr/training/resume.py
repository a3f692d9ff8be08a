"""What a training starts from: nothing, a model, or a checkpoint to go on with."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from torch_sr.config import Hyperparameters
from torch_sr.errors import CheckpointError
from torch_sr.models.loading import LoadedGenerator, load_generator
from torch_sr.training.checkpoints import load_newest

_GAN_STAGE = "training"


@dataclass(frozen=True)
class StartingPoint:
    """Read once, by :func:`read_start`.

    Args:
        path: the file; None for a training from nothing.
        checkpoint: all of a checkpoint of ours.
        model: the generator in any other file.
    """

    path: Path | None = None
    checkpoint: Mapping[str, Any] | None = None
    model: LoadedGenerator | None = None

    def run_name(self, models_dir: Path) -> str:
        """The name of the run that is gone on with, or a new one."""
        return new_run_name(models_dir) if self.checkpoint is None else str(self.checkpoint["run"])

    @property
    def stage(self) -> str | None:
        """The stage to begin with; None leaves it to the configuration."""
        if self.checkpoint is not None:
            return str(self.checkpoint["stage"])
        if self.model is None:
            return None
        # A checkpoint of the original project has its epoch in it; a model is a finished stage.
        info = self.model.info
        unfinished = "epoch_i" in info.metadata and info.stage is not None
        return info.stage if unfinished else _GAN_STAGE

    def check(self, config: Hyperparameters) -> list[str]:
        """Compare the configuration with that of the checkpoint.

        Returns:
            every change in words, such as ``pretraining.lr: 0.0002, now 0.0001``.

        Raises:
            CheckpointError: for a change with which the networks or the average do not fit.
        """
        if self.checkpoint is None:
            return []
        section = config.training if self.stage == _GAN_STAGE else config.pretraining
        if not section.num_epoch:
            raise CheckpointError(
                f"{self.path}: a checkpoint of the stage {self.stage}, which "
                f"{self.stage}.num_epoch 0 leaves out; raise it, or give a model as the start"
            )
        before, now = _flat(self.checkpoint["hparams"]), _flat(config.to_dict())
        changes = {
            key: f"{key}: {before.get(key)}, now {now.get(key)}"
            for key in before
            if key in now and before[key] != now[key]
        }
        for key, words in changes.items():
            if self._is_fixed(key, before, now):
                raise CheckpointError(
                    f"{self.path}: {words}; a checkpoint cannot go on so: change it back, or give "
                    "a model as the start of a new run"
                )
        return list(changes.values())

    def _is_fixed(self, key: str, before: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
        """Whether a checkpoint holds something that depends on this hyper-parameter."""
        if key in ("scale_factor", "img_channels") or key.startswith("generator."):
            return True
        if key == f"{self.stage}.ema_decay":
            return bool(before[key] == 0) != bool(now[key] == 0)
        if self.stage != _GAN_STAGE:
            return False
        sized_by_crop = key == "training.cr_patch_size" and now["discriminator.kind"] == "vgg"
        return sized_by_crop or key.startswith("discriminator.")

    def fill(self, generator: nn.Module) -> None:
        """Give a generator the weights of the model.

        Raises:
            CheckpointError: when they do not fit.
        """
        if self.model is None:
            return
        try:
            generator.load_state_dict(self.model.network.state_dict())
        except RuntimeError as error:
            info = self.model.info
            raise CheckpointError(
                f"{info.path}: holds a {info.architecture} with {info.hparams}, which is not the "
                "generator of the configuration"
            ) from error


def read_start(path: Path | None) -> StartingPoint:
    """Read a checkpoint of ours, or else a model or checkpoint of any other kind.

    Raises:
        CheckpointError: for a checkpoint that is broken, as are the older ones beside it.
        ModelError: for a file that is neither.
    """
    if path is None:
        return StartingPoint()
    checkpoint = load_newest(path)
    if checkpoint is not None:
        return StartingPoint(path, checkpoint=checkpoint)
    return StartingPoint(path, model=load_generator(path))


def new_run_name(models_dir: Path) -> str:
    """A name for a run: the time it started, in seconds; no other run there has it."""
    name = int(time.time())
    while any(models_dir.glob(f"{name}_*")):
        name += 1
    return str(name)


def _flat(section: Mapping[str, Any]) -> dict[str, Any]:
    return dict(_leaves(section, ""))


def _leaves(section: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in section.items():
        if isinstance(value, Mapping) and key != "layer_weights":
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value

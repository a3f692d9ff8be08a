"""What a training starts from: nothing, a model, or a checkpoint to resume."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch_sr.config import GAN_STAGE, PSNR_STAGE, Hyperparameters
from torch_sr.errors import CheckpointError
from torch_sr.models.model import Model
from torch_sr.models.reading import read_model
from torch_sr.networks.rrdb import RRDBConfig, RRDBNet
from torch_sr.training.runs.checkpoints import load_newest, read_hparams
from torch_sr.training.runs.initial_weights import check_fit, model_label, take_what_fits

_STAGE_TITLES = {PSNR_STAGE: "PSNR", GAN_STAGE: "GAN"}

_FROM_SCRATCH = (
    "the GAN stage (training) starts from scratch, which often fails: start it from a model of the "
    "PSNR stage with --load-checkpoint MODEL, or set pretraining.num_epoch above 0"
)


@dataclass(frozen=True)
class StartingPoint:
    """Read once, by :func:`read_start`.

    Args:
        path: the file; None for a training from scratch.
        checkpoint: all of a checkpoint of torch-sr.
        model: the generator in any other file.
        chosen_stage: the stage to begin with, where the user chose one.
        partial: take from a model what fits, in place of all.
    """

    path: Path | None = None
    checkpoint: Mapping[str, Any] | None = None
    model: Model | None = None
    chosen_stage: str | None = None
    partial: bool = False

    @property
    def stage(self) -> str | None:
        """The stage to begin with; None leaves it to the configuration."""
        if self.checkpoint is not None:
            return str(self.checkpoint["stage"])
        if self.model is None or self.chosen_stage is not None:
            return self.chosen_stage
        # A checkpoint of the original project has its epoch in it; a model is a finished stage.
        info = self.model.info
        unfinished = "epoch_i" in info.metadata and info.stage is not None
        return info.stage if unfinished else GAN_STAGE

    def stages(self, config: Hyperparameters) -> list[str]:
        """The stages that will run, in order."""
        names = list(config.stages)
        return names[names.index(self.stage) :] if self.stage in names else names

    def describe(self, config: Hyperparameters) -> list[str]:
        """Say what a new run starts from, and how to start otherwise."""
        first, *others = self.stages(config)
        if self.path is None and first == GAN_STAGE:
            return [_FROM_SCRATCH]
        if self.model is None:
            return []
        kind = _STAGE_TITLES.get(self.model.info.stage or "")
        name = model_label(self.model)
        text = f"starting the {_STAGE_TITLES[first]} stage ({first}) from {name}"
        text += f", a model of the {kind} stage" if kind else ""
        if first == GAN_STAGE and PSNR_STAGE in config.stages:
            text += (
                "; to train the PSNR stage first, add --start-stage pretraining; for the PSNR "
                "stage alone, add --set training.num_epoch=0"
            )
        elif others:
            text += f", then the {_STAGE_TITLES[others[0]]} stage"
        return [text]

    def check(self, config: Hyperparameters) -> list[str]:
        """Compare the configuration with what the training starts from.

        Returns:
            every change since the checkpoint in words: ``pretraining.lr: 0.0002, now 0.0001``.

        Raises:
            CheckpointError: where the networks or the average do not fit, or the stage to begin
                with is left out.
        """
        if self.chosen_stage is not None and self.chosen_stage not in config.stages:
            raise CheckpointError(
                f"set {self.chosen_stage}.num_epoch above 0, or leave out "
                f"--start-stage {self.chosen_stage}: the configuration leaves that stage out"
            )
        if self.model is not None:
            check_fit(self.model, RRDBConfig(**config.generator_kwargs), partial=self.partial)
        return [] if self.checkpoint is None else self._check_changes(self.checkpoint, config)

    def _check_changes(self, checkpoint: Mapping[str, Any], config: Hyperparameters) -> list[str]:
        if self.stage not in config.stages:
            raise CheckpointError(
                f"{self.path}: a checkpoint of the stage {self.stage}, which "
                f"{self.stage}.num_epoch 0 leaves out; raise it, or give a model as the start"
            )
        assert self.path is not None
        before = _flat(read_hparams(self.path, checkpoint).to_dict())
        now = _flat(config.to_dict())
        changes = {
            key: f"{key}: {before.get(key)}, now {now.get(key)}"
            for key in before
            if key in now and before[key] != now[key]
        }
        fixed = [key for key in changes if self._is_fixed(key, before, now)]
        if fixed:
            fixes = " ".join(f"--set {key}={_written(before[key])}" for key in fixed)
            raise CheckpointError(
                f"{self.path}: add {fixes} to resume this checkpoint, or start a new run from a "
                f"model ('torch-sr models extract' makes one of it); changed since then are "
                f"{', '.join(changes[key] for key in fixed)}"
            )
        return list(changes.values())

    def _is_fixed(self, key: str, before: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
        """Whether a checkpoint holds something that depends on this hyper-parameter."""
        if key in ("scale_factor", "img_channels") or key.startswith("generator."):
            return True
        if key == f"{self.stage}.ema_decay":
            return bool(before[key] == 0) != bool(now[key] == 0)
        if self.stage != GAN_STAGE:
            return False
        sized_by_crop = key == "training.cr_patch_size" and now["discriminator.kind"] == "vgg"
        return sized_by_crop or key.startswith("discriminator.")

    def fill(self, generator: RRDBNet) -> list[str]:
        """Give a generator the weights of the model.

        Returns:
            in words, where only a part of them was taken: which ones.

        Raises:
            CheckpointError: when they do not fit.
        """
        if self.model is None:
            return []
        if self.partial:
            return take_what_fits(generator, self.model)
        generator.load_state_dict(self.model.network.state_dict())
        return []


def read_start(
    path: Path | None, *, stage: str | None = None, partial: bool = False
) -> StartingPoint:
    """Read a checkpoint of torch-sr, or else a model or checkpoint of any other kind.

    Args:
        path: the file; None for a training from scratch.
        stage: with which a training from a model begins; see :class:`StartingPoint` for the rest.
        partial: take from a model what fits, in place of all.

    Raises:
        CheckpointError: for a checkpoint that is broken, as are the older ones beside it; for
            options that do not go with the file.
        ModelError: for a file that is neither.
    """
    options = _options(stage, partial)
    if path is None:
        if options:
            raise CheckpointError(f"name a model with --load-checkpoint, or leave out {options}")
        return StartingPoint()
    checkpoint = load_newest(path)
    if checkpoint is None:
        return StartingPoint(path, model=read_model(path), chosen_stage=stage, partial=partial)
    if options:
        raise CheckpointError(
            f"{path}: leave out {options}, which goes with a model, to resume this checkpoint; or "
            f"make a model of it with 'torch-sr models extract {shlex.quote(str(path))} MODEL'"
        )
    return StartingPoint(path, checkpoint=checkpoint)


def _options(stage: str | None, partial: bool) -> str:
    """The options that only go with a model, as the user gave them."""
    given = ([f"--start-stage {stage}"] if stage else []) + (["--partial"] if partial else [])
    return " and ".join(given)


def _written(value: object) -> str:
    """A value as ``--set`` takes it from a shell."""
    return shlex.quote(json.dumps(value, separators=(",", ":")))


def _flat(section: Mapping[str, Any]) -> dict[str, Any]:
    return dict(_leaves(section, ""))


def _leaves(section: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in section.items():
        if isinstance(value, Mapping) and key not in ("layer_weights", "kernels"):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value

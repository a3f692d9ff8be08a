"""What a training starts from: nothing, a model, or a checkpoint."""

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
from torch_sr.networks.configs import RRDBConfig
from torch_sr.networks.rrdb import RRDBNet
from torch_sr.training.runs.checkpoints import load_newest, read_hparams
from torch_sr.training.runs.initial_weights import check_fit, model_label, take_what_fits

_STAGE_TITLES = {PSNR_STAGE: "PSNR", GAN_STAGE: "GAN"}

_FROM_SCRATCH = (
    "the GAN stage (training) starts from scratch, which often fails: start it from a model of the "
    "PSNR stage with --load-checkpoint MODEL, or set pretraining.num_epoch above 0"
)


@dataclass(frozen=True)
class StartingPoint:
    """What a training starts from; :func:`read_start` reads it.

    Args:
        path: the file; None for a training from scratch.
        checkpoint: the contents of a checkpoint of torch-sr.
        model: the generator in any other file.
        chosen_stage: the first stage, if the user chose one.
        partial: use only the parameters of a model that fit.
    """

    path: Path | None = None
    checkpoint: Mapping[str, Any] | None = None
    model: Model | None = None
    chosen_stage: str | None = None
    partial: bool = False

    @property
    def stage(self) -> str | None:
        """The first stage; None if the configuration decides."""
        if self.checkpoint is not None:
            return str(self.checkpoint["stage"])
        if self.model is None or self.chosen_stage is not None:
            return self.chosen_stage
        # A checkpoint of the original project contains its epoch; a model is a finished stage.
        info = self.model.info
        unfinished = "epoch_i" in info.metadata and info.stage is not None
        return info.stage if unfinished else GAN_STAGE

    def stages(self, config: Hyperparameters) -> list[str]:
        """The stages that will run, in order."""
        names = list(config.stages)
        return names[names.index(self.stage) :] if self.stage in names else names

    def describe(self, config: Hyperparameters) -> list[str]:
        """Describe what a new run starts from, and alternatives."""
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
            a text for every change since the checkpoint: ``pretraining.lr: 0.0002, now 0.0001``.

        Raises:
            CheckpointError: the networks or the average do not fit, or the first stage is left
                out.
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
                f"{self.path}: set {self.stage}.num_epoch above 0, or start from a model: this "
                f"is a checkpoint of the stage {self.stage}, which the configuration leaves out"
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
        """Whether the contents of a checkpoint depend on this hyper-parameter."""
        if key in ("scale_factor", "img_channels") or key.startswith("generator."):
            return True
        if key == f"{self.stage}.ema_decay":
            return bool(before[key] == 0) != bool(now[key] == 0)
        if self.stage != GAN_STAGE:
            return False
        sized_by_crop = key == "training.cr_patch_size" and now["discriminator.kind"] == "vgg"
        return sized_by_crop or key.startswith("discriminator.")

    def fill(self, generator: RRDBNet) -> list[str]:
        """Copy the weights of the model into a generator.

        Returns:
            a description of the copied weights if they are only a part.

        Raises:
            CheckpointError: the weights do not fit.
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
    """Read a checkpoint of torch-sr, or any other model or checkpoint.

    Args:
        path: the file; None for a training from scratch.
        stage: the first stage of a training from a model; see :class:`StartingPoint`.
        partial: use only the parameters of a model that fit.

    Raises:
        CheckpointError: the checkpoint and the older ones next to it are damaged, or an option
            does not apply to the file.
        ModelError: the file is neither a checkpoint nor a model.
    """
    options = _options(stage, partial)
    if path is None:
        if options:
            raise CheckpointError(f"name a model with --load-checkpoint, or leave out {options}")
        return StartingPoint()
    checkpoint = load_newest(path)
    if checkpoint is None:
        model = read_model(path)
        model.require_weights("train")
        return StartingPoint(path, model=model, chosen_stage=stage, partial=partial)
    if options:
        raise CheckpointError(
            f"{path}: leave out {options}, which needs a model, to resume this checkpoint; or "
            f"make a model of it with 'torch-sr models extract {shlex.quote(str(path))} MODEL'"
        )
    return StartingPoint(path, checkpoint=checkpoint)


def _options(stage: str | None, partial: bool) -> str:
    """The options that only go with a model, as the user gave them."""
    given = ([f"--start-stage {stage}"] if stage else []) + (["--partial"] if partial else [])
    return " and ".join(given)


def _written(value: object) -> str:
    """A value as an argument of ``--set``, quoted for a shell."""
    return shlex.quote(json.dumps(value, separators=(",", ":")))


def _flat(section: Mapping[str, Any]) -> dict[str, Any]:
    return dict(_leaves(section, ""))


def _leaves(section: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in section.items():
        if isinstance(value, Mapping) and key not in ("layer_weights", "kernels"):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value

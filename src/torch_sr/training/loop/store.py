"""Store the checkpoints and models of a stage, and restore checkpoints."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from torch_sr.errors import CheckpointError
from torch_sr.models.files.writing import save_generator
from torch_sr.networks.rrdb import RRDBNet
from torch_sr.training.context import RunContext
from torch_sr.training.loop.state import TrainerState
from torch_sr.training.runs.checkpoints import (
    load_last_good,
    save_checkpoint,
    withdraw_checkpoint,
)
from torch_sr.training.runs.export import model_metadata
from torch_sr.training.signals import Stop
from torch_sr.training.stage_base import Stage
from torch_sr.training.stage_data import StageData

_CHECKPOINT, _BEST_CHECKPOINT = "checkpoint.pth", "best_checkpoint.pth"
_MODEL, _BEST_MODEL = "model.safetensors", "best_model.safetensors"


class StageStore:
    """The files of a stage; only the first process writes them.

    A checkpoint contains everything that the next step depends on.

    Args:
        context: the context of the run.
        stage: its networks and optimizers are stored.
        data: its order of samples and its records are stored.
        state: everything else that is stored.
        stop: a second request to stop is delayed until a checkpoint is written.
    """

    def __init__(
        self,
        context: RunContext,
        stage: Stage,
        data: StageData,
        state: TrainerState,
        stop: Stop,
    ) -> None:
        self._fabric = context.fabric
        self._loggers = context.loggers
        self._keep = context.settings.intervals.keep_checkpoints
        self._hparams = context.config.to_dict()
        self._files = context.files(stage)
        self._stage = stage
        self._samples = data.sampler.recipe
        self._notes = dict(data.notes)
        self._state = state
        self._stop = stop
        self._step = -1
        """The step of the newest checkpoint that was stored here."""
        self.awaits_validation = False
        """Whether the newest checkpoint is of this step, and was stored before its validation."""

    @property
    def checkpoint_file(self) -> Path:
        """The newest checkpoint."""
        return self._files.path(_CHECKPOINT)

    @property
    def best_model(self) -> Path:
        """The best model."""
        return self._files.path(_BEST_MODEL)

    @property
    def last_model(self) -> Path:
        """The model at the end."""
        return self._files.path(_MODEL)

    def save_checkpoint(self, *, good: bool = False) -> None:
        """Store the newest checkpoint; it replaces the one stored before its validation.

        Args:
            good: whether the validation found no divergence.

        Raises:
            CheckpointError: the file cannot be written.
        """
        # If the due validation fails, the previous checkpoint is needed.
        keep = max(self._keep, int(self._state.validation_due))
        self._save(self.checkpoint_file, good, keep, replace=self.awaits_validation)
        self._step, self.awaits_validation = self._state.progress.step, self._state.validation_due

    def save_checkpoint_if_newer(self) -> None:
        """Store the newest checkpoint, unless it is already of this step and state."""
        newest = self._step, self.awaits_validation
        if newest != (self._state.progress.step, self._state.validation_due):
            self.save_checkpoint()

    def save_best(self, *, good: bool) -> None:
        """Store the current model as the best, with its checkpoint.

        Raises:
            CheckpointError, ModelError: a file cannot be written.
        """
        self._save_model(self.best_model)
        self._save(self._files.path(_BEST_CHECKPOINT), good)

    def save_last_model(self) -> None:
        """Store the model at the end.

        Raises:
            ModelError: the file cannot be written.
        """
        self._save_model(self.last_model)

    def save_numbered_model(self, name: str) -> None:
        """Store the current model under a name of its own, such as ``epoch_10``.

        Raises:
            ModelError: the file cannot be written.
        """
        self._save_model(self._files.path(f"{name}_{_MODEL}"))

    def withdraw_unvalidated(self) -> None:
        """Remove the newest checkpoint if its validation is still due, or failed."""
        if self.awaits_validation and self._fabric.is_global_zero:
            withdraw_checkpoint(self.checkpoint_file)

    def restore_last_good(self) -> None:
        """Restore the newest checkpoint that a validation confirmed, on all processes.

        Raises:
            CheckpointError: there is no readable checkpoint.
        """
        checkpoint: Any = None
        if self._fabric.is_global_zero:
            best = self._files.path(_BEST_CHECKPOINT)
            checkpoint = load_last_good(self.checkpoint_file, best)
        self.restore(self._fabric.broadcast(checkpoint))
        self._state.validation_due = self.awaits_validation = False

    def restore(self, checkpoint: Mapping[str, Any]) -> list[str]:
        """Resume from a checkpoint of this stage.

        Returns:
            a text for every change of the samples since then.

        Raises:
            CheckpointError: it is inside an epoch that would continue with other samples.
        """
        self._state.load_state_dict(checkpoint)
        changes = self._compare_samples(checkpoint["samples"])
        self._stage.load_state_dict(checkpoint["stage_state"])
        self._fabric.strategy.precision.load_state_dict(checkpoint["scaler"])
        _set_random_state(checkpoint["random"], self._fabric.device)
        self._step, self.awaits_validation = -1, self._state.validation_due
        return changes

    def _compare_samples(self, recipe: Mapping[str, int]) -> list[str]:
        before, now = _order(recipe), _order(self._samples)
        changes = [
            f"{name}: {before[name]}, now {now[name]}" for name in now if before[name] != now[name]
        ]
        progress = self._state.progress
        if progress.batch and changes:
            raise CheckpointError(
                f"finish epoch {progress.epoch + 1} with the earlier settings, or start a new run "
                "from a model: the epoch would continue with other samples "
                f"({', '.join(changes)})"
            )
        return changes

    def _save(self, path: Path, good: bool, keep: int = 0, *, replace: bool = False) -> None:
        self._loggers.on_activity("store")
        if self._fabric.is_global_zero:
            contents = self._contents() | {"good": good}
            with self._stop.shield():
                save_checkpoint(path, contents, keep, replace=replace)
        self._loggers.on_activity("train")

    def _contents(self) -> dict[str, Any]:
        return {
            "run": self._files.run,
            "stage": self._stage.name,
            "epoch_i": self._state.progress.epoch,
            "hparams": self._hparams,
            "model_state_dict": self._stage.generator.state_dict(),
            "params_ema": self._stage.evaluated.state_dict(),
            "stage_state": self._stage.state_dict(),
            **self._state.state_dict(),
            "notes": self._notes,
            "samples": self._samples,
            "scaler": self._fabric.strategy.precision.state_dict(),
            "random": _random_state(self._fabric.device),
        }

    def _save_model(self, path: Path) -> None:
        network = self._stage.evaluated
        assert isinstance(network, RRDBNet)
        if not self._fabric.is_global_zero:
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        metadata = model_metadata(
            self._stage.name,
            self._hparams,
            vars(self._state.progress),
            self._state.metrics,
            self._notes,
        )
        save_generator(path, network, stage=self._stage.name, metadata=metadata)


def _order(recipe: Mapping[str, int]) -> dict[str, int]:
    """What the order of the samples depends on, however many processes share them."""
    crops = recipe["batch_size"] * recipe.get("processes", 1)
    return {"images": recipe["images"], "seed": recipe["seed"], "batch_size x processes": crops}


def _random_state(device: torch.device) -> dict[str, Tensor]:
    """The state of PyTorch's generators, which a network with dropout would use."""
    state = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    return state


def _set_random_state(state: Mapping[str, Tensor], device: torch.device) -> None:
    torch.set_rng_state(state["cpu"])
    if device.type == "cuda" and "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"], device)

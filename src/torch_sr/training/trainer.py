"""The loop around a stage: epochs, validation, watch, checkpoints, stored models, logs.

The trainer knows no losses; :mod:`torch_sr.training.stages` shows what one step does.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor
from torch.utils.data import DataLoader

from torch_sr.data.loaders import EpochSampler, ImagePairs, to_float
from torch_sr.errors import CheckpointError, TrainingError
from torch_sr.evaluation.evaluate import evaluate_pair
from torch_sr.models.rrdb import RRDBNet
from torch_sr.models.saving import save_generator
from torch_sr.training.checkpoints import load_last_good, save_checkpoint
from torch_sr.training.export import model_metadata
from torch_sr.training.loggers import Logger
from torch_sr.training.settings import Intervals, RunFiles, StageLimits
from torch_sr.training.signals import stop_on_signal
from torch_sr.training.stages import Stage
from torch_sr.training.sums import EpochSums
from torch_sr.training.watch import GoneWrong, Watch

_SHOWN_IMAGES = 4
_DRAWN_SIZE = 32
_STEPS_BETWEEN_CHECKS = 20  # asking a GPU, or the other processes, takes time


@dataclass
class Progress:
    """Where a stage stands; what a checkpoint holds beside the stage itself."""

    epoch: int = 0
    """Epochs done."""
    batch: int = 0
    """Mini-batches done in the epoch begun."""
    step: int = 0
    """Mini-batches done in all."""
    best_psnr: float = float("-inf")
    best_ssim: float = float("-inf")


class Trainer:
    """Bring a stage to its end, from wherever it stands.

    Args:
        fabric: device and precision.
        stage: does the steps.
        loader, sampler: the training batches, see :func:`torch_sr.data.loaders.training_loader`.
        validation: whole images to measure on; may be empty.
        watch: notices when the stage has gone wrong.
        limits: the length of the stage.
        intervals: how often to validate and to store.
        files: where to store.
        loggers: told of everything.
        hparams: the configuration, carried in checkpoints and logs.
        notes: recorded in models and checkpoints besides.
    """

    def __init__(
        self,
        *,
        fabric: Fabric,
        stage: Stage,
        loader: DataLoader[tuple[Tensor, Tensor]],
        sampler: EpochSampler,
        validation: ImagePairs | None,
        watch: Watch,
        limits: StageLimits,
        intervals: Intervals,
        files: RunFiles,
        loggers: Sequence[Logger],
        hparams: Mapping[str, Any],
        notes: Mapping[str, Any] | None = None,
    ) -> None:
        self.fabric = fabric
        self.stage = stage
        self.loader = loader
        self.sampler = sampler
        self.validation = validation
        self.watch = watch
        self.limits = limits
        self.intervals = intervals
        self.files = files
        self.loggers = loggers
        self.hparams = dict(hparams)
        self.notes = dict(notes or {})
        self.progress = Progress()
        self._sums = EpochSums(fabric)
        self._last_metrics: dict[str, float] = {}

    @property
    def checkpoint_file(self) -> Path:
        """The newest checkpoint of this stage."""
        return self.files.path("checkpoint.pth")

    @property
    def model_file(self) -> Path:
        """The model as it is at the end of the stage."""
        return self.files.path("model.safetensors")

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a checkpoint of this stage.

        Raises:
            CheckpointError: when it lies inside an epoch that would go on with other samples.
        """
        progress = Progress(**state["progress"])
        recipe = self.sampler.recipe
        if progress.batch and state["samples"] != recipe:
            changes = ", ".join(
                f"{name} {before} to {now}"
                for (name, now), before in zip(
                    recipe.items(), state["samples"].values(), strict=True
                )
                if now != before
            )
            raise CheckpointError(
                f"the checkpoint lies inside epoch {progress.epoch + 1}, which would go on with "
                f"other samples ({changes}); finish it first, or start a new run from a model"
            )
        self.progress = progress
        self._last_metrics = dict(state["metrics"])
        self.stage.load_state_dict(state["stage_state"])
        self.watch.load_state_dict(state["watch"])
        self._sums.load_state_dict(state["sums"])
        self.fabric.strategy.precision.load_state_dict(state["scaler"])
        _set_random_state(state["random"], self.fabric.device)

    def fit(self, remarks: Sequence[str] = ()) -> bool:
        """Train until the limits; return False when a signal asked to stop before that.

        Args:
            remarks: told to the loggers at the start.

        Raises:
            CheckpointError: when a checkpoint cannot be written.
            ModelError: when a model cannot be written.
            TrainingError: when the training has gone wrong once too often.
        """
        self._tell_start()
        for remark in remarks:
            self._tell(remark)
        if self.progress.step == 0:
            self._tell_networks()
            # To go back to, and for a kill in the first epoch.
            self._store_checkpoint("checkpoint.pth", self.intervals.keep_checkpoints, good=True)
        with stop_on_signal() as stop:
            while not self._finished():
                try:
                    if not self._run_epoch(stop):
                        return False
                except GoneWrong as trouble:
                    self._roll_back(trouble)
        self._store_model("model.safetensors")
        return True

    def _roll_back(self, trouble: GoneWrong) -> None:
        """Go on from the last good checkpoint with lower learning rates, or give up."""
        watch, before = self.watch.config, self.progress
        place = f"{self.stage.name}, epoch {before.epoch + 1}, step {before.step}: {trouble}"
        rollbacks = self.watch.rollbacks + 1
        if watch.action == "stop" or rollbacks > watch.max_rollbacks:
            tried = f" after {rollbacks - 1} rollbacks" if watch.action == "rollback" else ""
            raise TrainingError(
                f"{place}; stopped{tried}: lower the learning rate or set gradient_clip, and go on "
                f"from {self.checkpoint_file}"
            )
        state: Any = None
        if self.fabric.is_global_zero:
            best = self.files.path("best_checkpoint.pth")
            state = load_last_good(self.checkpoint_file, best)
        self.load_state_dict(self.fabric.broadcast(state))
        # The best model on disk may be of an epoch that is now ahead.
        self.progress.best_psnr = max(self.progress.best_psnr, before.best_psnr)
        self.progress.best_ssim = max(self.progress.best_ssim, before.best_ssim)
        self.watch.rollbacks = rollbacks
        self.stage.scale_learning_rates(self.watch.lr_scale)
        self._tell(
            f"{place}; gone back to epoch {self.progress.epoch}, step {self.progress.step}, with "
            f"the learning rates times {self.watch.lr_scale:g}"
        )
        self._tell_start()

    def _finished(self) -> bool:
        at_steps = self.limits.num_steps is not None and self.progress.step >= self.limits.num_steps
        return at_steps or self.progress.epoch >= self.limits.num_epochs

    def _run_epoch(self, stop: threading.Event) -> bool:
        """Train one epoch, or what is left of it; False when asked to stop."""
        self.sampler.epoch = self.progress.epoch
        self.sampler.skip_batches = self.progress.batch
        for lr, hr in self.loader:
            self._train_batch(lr, hr)
            if self._finished():
                break
            inside = self.progress.batch < self.sampler.batches
            if inside and self._may_ask() and self._asked_to_stop(stop):
                self._store_checkpoint("checkpoint.pth", self.intervals.keep_checkpoints)
                return False
        self._end_epoch()
        return not self._asked_to_stop(stop)

    def _may_ask(self) -> bool:
        """Whether this is a step to wait for the device, and for the other processes."""
        alone = self.fabric.world_size == 1 and self.fabric.device.type == "cpu"
        return alone or self.progress.step % _STEPS_BETWEEN_CHECKS == 0

    def _asked_to_stop(self, stop: threading.Event) -> bool:
        """Whether any process was asked to stop."""
        if self.fabric.world_size == 1:
            return stop.is_set()
        asked = torch.tensor(float(stop.is_set()), device=self.fabric.device)
        answer: Any = self.fabric.all_reduce(asked, reduce_op="sum")
        return float(answer) > 0

    def _train_batch(self, lr: Tensor, hr: Tensor) -> None:
        device = self.fabric.device
        losses = self.stage.train_step(
            to_float(lr.to(device, non_blocking=True)), to_float(hr.to(device, non_blocking=True))
        )
        self._sums.add(losses, self.stage.skipped)
        self.progress.step += 1
        self.progress.batch += 1
        for logger in self.loggers:
            logger.on_step(self.progress.epoch, self.progress.step, losses)
        if self._may_ask():
            self.watch.judge_steps(int(self._sums.skipped_in_a_row))

    def _end_epoch(self) -> None:
        metrics = {f"train/{name}": value for name, value in self._sums.means().items()}
        metrics |= {f"train/{name}": rate for name, rate in self.stage.learning_rates().items()}
        self._sums.start_epoch()
        self.progress.epoch += 1
        self.progress.batch = 0
        validates = self._due(self.intervals.validate)
        if validates:
            # One process validates, the others wait: a best model must be best for all of them.
            # Uncompiled, for that would take a minute for every size of image.
            with torch.compiler.set_stance("force_eager"):
                found = self._validate() if self.fabric.is_global_zero else {}
            metrics |= self.fabric.broadcast(found)
        self._last_metrics = metrics
        for logger in self.loggers:
            logger.on_epoch(self.progress.epoch, self.progress.step, metrics)
        self.watch.judge_validation(metrics)
        self._store(metrics, good=validates or not self.validation)

    def _due(self, interval: int | None) -> bool:
        return interval is not None and (self.progress.epoch % interval == 0 or self._finished())

    def _validate(self) -> dict[str, float]:
        if not self.validation:
            return {}
        totals: dict[str, float] = {}
        shown: dict[str, Tensor] = {}
        shifts: list[Tensor] = []
        for index, name in enumerate(self.validation.names):
            result = evaluate_pair(
                self.stage.evaluated, *self.validation[index], self.validation.scale_factor
            )
            losses = self.stage.validation_losses(result.sr, result.hr)
            values = {name: float(loss) for name, loss in losses.items()}
            values |= {"PSNR": result.metrics["psnr"], "SSIM": result.metrics["ssim"]}
            shifts.append((result.sr - result.hr).mean(dim=(0, 2, 3)))
            for key, value in values.items():
                totals[key] = totals.get(key, 0.0) + value
            if index < _SHOWN_IMAGES and self._due(self.intervals.images):
                images = (("lr", result.lr), ("sr", result.sr), ("hr", result.hr))
                shown |= {f"val/{name}/{kind}": image[0] for kind, image in images}
        for logger in self.loggers if shown else ():
            logger.on_images(self.progress.step, shown)
        metrics = {f"val/{key}": total / len(self.validation) for key, total in totals.items()}
        # Colours that are off in some images this way, in others that way, are no drift.
        shift = torch.stack(shifts).mean(dim=0).abs().max()
        return metrics | {"val/color_shift": float(shift)}

    def _store(self, metrics: Mapping[str, float], *, good: bool) -> None:
        if self.progress.epoch > self.intervals.best_warmup and self._is_best(metrics):
            self.progress.best_psnr = metrics["val/PSNR"]
            self.progress.best_ssim = metrics["val/SSIM"]
            self._store_model("best_model.safetensors")
            self._store_checkpoint("best_checkpoint.pth", good=good)
        if self._due(self.intervals.checkpoint):
            self._store_checkpoint("checkpoint.pth", self.intervals.keep_checkpoints, good=good)
        if self._due(self.intervals.store_model):
            self._store_model(f"epoch_{self.progress.epoch}_model.safetensors")

    def _is_best(self, metrics: Mapping[str, float]) -> bool:
        """Better in both measures, as the description has it."""
        return (
            metrics.get("val/PSNR", -math.inf) > self.progress.best_psnr
            and metrics["val/SSIM"] > self.progress.best_ssim
        )

    def _store_checkpoint(self, what: str, keep: int = 0, *, good: bool = False) -> None:
        """Store everything that the next step depends on.

        Args:
            what: the end of the file's name.
            keep: how many older ones are kept beside it.
            good: validation has found nothing wrong.
        """
        state = {
            "run": self.files.run,
            "stage": self.stage.name,
            "epoch_i": self.progress.epoch,
            "hparams": self.hparams,
            "model_state_dict": self.stage.generator.state_dict(),
            "params_ema": self.stage.evaluated.state_dict(),
            "stage_state": self.stage.state_dict(),
            "progress": vars(self.progress),
            "metrics": self._last_metrics,
            "notes": self.notes,
            "sums": self._sums.state_dict(),
            "watch": self.watch.state_dict(),
            "samples": self.sampler.recipe,
            "scaler": self.fabric.strategy.precision.state_dict(),
            "random": _random_state(self.fabric.device),
            "good": good,
        }
        if self.fabric.is_global_zero:
            save_checkpoint(self.files.path(what), state, keep)

    def _store_model(self, what: str) -> None:
        network = self.stage.evaluated
        assert isinstance(network, RRDBNet)
        if not self.fabric.is_global_zero:
            return
        self.files.folder.mkdir(parents=True, exist_ok=True)
        metadata = model_metadata(
            self.stage.name,
            self.hparams,
            vars(self.progress),
            self._last_metrics,
            self.notes,
        )
        save_generator(self.files.path(what), network, stage=self.stage.name, metadata=metadata)

    def _tell_networks(self) -> None:
        lr, hr = (to_float(image)[None] for image in self.loader.dataset[0, 0])
        # A generator takes any size, and whole images may be large; a discriminator sees crops.
        inputs = {"generator": lr[..., :_DRAWN_SIZE, :_DRAWN_SIZE], "discriminator": hr}
        networks = {
            name: (network, inputs[name]) for name, network in self.stage.networks().items()
        }
        for logger in self.loggers:
            logger.on_networks(networks)

    def _tell(self, text: str) -> None:
        for logger in self.loggers:
            logger.on_message(text)

    def _tell_start(self) -> None:
        run = {
            "run": self.files.run,
            "stage": self.stage.name,
            "num_epochs": self.limits.num_epochs,
            "num_steps": self.limits.num_steps,
            "steps_per_epoch": self.sampler.batches,
            "batch_size": self.sampler.batch_size * self.fabric.world_size,
            "epoch": self.progress.epoch,
            "step": self.progress.step,
            "device": str(self.fabric.device),
            "hparams": self.hparams,
        }
        for logger in self.loggers:
            logger.on_start(run)


def _random_state(device: torch.device) -> dict[str, Tensor]:
    """PyTorch's generators: nothing draws from them today, and a network with dropout would."""
    state = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    return state


def _set_random_state(state: Mapping[str, Tensor], device: torch.device) -> None:
    torch.set_rng_state(state["cpu"])
    if device.type == "cuda" and "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"], device)

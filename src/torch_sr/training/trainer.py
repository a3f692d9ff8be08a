"""The training loop of a stage: epochs, validation, storage, logs.

The trainer does not know the losses; :mod:`torch_sr.training.stages` shows what a step does.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from torch_sr.data.crops.random_crops import to_float
from torch_sr.errors import CheckpointError, TrainingError
from torch_sr.models.files.writing import save_generator
from torch_sr.networks.rrdb import RRDBNet
from torch_sr.training.context import RunContext
from torch_sr.training.divergence import Divergence, DivergenceDetector
from torch_sr.training.epoch_means import EpochMeans
from torch_sr.training.loggers.combined import CombinedLogger
from torch_sr.training.runs.checkpoints import (
    load_last_good,
    save_checkpoint,
    withdraw_checkpoint,
)
from torch_sr.training.runs.export import model_metadata
from torch_sr.training.runs.progress import Progress, random_state, read_scores, set_random_state
from torch_sr.training.runs.result import Scores, StageResult
from torch_sr.training.settings import Every
from torch_sr.training.signals import Stop, stop_on_signal
from torch_sr.training.stage_base import Stage
from torch_sr.training.stage_data import StageData
from torch_sr.training.validation import Interrupted, Validated

_CHECKPOINT, _BEST_CHECKPOINT = "checkpoint.pth", "best_checkpoint.pth"
_MODEL, _BEST_MODEL = "model.safetensors", "best_model.safetensors"
_DRAWN_SIZE = 32
_STEPS_BETWEEN_CHECKS = 20  # asking a GPU, or the other processes, takes time


class Trainer:
    """Train a stage to its end, from its start or from a checkpoint.

    Args:
        context: the context of the run.
        stage: computes the steps.
        data: the training and validation data.
        measure_start: validate before the first step, because the network is already trained.
    """

    def __init__(
        self, context: RunContext, stage: Stage, data: StageData, *, measure_start: bool = False
    ) -> None:
        self.fabric = context.fabric
        self.stage = stage
        self.loader = data.loader
        self.sampler = data.sampler
        self.validation = data.validation
        self.watch = DivergenceDetector(context.config.watch)
        self.limits = data.limits
        self.intervals = context.settings.intervals
        self.files = context.files(stage)
        self._loggers = CombinedLogger(context.loggers)
        self.hparams = context.config.to_dict()
        self.notes = dict(data.notes)
        self.progress = Progress()
        self._sums = EpochMeans(context.fabric)
        self._last_metrics: dict[str, float] = {}
        self._start: Scores | None = None
        self._best: Scores | None = None
        self._validates = measure_start and len(data.validation) > 0
        """Whether a validation is due before the next step, after the checkpoint."""
        self._stored_ahead = False
        """Whether the newest checkpoint is of this step, and was stored before its validation."""
        self._stored_at, self._stored_validates = -1, False
        self._shown_at = 0
        self._reported: set[str] = set()

    @property
    def checkpoint_file(self) -> Path:
        """The newest checkpoint of this stage."""
        return self.files.path(_CHECKPOINT)

    @property
    def result(self) -> StageResult:
        """The result of the stage so far."""
        finished, best = self._finished(), self.files.path(_BEST_MODEL)
        return StageResult(
            self.stage.name,
            finished,
            self.checkpoint_file,
            best_model=best if best.is_file() else None,
            last_model=self.files.path(_MODEL) if finished else None,
            start=self._start,
            best=self._best,
            last=self._scores() if "val/PSNR" in self._last_metrics else None,
        )

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Resume from a checkpoint of this stage.

        Raises:
            CheckpointError: it is inside an epoch that would continue with other samples.
        """
        progress = Progress(**state["progress"])
        self._check_samples(progress, state["samples"])
        self.progress = progress
        self._last_metrics = dict(state["metrics"])
        self._start = read_scores(state.get("start"))  # missing in older checkpoints
        self._best = read_scores(state.get("best"))
        self._validates = self._stored_ahead = bool(state.get("validates", False))
        self._shown_at = int(state.get("shown_at", 0))
        self._stored_at = -1
        self.stage.load_state_dict(state["stage_state"])
        self.watch.load_state_dict(state["watch"])
        self._sums.load_state_dict(state["sums"])
        self.fabric.strategy.precision.load_state_dict(state["scaler"])
        set_random_state(state["random"], self.fabric.device)

    def _check_samples(self, progress: Progress, before: Mapping[str, int]) -> None:
        now = self.sampler.recipe
        if not progress.batch or before == now:
            return
        changes = ", ".join(
            f"{name} {before.get(name)} to {now[name]}"
            for name in now
            if before.get(name) != now[name]
        )
        raise CheckpointError(
            f"finish epoch {progress.epoch + 1} with the earlier settings, or start a new run from "
            f"a model: the epoch would continue with other samples ({changes})"
        )

    def fit(self, notes: Sequence[str] = ()) -> StageResult:
        """Train until the limits, or until a signal requests a stop.

        Args:
            notes: passed to the loggers at the start.

        Raises:
            CheckpointError: a checkpoint cannot be written.
            ModelError: a model cannot be written.
            TrainingError: the training diverged more often than allowed.
        """
        self._loggers.on_start(self._describe_run())
        for note in notes:
            self._loggers.on_message(note)
        with stop_on_signal(self._loggers.on_stop) as stop:
            if self.progress.step == 0:
                self._loggers.on_networks(self._example_inputs())
                # For a rollback, or if the process is killed in the first epoch.
                self._store_checkpoint(stop, good=True)
                self._stored_ahead = self._validates
            if not self._train(stop):
                return replace(self.result, finished=False, last_model=None)
        self._store_model(_MODEL)
        return self.result

    def _train(self, stop: Stop) -> bool:
        """Train to the end of the stage; False if a stop was requested."""
        while True:
            try:
                if self._validates and not self._pause(stop):
                    return False
                if self._finished():
                    return True
                if not self._run_epoch(stop):
                    return False
            except Divergence as divergence:
                self._roll_back(divergence)

    def _roll_back(self, divergence: Divergence) -> None:
        """Resume the last good checkpoint with lower learning rates, or raise TrainingError."""
        if self._stored_ahead and self.fabric.is_global_zero:
            withdraw_checkpoint(self.checkpoint_file)
        watch, before, start, best = self.watch.config, self.progress, self._start, self._best
        place = f"{self.stage.name}, epoch {before.epoch + 1}, step {before.step}: {divergence}"
        rollbacks = self.watch.rollbacks + 1
        if watch.action == "stop" or rollbacks > watch.max_rollbacks:
            tried = f" after {rollbacks - 1} rollbacks" if watch.action == "rollback" else ""
            raise TrainingError(
                f"{place}; stopped{tried}: lower the learning rate or set gradient_clip, and "
                f"resume from {self.checkpoint_file}"
            )
        state: Any = None
        if self.fabric.is_global_zero:
            state = load_last_good(self.checkpoint_file, self.files.path(_BEST_CHECKPOINT))
        self.load_state_dict(self.fabric.broadcast(state))
        self._validates = self._stored_ahead = False
        self._start, self._best = start, best
        # The best model on disk may be from a later epoch than this checkpoint.
        self.progress.best_psnr = max(self.progress.best_psnr, before.best_psnr)
        self.progress.best_ssim = max(self.progress.best_ssim, before.best_ssim)
        self.watch.rollbacks = rollbacks
        self.stage.scale_learning_rates(self.watch.lr_scale)
        self._loggers.on_message(
            f"{place}; rolled back to epoch {self.progress.epoch}, step {self.progress.step}, with "
            f"the learning rates times {self.watch.lr_scale:g}"
        )
        self._loggers.on_start(self._describe_run())

    def _finished(self) -> bool:
        at_steps = self.limits.num_steps is not None and self.progress.step >= self.limits.num_steps
        return at_steps or self.progress.epoch >= self.limits.num_epochs

    def _run_epoch(self, stop: Stop) -> bool:
        """Train one epoch, or the rest of one; False if a stop was requested."""
        self.sampler.epoch = self.progress.epoch
        self.sampler.skip_batches = self.progress.batch
        for lr, hr in self.loader:
            self._train_batch(lr, hr)
            if self._finished():
                break
            if self.progress.batch < self.sampler.batches and not self._continue(stop):
                return False
        self._close_epoch()
        if not self._pause(stop):
            return False
        if self._stop_requested(stop):
            self._store_if_newer(stop)
            return False
        return True

    def _continue(self, stop: Stop) -> bool:
        """Do what is due inside an epoch; False if a stop was requested."""
        if self._anything_due() and not self._pause(stop):
            return False
        if self._may_synchronize() and self._stop_requested(stop):
            self._store_if_newer(stop)
            return False
        return True

    def _may_synchronize(self) -> bool:
        """Whether to wait for the device and the other processes at this step."""
        alone = self.fabric.world_size == 1 and self.fabric.device.type == "cpu"
        return alone or self.progress.step % _STEPS_BETWEEN_CHECKS == 0

    def _stop_requested(self, stop: Stop) -> bool:
        """Whether any process received a request to stop."""
        if self.fabric.world_size == 1:
            return stop.is_set()
        asked = torch.tensor(float(stop.is_set()), device=self.fabric.device)
        answer: Any = self.fabric.all_reduce(asked, reduce_op="sum")
        return float(answer) > 0

    def _train_batch(self, lr: Tensor, hr: Tensor) -> None:
        device = self.fabric.device
        done = self.stage.train_step(
            to_float(lr.to(device, non_blocking=True)), to_float(hr.to(device, non_blocking=True))
        )
        self._sums.add(done.losses, done.skipped)
        self.progress.step += 1
        self.progress.batch += 1
        self._loggers.on_step(self.progress.epoch, self.progress.step, done.losses)
        if self._may_synchronize():
            self.watch.check_steps(int(self._sums.skipped_in_a_row))

    def _close_epoch(self) -> None:
        metrics = {f"train/{name}": value for name, value in self._sums.means().items()}
        metrics |= {f"train/{name}": rate for name, rate in self.stage.learning_rates().items()}
        self._sums.start_epoch()
        self._last_metrics = metrics
        self.progress.epoch += 1
        self.progress.batch = 0

    def _due(self, every: Every | None) -> bool:
        progress = self.progress
        if every is None or not progress.step:
            return False
        if every.unit == "steps":
            return progress.step % every.count == 0 or self._finished()
        return progress.batch == 0 and (progress.epoch % every.count == 0 or self._finished())

    def _anything_due(self) -> bool:
        what = self.intervals
        return any(map(self._due, (what.checkpoint, what.validate, what.store_model)))

    def _pause(self, stop: Stop) -> bool:
        """Validate, log and store what is due at this step; False if a stop was requested.

        The checkpoint is stored before the validation, so that a failing validation does not lose
        the epoch; a run that resumes there starts with the validation.
        """
        ends_epoch = self.progress.batch == 0 and self.progress.step > 0
        self._validates |= len(self.validation) > 0 and self._due(self.intervals.validate)
        validated: Validated | None = None
        if self._validates:
            if self._due(self.intervals.checkpoint) and not self._stored_ahead:
                self._store_checkpoint(stop)
                self._stored_ahead = True
            validated = self._validate(stop)
            if validated is None:
                return False
            self._record(validated)
        if ends_epoch:
            self._loggers.on_epoch(self.progress.epoch, self.progress.step, self._last_metrics)
        if validated is not None and self.progress.step:
            self.watch.check_validation(validated.metrics)
        self._store(stop, validated)
        return True

    def _record(self, validated: Validated) -> None:
        """Log the result of a validation, and mark it as done."""
        progress = self.progress
        self._shown_at = progress.step if self._shows_images() else self._shown_at
        self._validates = False
        if not progress.step:
            self._start = Scores(0, 0, validated.metrics)
        else:
            trained = {k: v for k, v in self._last_metrics.items() if not k.startswith("val/")}
            self._last_metrics = trained | validated.metrics
        for note in validated.notes:
            if note not in self._reported:
                self._reported.add(note)
                self._loggers.on_message(note)
        if validated.images:
            self._loggers.on_images(progress.step, validated.images)
        if progress.batch or not progress.step:
            self._loggers.on_validation(progress.epoch, progress.step, validated.metrics)

    def _validate(self, stop: Stop) -> Validated | None:
        """Measure the current network; None if a stop was requested during the validation."""
        validated = None
        try:
            # One process validates, the others wait, so that all agree on the best model.
            if self.fabric.is_global_zero:
                validated = self._measure(stop)
        except BaseException:  # out of memory, or a second Ctrl-C: the epoch is not lost
            self._store_if_newer(stop)
            raise
        shared: Any = self.fabric.broadcast(validated and replace(validated, images={}))
        if shared is None:
            self._store_if_newer(stop)
        return validated or shared

    def _measure(self, stop: Stop) -> Validated | None:
        def check_stop() -> None:
            if stop.is_set():
                raise Interrupted

        images = len(self.validation)
        self._loggers.on_activity("validate", 0, images)
        try:
            # Not compiled, because compiling takes a minute for each image size.
            with torch.compiler.set_stance("force_eager"):
                return self.validation.measure(
                    self.stage,
                    show=self._shows_images(),
                    between=check_stop,
                    on_image=lambda done: self._loggers.on_activity("validate", done, images),
                )
        except Interrupted:
            return None
        finally:
            self._loggers.on_activity("train")

    def _shows_images(self) -> bool:
        """Whether the interval has passed since images were last shown."""
        interval = self.intervals.images.in_steps(self.sampler.batches)
        step = self.progress.step
        return not step or self._finished() or step // interval > self._shown_at // interval

    def _store(self, stop: Stop, validated: Validated | None) -> None:
        good = validated is not None or not len(self.validation)
        progress, metrics = self.progress, self._last_metrics
        warm = progress.epoch + bool(progress.batch) > self.intervals.best_warmup
        if validated is not None and progress.step and warm and self._is_best(metrics):
            progress.best_psnr, progress.best_ssim = metrics["val/PSNR"], metrics["val/SSIM"]
            self._best = self._scores()
            self._store_model(_BEST_MODEL)
            self._store_checkpoint(stop, _BEST_CHECKPOINT, good=good)
        if self._stored_ahead or self._due(self.intervals.checkpoint):
            self._store_checkpoint(stop, good=good or not progress.step)
            self._stored_ahead = False
        if self._due(self.intervals.store_model):
            self._store_model(self._numbered_model())

    def _numbered_model(self) -> str:
        every = self.intervals.store_model
        if every is not None and every.unit == "steps":
            return f"step_{self.progress.step}_{_MODEL}"
        return f"epoch_{self.progress.epoch}_{_MODEL}"

    def _scores(self) -> Scores:
        found = {k: v for k, v in self._last_metrics.items() if k.startswith("val/")}
        return Scores(self.progress.epoch, self.progress.step, found)

    def _is_best(self, metrics: Mapping[str, float]) -> bool:
        """Whether both PSNR and SSIM are better than all before."""
        return (
            metrics.get("val/PSNR", -math.inf) > self.progress.best_psnr
            and metrics["val/SSIM"] > self.progress.best_ssim
        )

    def _store_if_newer(self, stop: Stop) -> None:
        """Store a checkpoint, unless the newest is already of this step."""
        if self._stored_at != self.progress.step or self._stored_validates != self._validates:
            self._store_checkpoint(stop)

    def _store_checkpoint(self, stop: Stop, what: str = _CHECKPOINT, *, good: bool = False) -> None:
        """Store everything that the next step depends on.

        Args:
            stop: a second request to stop is delayed until the file is written.
            what: the end of the file name.
            good: whether the validation found no divergence.
        """
        self._loggers.on_activity("store")
        state = self._state() | {"good": good}
        newest = what == _CHECKPOINT
        if self.fabric.is_global_zero:
            # If the due validation fails, the previous checkpoint is needed.
            keep = max(self.intervals.keep_checkpoints, int(self._validates)) if newest else 0
            with stop.shield():
                replaces = newest and self._stored_ahead
                save_checkpoint(self.files.path(what), state, keep, replace=replaces)
        if newest:
            self._stored_at, self._stored_validates = self.progress.step, self._validates
        self._loggers.on_activity("train")

    def _state(self) -> dict[str, Any]:
        return {
            "run": self.files.run,
            "stage": self.stage.name,
            "epoch_i": self.progress.epoch,
            "hparams": self.hparams,
            "model_state_dict": self.stage.generator.state_dict(),
            "params_ema": self.stage.evaluated.state_dict(),
            "stage_state": self.stage.state_dict(),
            "progress": vars(self.progress),
            "metrics": self._last_metrics,
            "start": self._start.to_dict() if self._start else None,
            "best": self._best.to_dict() if self._best else None,
            "validates": self._validates,
            "shown_at": self._shown_at,
            "notes": self.notes,
            "sums": self._sums.state_dict(),
            "watch": self.watch.state_dict(),
            "samples": self.sampler.recipe,
            "scaler": self.fabric.strategy.precision.state_dict(),
            "random": random_state(self.fabric.device),
        }

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

    def _example_inputs(self) -> dict[str, tuple[nn.Module, Tensor]]:
        """The networks by name, each with an example input, for the graphs of loggers."""
        lr, hr = (to_float(image)[None] for image in self.loader.dataset[0, 0])
        # A generator takes any size, and whole images may be large; a discriminator sees crops.
        inputs = {"generator": lr[..., :_DRAWN_SIZE, :_DRAWN_SIZE], "discriminator": hr}
        return {name: (network, inputs[name]) for name, network in self.stage.networks().items()}

    def _describe_run(self) -> dict[str, Any]:
        """What :meth:`~torch_sr.training.loggers.base.Logger.on_start` receives."""
        per_epoch = self.sampler.batches
        steps = self.limits.num_epochs * per_epoch
        validates = self.intervals.validate.in_steps(per_epoch) if len(self.validation) else None
        return {
            "run": self.files.run,
            "stage": self.stage.name,
            "num_epochs": self.limits.num_epochs,
            "num_steps": self.limits.num_steps,
            "steps_per_epoch": per_epoch,
            "total_steps": min(steps, self.limits.num_steps or steps),
            "steps_per_validation": validates,
            "batch_size": self.sampler.batch_size * self.fabric.world_size,
            "epoch": self.progress.epoch,
            "step": self.progress.step,
            "device": str(self.fabric.device),
            "hparams": self.hparams,
        }

"""The training loop of a stage: steps, epochs, and what is due between them.

The trainer does not know the losses; :mod:`torch_sr.training.stages` shows what a step does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from torch_sr.data.crops.random_crops import to_float
from torch_sr.training.context import RunContext
from torch_sr.training.loop.divergence import Divergence
from torch_sr.training.loop.rollback import roll_back
from torch_sr.training.loop.stage_schedule import StageSchedule
from torch_sr.training.loop.state import TrainerState
from torch_sr.training.loop.store import StageStore
from torch_sr.training.runs.result import StageResult
from torch_sr.training.signals import Stop, stop_on_signal
from torch_sr.training.stage_base import Stage
from torch_sr.training.stage_data import StageData
from torch_sr.training.validation import Interrupted, Validated

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
        has_validation = len(data.validation) > 0
        self.stage = stage
        self.schedule = StageSchedule(
            data.limits, context.settings.intervals, data.sampler.batches, has_validation
        )
        self.state = TrainerState(
            context.fabric, context.config.watch, validation_due=measure_start and has_validation
        )
        self.stop = Stop()
        self.store = StageStore(context, stage, data, self.state, self.stop)
        """Stores checkpoints, and restores the one to resume from."""
        self._context = context
        self._fabric = context.fabric
        self._loggers = context.loggers
        self._data = data
        self._reported: set[str] = set()

    @property
    def result(self) -> StageResult:
        """The result of the stage so far."""
        finished, best = self._is_over(), self.store.best_model
        return StageResult(
            self.stage.name,
            finished,
            self.store.checkpoint_file,
            best_model=best if best.is_file() else None,
            last_model=self.store.last_model if finished else None,
            start=self.state.start,
            best=self.state.best,
            last=self.state.scores(),
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
        with stop_on_signal(self.stop, self._loggers.on_stop):
            if self.state.progress.step == 0:
                self._loggers.on_networks(self._example_inputs())
                # For a rollback, or if the process is killed in the first epoch.
                self.store.save_checkpoint(good=True)
            if not self._train():
                return replace(self.result, finished=False, last_model=None)
        self.store.save_last_model()
        return self.result

    def _train(self) -> bool:
        """Train to the end of the stage; False if a stop was requested."""
        while True:
            try:
                if self.state.validation_due and not self._pause():
                    return False
                if self._is_over():
                    return True
                if not self._run_epoch():
                    return False
            except Divergence as divergence:
                message = roll_back(divergence, self.stage, self.state, self.store)
                self._loggers.on_message(message)
                self._loggers.on_start(self._describe_run())

    def _is_over(self) -> bool:
        return self.schedule.is_over(self.state.progress)

    def _run_epoch(self) -> bool:
        """Train one epoch, or the rest of one; False if a stop was requested."""
        sampler = self._data.sampler
        sampler.epoch = self.state.progress.epoch
        sampler.skip_batches = self.state.progress.batch
        for lr, hr in self._data.loader:
            self._train_batch(lr, hr)
            if self._is_over():
                break
            if self.state.progress.batch < sampler.batches and not self._continue():
                return False
        self.state.close_epoch(self.stage.learning_rates())
        return self._pause() and not self._stop_and_store()

    def _train_batch(self, lr: Tensor, hr: Tensor) -> None:
        device, state = self._fabric.device, self.state
        done = self.stage.train_step(
            to_float(lr.to(device, non_blocking=True)), to_float(hr.to(device, non_blocking=True))
        )
        state.count_step(done.losses, done.skipped)
        self._loggers.on_step(state.progress.epoch, state.progress.step, done.losses)
        if self._may_synchronize():
            state.watch.check_steps(int(state.sums.skipped_in_a_row))

    def _continue(self) -> bool:
        """Do what is due inside an epoch; False if a stop was requested."""
        if self.schedule.needs_anything(self.state.progress) and not self._pause():
            return False
        return not (self._may_synchronize() and self._stop_and_store())

    def _may_synchronize(self) -> bool:
        """Whether to wait for the device and the other processes at this step."""
        alone = self._fabric.world_size == 1 and self._fabric.device.type == "cpu"
        return alone or self.state.progress.step % _STEPS_BETWEEN_CHECKS == 0

    def _stop_and_store(self) -> bool:
        """If any process received a request to stop, store a checkpoint and return True."""
        if self._fabric.world_size == 1:
            requested = self.stop.is_set()
        else:
            asked = torch.tensor(float(self.stop.is_set()), device=self._fabric.device)
            answer: Any = self._fabric.all_reduce(asked, reduce_op="sum")
            requested = float(answer) > 0
        if requested:
            self.state.sums.share()
            self.store.save_checkpoint_if_newer()
        return requested

    def _pause(self) -> bool:
        """Validate, log and store what is due at this step; False if a stop was requested.

        The checkpoint is stored before the validation, so that a failing validation does not lose
        the epoch; a run that resumes there starts with the validation.
        """
        state, progress = self.state, self.state.progress
        state.sums.share()
        state.validation_due |= self.schedule.needs_validation(progress)
        validated: Validated | None = None
        if state.validation_due:
            if self.schedule.needs_checkpoint(progress) and not self.store.awaits_validation:
                self.store.save_checkpoint()
            validated = self._validate()
            if validated is None:
                return False
            self._record(validated)
        if progress.batch == 0 and progress.step > 0:
            self._loggers.on_epoch(progress.epoch, progress.step, state.metrics)
        if validated is not None and progress.step:
            state.watch.check_validation(validated.metrics)
        self._store(validated)
        return True

    def _record(self, validated: Validated) -> None:
        """Log the result of a validation, and mark it as done."""
        state, progress = self.state, self.state.progress
        state.shown_at = progress.step if self._shows_images() else state.shown_at
        state.add_validation(validated.metrics)
        for note in validated.notes:
            if note not in self._reported:
                self._reported.add(note)
                self._loggers.on_message(note)
        if validated.images:
            self._loggers.on_images(progress.step, validated.images)
        if progress.batch or not progress.step:
            self._loggers.on_validation(progress.epoch, progress.step, validated.metrics)

    def _shows_images(self) -> bool:
        return self.schedule.needs_images(self.state.progress, self.state.shown_at)

    def _store(self, validated: Validated | None) -> None:
        """Store the models and the checkpoint that are due."""
        progress = self.state.progress
        good = validated is not None or not self.schedule.has_validation
        if validated is not None and self.schedule.allows_best(progress) and self.state.mark_best():
            self.store.save_best(good=good)
        if self.store.awaits_validation or self.schedule.needs_checkpoint(progress):
            self.store.save_checkpoint(good=good or not progress.step)
        if self.schedule.needs_model(progress):
            self.store.save_numbered_model(self.schedule.model_name(progress))

    def _validate(self) -> Validated | None:
        """Measure the current network; None if a stop was requested during the validation."""
        validated = None
        try:
            # One process validates, the others wait, so that all agree on the best model.
            if self._fabric.is_global_zero:
                validated = self._measure()
        except BaseException:  # out of memory, or a second Ctrl-C: the epoch is not lost
            self.store.save_checkpoint_if_newer()
            raise
        shared: Any = self._fabric.broadcast(validated and replace(validated, images={}))
        if shared is None:
            self.store.save_checkpoint_if_newer()
        return validated or shared

    def _measure(self) -> Validated | None:
        def check_stop() -> None:
            if self.stop.is_set():
                raise Interrupted

        images = len(self._data.validation)
        self._loggers.on_activity("validate", 0, images)
        try:
            # Not compiled, because compiling takes a minute for each image size.
            with torch.compiler.set_stance("force_eager"):
                return self._data.validation.measure(
                    self.stage,
                    show=self._shows_images(),
                    between=check_stop,
                    on_image=lambda done: self._loggers.on_activity("validate", done, images),
                )
        except Interrupted:
            return None
        finally:
            self._loggers.on_activity("train")

    def _example_inputs(self) -> dict[str, tuple[nn.Module, Tensor]]:
        """The networks by name, each with an example input, for the graphs of loggers."""
        lr, hr = (to_float(image)[None] for image in self._data.loader.dataset[0, 0])
        # A generator takes any size, and whole images may be large; a discriminator sees crops.
        inputs = {"generator": lr[..., :_DRAWN_SIZE, :_DRAWN_SIZE], "discriminator": hr}
        return {name: (network, inputs[name]) for name, network in self.stage.networks().items()}

    def _describe_run(self) -> dict[str, Any]:
        """What :meth:`~torch_sr.training.loggers.base.Logger.on_start` receives."""
        data, progress = self._data, self.state.progress
        return {
            "run": self._context.name,
            "stage": self.stage.name,
            "num_epochs": data.limits.num_epochs,
            "num_steps": data.limits.num_steps,
            "steps_per_epoch": data.sampler.batches,
            "total_steps": data.total_steps,
            "steps_per_validation": self.schedule.steps_per_validation,
            "batch_size": data.sampler.batch_size * self._fabric.world_size,
            "epoch": progress.epoch,
            "step": progress.step,
            "device": str(self._fabric.device),
            "hparams": self._context.config.to_dict(),
        }

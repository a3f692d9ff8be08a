"""What is due after a step: the end, a checkpoint, a validation, a model, images."""

from __future__ import annotations

from dataclasses import dataclass

from torch_sr.training.loop.state import Progress
from torch_sr.training.settings import Every, Intervals, StageLimits


@dataclass(frozen=True)
class StageSchedule:
    """When a stage ends, and what is due before that, as functions of its progress.

    Args:
        limits: the length of the stage.
        intervals: how often each thing is done.
        steps_per_epoch: mini-batches in an epoch.
        has_validation: whether there are validation images.
    """

    limits: StageLimits
    intervals: Intervals
    steps_per_epoch: int
    has_validation: bool = True

    def is_over(self, at: Progress) -> bool:
        """Whether the stage is finished."""
        at_steps = self.limits.num_steps is not None and at.step >= self.limits.num_steps
        return at_steps or at.epoch >= self.limits.num_epochs

    def needs_checkpoint(self, at: Progress) -> bool:
        """Whether a checkpoint is due."""
        return self._is_due(self.intervals.checkpoint, at)

    def needs_validation(self, at: Progress) -> bool:
        """Whether a validation is due."""
        return self.has_validation and self._is_due(self.intervals.validate, at)

    def needs_model(self, at: Progress) -> bool:
        """Whether a model with a name of its own is due."""
        return self._is_due(self.intervals.store_model, at)

    def needs_anything(self, at: Progress) -> bool:
        """Whether anything but images is due."""
        return self.needs_checkpoint(at) or self.needs_validation(at) or self.needs_model(at)

    def needs_images(self, at: Progress, shown_at: int) -> bool:
        """Whether a validation logs images, which were last logged at the step ``shown_at``."""
        interval = self.intervals.images.in_steps(self.steps_per_epoch)
        return not at.step or self.is_over(at) or at.step // interval > shown_at // interval

    def allows_best(self, at: Progress) -> bool:
        """Whether the warm-up of the best model is over; never before the first step."""
        begun = at.epoch + bool(at.batch)
        return at.step > 0 and begun > self.intervals.best_warmup

    def model_name(self, at: Progress) -> str:
        """The name of a model that is due: ``step_500`` or ``epoch_10``."""
        every = self.intervals.store_model
        if every is not None and every.unit == "steps":
            return f"step_{at.step}"
        return f"epoch_{at.epoch}"

    @property
    def steps_per_validation(self) -> int | None:
        """Mini-batches between two validations; None without validation images."""
        return (
            self.intervals.validate.in_steps(self.steps_per_epoch) if self.has_validation else None
        )

    def _is_due(self, every: Every | None, at: Progress) -> bool:
        if every is None or not at.step:
            return False
        if every.unit == "steps":
            return at.step % every.count == 0 or self.is_over(at)
        return at.batch == 0 and (at.epoch % every.count == 0 or self.is_over(at))

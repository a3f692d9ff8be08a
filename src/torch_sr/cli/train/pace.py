"""Estimate the remaining time of a training."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

from torch_sr.training.loggers.base import Activity

_WINDOW = 300.0  # seconds over which the speed is averaged
_WARM_UP = 2  # steps that are slower than the others
_TIMED_STEPS = 5
_TIMED_SECONDS = 3.0


class Pace:
    """Measure the time that a stage spends on training, validation and storage.

    Args:
        run: see :meth:`~torch_sr.training.loggers.base.Logger.on_start`.
        clock: returns the time in seconds; by default the system's clock.
    """

    def __init__(self, run: Mapping[str, Any], clock: Callable[[], float] | None = None) -> None:
        self._run = run
        self._clock = clock or time.monotonic
        self._activity: Activity = "train"
        self._since = self._clock()
        self._seconds: dict[Activity, float] = {"train": 0.0, "validate": 0.0, "store": 0.0}
        self._first_step = self._step = int(run["step"])
        self._timed: deque[tuple[float, int]] = deque([(0.0, self._step)], maxlen=2000)
        self._validations = 0

    def switch(self, activity: Activity) -> None:
        """Start another activity."""
        self._settle()
        if activity == "train" and self._activity == "validate":
            self._validations += 1
        self._activity = activity

    def count(self, step: int) -> None:
        """Record the number of mini-batches that are done."""
        self._settle()
        self._step = step
        if step - self._first_step == _WARM_UP:
            self._timed.clear()
        trained = self._seconds["train"]
        self._timed.append((trained, step))
        while len(self._timed) > 2 and trained - self._timed[0][0] > _WINDOW:
            self._timed.popleft()

    @property
    def steps_per_second(self) -> float | None:
        """Speed of the training without validation and storage; None before two steps."""
        (before, first), (now, last) = self._timed[0], self._timed[-1]
        return (last - first) / (now - before) if last > first and now > before else None

    @property
    def seconds_per_validation(self) -> float | None:
        """Mean time of a validation; None before the first one is done."""
        return self._seconds["validate"] / self._validations if self._validations else None

    @property
    def is_known(self) -> bool:
        """Whether enough steps were timed for an estimate."""
        (before, first), (now, last) = self._timed[0], self._timed[-1]
        return last - first >= _TIMED_STEPS and now - before >= _TIMED_SECONDS

    def left(self) -> tuple[float, float] | None:
        """Seconds left in the stage, and how many of these are for validations; None if unknown."""
        speed = self.steps_per_second
        if speed is None:
            return None
        total = int(self._run["total_steps"])
        validating = self._validations_left(total) * (self.seconds_per_validation or 0.0)
        storing = self._seconds["store"] / max(1, self._step - self._first_step)
        return (total - self._step) * (1 / speed + storing) + validating, validating

    def estimate(self) -> str:
        """The remaining time in words; empty if it is unknown."""
        left = self.left()
        if left is None:
            return ""
        seconds, validating = left
        text = f"about {spell(seconds)} left on this machine"
        if self._run["steps_per_validation"] is None:
            return text
        if self.seconds_per_validation is None:
            return f"{text}, and the validations"
        return f"{text}, {spell(validating)} of it for validation"

    def _validations_left(self, total: int) -> int:
        interval = self._run["steps_per_validation"]
        if interval is None or self._step >= total:
            return 0
        return int(total // interval - self._step // interval + bool(total % interval))

    def _settle(self) -> None:
        now = self._clock()
        self._seconds[self._activity] += now - self._since
        self._since = now


def spell(seconds: float) -> str:
    """A span of time in two units at most.

    >>> spell(12000), spell(65), spell(4)
    ('3 h 20 min', '1 min 5 s', '4 s')
    """
    left = timedelta(seconds=round(seconds))
    hours, minutes = left.seconds // 3600, left.seconds % 3600 // 60
    parts = ((left.days, "d"), (hours, "h"), (minutes, "min"), (left.seconds % 60, "s"))
    first = next((i for i, (number, _) in enumerate(parts) if number), 3)
    return " ".join(f"{number} {unit}" for number, unit in parts[first : first + 2] if number) or (
        "0 s"
    )

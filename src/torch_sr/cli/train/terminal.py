"""Show the progress of a training: bars, or a line per epoch."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Column
from rich.text import Text
from torch import Tensor

from torch_sr.cli.train.pace import Pace
from torch_sr.training.loggers.base import Activity, Logger

_SECONDS_BETWEEN_LOSSES = 1.0  # reading a loss waits for the device


class _Bars(Progress):
    """Bars, and a full-width line of losses below them."""

    losses = ""

    def get_renderables(self) -> Iterator[RenderableType]:
        yield self.make_tasks_table(self.tasks)
        if self.losses:
            yield Text(self.losses, no_wrap=True, overflow="ellipsis")


class ConsoleLogger(Logger):
    """Show the progress of a run, its losses, its speed and the time left, on stderr.

    Args:
        console: where to print; stderr by default.
    """

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True)
        self._bars = _Bars(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(table_column=Column(no_wrap=True)),
            TextColumn("{task.fields[pace]}", table_column=Column(no_wrap=True)),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._run: dict[str, Any] = {}
        self._pace: Pace | None = None
        self._estimated: set[bool] = set()
        """Estimates reported so far: without validations (False), with validations (True)."""
        self._losses_read = -math.inf

    def on_start(self, run: Mapping[str, Any]) -> None:
        self._run = dict(run)
        self._pace = Pace(run, time.monotonic)
        self._estimated = set()
        per_epoch, step, total = run["steps_per_epoch"], run["step"], run["total_steps"]
        self._say(
            f"{run['stage']}: {total} steps of {run['batch_size']} crops, {per_epoch} steps per "
            f"epoch, on {run['device']}" + (f"; resuming after step {step}" if step else "")
        )
        for task in self._bars.task_ids:  # from the previous stage, or from before a rollback
            self._bars.remove_task(task)
        done = step - run["epoch"] * per_epoch
        self._epoch = self._bars.add_task("", total=per_epoch, completed=done, pace="")
        self._whole = self._bars.add_task(run["stage"], total=total, completed=step, pace="")
        self._bars.losses = ""
        self._bars.start()

    def on_step(self, epoch: int, step: int, losses: Mapping[str, Tensor]) -> None:
        assert self._pace is not None
        self._pace.count(step)
        self._estimate()
        self._show_epoch(epoch, step)
        self._bars.update(self._whole, completed=step, pace=self._describe_pace())
        now = time.monotonic()
        if self._console.is_terminal and now - self._losses_read > _SECONDS_BETWEEN_LOSSES:
            self._losses_read = now
            shown = (f"{name} {float(loss):.4g}" for name, loss in losses.items())
            self._bars.losses = "  ".join(shown)

    def on_activity(self, activity: Activity, done: int, total: int) -> None:
        if self._pace is not None and not done:
            self._pace.switch(activity)
        if activity == "validate":
            self._bars.update(
                self._epoch, description="validating", completed=done, total=max(total, 1)
            )

    def on_epoch(self, epoch: int, step: int, metrics: Mapping[str, float]) -> None:
        self._estimate()
        # With bars, a line for every epoch would scroll important lines away.
        if not self._console.is_terminal or "val/PSNR" in metrics:
            self._say_metrics(f"epoch {epoch}/{self._run['num_epochs']} step {step}", metrics)

    def on_validation(self, epoch: int, step: int, metrics: Mapping[str, float]) -> None:
        self._say_metrics(f"step {step}" if step else "start", metrics)
        self._estimate()
        self._show_epoch(epoch, step)

    def on_stop(self) -> None:
        self._say(
            "stopping: the checkpoint is stored first; press Ctrl-C again to interrupt at once"
        )

    def on_message(self, text: str) -> None:
        self._say(text)

    def close(self) -> None:
        self._bars.stop()

    def _show_epoch(self, epoch: int, step: int) -> None:
        per_epoch = self._run["steps_per_epoch"]
        self._bars.update(
            self._epoch,
            description=f"epoch {epoch + 1}/{self._run['num_epochs']}",
            completed=step - epoch * per_epoch,
            total=per_epoch,
        )

    def _say_metrics(self, place: str, metrics: Mapping[str, float]) -> None:
        shown = [f"{name} {value:.5g}" for name, value in metrics.items()]
        parts = [f"{self._run['stage']} {place}", self._describe_pace(), *shown]
        self._say("  ".join(part for part in parts if part))

    def _describe_pace(self) -> str:
        """Speed in images per second, and the time left including validations; empty at first."""
        assert self._pace is not None
        speed, left = self._pace.steps_per_second, self._pace.left()
        if speed is None or left is None:
            return ""
        until = timedelta(seconds=round(left[0]))
        return f"{speed * self._run['batch_size']:.1f} images/s  {until} left"

    def _estimate(self) -> None:
        """Report once how long the stage takes, and again after the first validation."""
        pace = self._pace
        if pace is None or not pace.is_known:
            return
        complete = (
            self._run["steps_per_validation"] is None or pace.seconds_per_validation is not None
        )
        if complete not in self._estimated and True not in self._estimated:
            self._estimated.add(complete)
            self._say(f"{self._run['stage']}: {pace.estimate()}")

    def _say(self, text: str) -> None:
        self._console.print(text, highlight=False, soft_wrap=True, markup=False)

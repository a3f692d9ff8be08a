"""A training on the terminal: bars for epoch and run, or one line an epoch where it is none."""

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

from torch_sr.training.loggers import Logger

_SECONDS_BETWEEN_LOSSES = 1.0  # to read one waits for the device
_SECONDS_OF_SPEED = 300.0  # over which the speed is averaged


class _Bars(Progress):
    """Bars, and below them the losses over the whole width."""

    losses = ""

    def get_renderables(self) -> Iterator[RenderableType]:
        yield self.make_tasks_table(self.tasks)
        if self.losses:
            yield Text(self.losses, no_wrap=True, overflow="ellipsis")


class ConsoleLogger(Logger):
    """Show how far a run is, its losses, its speed and the time left, on stderr.

    Args:
        console: where to; stderr by default.
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
            speed_estimate_period=_SECONDS_OF_SPEED,
        )
        self._run: dict[str, Any] = {}
        self._losses_read = -math.inf

    def on_start(self, run: Mapping[str, Any]) -> None:
        self._run = dict(run)
        per_epoch, step = run["steps_per_epoch"], run["step"]
        total = run["num_epochs"] * per_epoch
        total = min(total, run["num_steps"] or total)
        self._say(
            f"{run['stage']}: {total} steps of {run['batch_size']} crops, {per_epoch} steps an "
            f"epoch, on {run['device']}" + (f"; going on after step {step}" if step else "")
        )
        for task in self._bars.task_ids:  # of the stage before, or before a rollback
            self._bars.remove_task(task)
        done = step - run["epoch"] * per_epoch
        self._epoch = self._bars.add_task("", total=per_epoch, completed=done, pace="")
        self._whole = self._bars.add_task(run["stage"], total=total, completed=step, pace="")
        self._bars.losses = ""
        self._bars.start()

    def on_step(self, epoch: int, step: int, losses: Mapping[str, Tensor]) -> None:
        done = step - epoch * self._run["steps_per_epoch"]
        name = f"epoch {epoch + 1}/{self._run['num_epochs']}"
        self._bars.update(self._epoch, completed=done, description=name)
        self._bars.update(self._whole, completed=step)
        self._bars.update(self._whole, pace=self._pace())
        now = time.monotonic()
        if self._console.is_terminal and now - self._losses_read > _SECONDS_BETWEEN_LOSSES:
            self._losses_read = now
            shown = (f"{name} {float(loss):.4g}" for name, loss in losses.items())
            self._bars.losses = "  ".join(shown)

    def on_epoch(self, epoch: int, step: int, metrics: Mapping[str, float]) -> None:
        # With a bar, a line for every epoch would scroll what matters away.
        if self._console.is_terminal and "val/PSNR" not in metrics:
            return
        place = f"{self._run['stage']} epoch {epoch}/{self._run['num_epochs']} step {step}"
        shown = [f"{name} {value:.5g}" for name, value in metrics.items()]
        self._say("  ".join([place, self._pace(), *shown]))

    def on_message(self, text: str) -> None:
        self._say(text)

    def close(self) -> None:
        self._bars.stop()

    def _pace(self) -> str:
        """Images a second and the time left; nothing before two steps."""
        whole = next(task for task in self._bars.tasks if task.id == self._whole)
        if not whole.speed or whole.remaining is None:
            return ""
        left = timedelta(seconds=round(whole.remaining / whole.speed))
        return f"{whole.speed * self._run['batch_size']:.1f} images/s  {left} left"

    def _say(self, text: str) -> None:
        self._console.print(text, highlight=False, soft_wrap=True, markup=False)

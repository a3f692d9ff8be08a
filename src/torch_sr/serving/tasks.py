"""Tasks, from the upload to the result, and the bounded queue in which they wait."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Literal

from torch_sr.inference.files.jobs import Job
from torch_sr.inference.files.options import BatchOptions
from torch_sr.models.loading import ModelChoice
from torch_sr.serving.errors import RequestError

State = Literal["queued", "running", "done", "failed", "cancelled"]
FINISHED = ("done", "failed", "cancelled")

_log = logging.getLogger(__name__)


class StoppedError(Exception):
    """A task ends before its result is complete."""


@dataclass(frozen=True)
class Work:
    """What a task computes.

    Args:
        job: the files.
        options: how they are converted.
        choice: the model and its strength.
        tta: whether to average over flips and rotations.
    """

    job: Job
    options: BatchOptions
    choice: ModelChoice
    tta: bool = False


class Task:
    """An upload on its way to a result; thread-safe.

    Args:
        task_id: unique.
        name: of the uploaded file.
        work: what to compute.
        is_job: whether it is stored, so that it survives a restart.
        on_change: called with the task and its next state, before others can see that state; its
            errors are logged.

    Attributes:
        state: ``queued``, ``running``, ``done``, ``failed`` or ``cancelled``.
        progress: the part that is computed, in [0, 1].
        notes: what the result could not keep of the source, when done.
        error: why it failed.
        created, started, finished: seconds since 1970; None if it is not there yet.
    """

    def __init__(
        self,
        task_id: str,
        name: str,
        work: Work,
        *,
        is_job: bool = False,
        on_change: Callable[[Task, State], None] = lambda *_: None,
    ) -> None:
        self.id = task_id
        self.name = name
        self.work = work
        self.is_job = is_job
        self.state: State = "queued"
        self.progress = 0.0
        self.notes: tuple[str, ...] = ()
        self.error: RequestError | None = None
        self.created = time.time()
        self.started: float | None = None
        self.finished: float | None = None
        self.queue: TaskQueue | None = None
        self._on_change = on_change
        self._start = time.monotonic()  # unlike the time of day, it does not jump
        self._cancelled = False
        self._is_ending = False
        self._lock = threading.Lock()
        self._listeners: list[Callable[[], None]] = []
        self._ended = threading.Event()

    @property
    def result(self) -> Path:
        """The file of the result, which exists when the task is done."""
        return self.work.job.target

    @property
    def folder(self) -> Path:
        """The folder of its files, which has no others."""
        return self.work.job.source.parent

    @property
    def position(self) -> int:
        """How many tasks are computed before it, of those that wait."""
        return self.queue.position(self) if self.queue is not None else 0

    @property
    def seconds_left(self) -> float | None:
        """Estimate at its speed so far; None before the first tile."""
        if self.state != "running" or self.started is None or not self.progress:
            return None
        return (time.time() - self.started) * (1 - self.progress) / self.progress

    def wait(self, seconds: float | None = None) -> bool:
        """Wait until it has finished, or for some seconds; returns whether it has."""
        return self._ended.wait(seconds)

    def call_when_finished(self, function: Callable[[], None]) -> None:
        """Call a function when it has finished, in the thread of its worker."""
        with self._lock:
            if not self._ended.is_set():
                self._listeners.append(function)
                return
        function()

    def cancel(self) -> None:
        """Cancel it: at once while it waits, after the current tile while it is computed."""
        self._cancelled = True
        if self.queue is not None and self.queue.remove(self):
            self.finish("cancelled")

    def stop(self, reason: RequestError) -> None:
        """Let it fail now; if it is computed, that ends after the current tile."""
        self._cancelled = True
        self.finish("failed", error=reason)

    def put_back(self) -> None:
        """Leave it queued for the next start; if it is computed, that ends after the tile."""
        self._cancelled = True
        self._end("queued")

    def check(self, time_limit: float) -> None:
        """Called after each tile.

        Raises:
            StoppedError: it was cancelled or stopped.
            RequestError: it takes too long.
        """
        if self._cancelled:
            raise StoppedError
        if time.monotonic() - self._start > time_limit:
            raise RequestError(
                f"stopped after {time_limit:g} seconds, the time limit of this server",
                status=HTTPStatus.GATEWAY_TIMEOUT,
                remedy="send a smaller image or choose a smaller model",
            )

    def start(self) -> bool:
        """Mark it as running; returns whether it is still wanted."""
        if self._cancelled:
            self.finish("cancelled")
            return False
        self.started, self._start = time.time(), time.monotonic()
        self._announce("running")
        self.state = "running"
        return True

    def finish(
        self, state: State, *, error: RequestError | None = None, notes: tuple[str, ...] = ()
    ) -> None:
        """Mark it as finished, unless it is already."""
        self._end(state, error, notes)

    def _end(
        self, state: State, error: RequestError | None = None, notes: tuple[str, ...] = ()
    ) -> None:
        with self._lock:
            if self._is_ending:
                return
            self._is_ending = True
        self.error, self.notes, self.finished = error, notes, time.time()
        self._announce(state)
        with self._lock:
            self.state = state
            self._ended.set()
        for function in self._listeners:
            try:
                function()
            except Exception:
                _log.exception("task %s: a listener failed", self.id)

    def _announce(self, state: State) -> None:
        """Record the next state; a full disk must not leave others waiting forever."""
        try:
            self._on_change(self, state)
        except Exception:
            _log.exception("task %s: its state %s could not be recorded", self.id, state)


class TaskQueue:
    """Tasks that wait, in order; a bounded number.

    Args:
        most: how many may wait.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._tasks: deque[Task] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._pixels_per_second = 0.0

    def __len__(self) -> int:
        return len(self._tasks)

    @property
    def is_full(self) -> bool:
        """Whether another task would be refused."""
        return len(self._tasks) >= self._most

    def put(self, task: Task, *, even_if_full: bool = False) -> None:
        """Add a task at the end.

        Raises:
            RequestError: the queue is full, with the status 429, or the service stops, with 503.
        """
        with self._changed:
            self._refuse_if_closed()
            if not even_if_full:
                self.check()
            task.queue = self
            self._tasks.append(task)
            self._changed.notify()

    def check(self, arriving: int = 0) -> None:
        """Raise what :meth:`put` would raise now.

        Args:
            arriving: further tasks, of which no more may come than may wait.
        """
        with self._changed:
            self._refuse_if_closed()
            if self.is_full or arriving >= self._most:
                raise RequestError(
                    f"{max(len(self._tasks), arriving)} requests are waiting",
                    status=HTTPStatus.TOO_MANY_REQUESTS,
                    remedy="try again later",
                    retry_after=self._seconds_to_wait(),
                )

    def _refuse_if_closed(self) -> None:
        if self._closed:
            raise RequestError(
                "the server is stopping",
                status=HTTPStatus.SERVICE_UNAVAILABLE,
                remedy="try again later",
                retry_after=10,
            )

    def take(self) -> Task | None:
        """Wait for the next task; None when the queue is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._tasks or self._closed)
            return None if self._closed else self._tasks.popleft()

    def remove(self, task: Task) -> bool:
        """Remove a task; returns whether it was still waiting."""
        with self._changed:
            if task not in self._tasks:
                return False
            self._tasks.remove(task)
            return True

    def position(self, task: Task) -> int:
        """How many tasks are before it; 0 if it does not wait."""
        with self._changed:
            return self._tasks.index(task) if task in self._tasks else 0

    def close(self) -> list[Task]:
        """Give out no more tasks; returns those that wait."""
        with self._changed:
            self._closed = True
            waiting = list(self._tasks)
            self._tasks.clear()
            self._changed.notify_all()
            return waiting

    def count_speed(self, pixels: int, seconds: float) -> None:
        """Take a finished task into the estimate of the time to wait."""
        speed = pixels / max(seconds, 1e-3)
        before = self._pixels_per_second or speed
        self._pixels_per_second = 0.8 * before + 0.2 * speed

    def _seconds_to_wait(self) -> int:
        """About when half of the waiting tasks are done: from 1 second to 10 minutes."""
        pixels = sum(task.work.job.pixels for task in self._tasks) / 2
        seconds = pixels / self._pixels_per_second if self._pixels_per_second else 5
        return int(min(max(1, round(seconds)), 600))

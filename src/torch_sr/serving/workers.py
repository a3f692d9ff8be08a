"""Threads that have tasks computed: while one is computed, others are decoded and encoded."""

from __future__ import annotations

import logging
import threading
import time

from torch_sr.serving.computing import Computer, explain
from torch_sr.serving.errors import RequestError
from torch_sr.serving.metrics import ServiceMetrics
from torch_sr.serving.tasks import StoppedError, Task, TaskQueue

_log = logging.getLogger(__name__)


class Workers:
    """The threads of a computer, one for each task that it computes at once.

    Args:
        queue: where they take tasks from.
        computer: computes them.
        metrics: where they count.
        time_limit: seconds for one task.
    """

    def __init__(
        self,
        queue: TaskQueue,
        computer: Computer,
        metrics: ServiceMetrics,
        time_limit: float,
    ) -> None:
        self._queue = queue
        self._computer = computer
        self._metrics = metrics
        self._time_limit = time_limit
        self._lock = threading.Lock()
        self.running: set[Task] = set()
        self._threads = [
            threading.Thread(target=self._work, name=f"upscaling-{n}", daemon=True)
            for n in range(computer.tasks_at_once)
        ]

    def start(self) -> None:
        """Start the threads."""
        for thread in self._threads:
            thread.start()

    @property
    def are_alive(self) -> bool:
        """Whether all threads run."""
        return all(thread.is_alive() for thread in self._threads)

    def join(self, seconds: float) -> None:
        """Wait until the threads have ended, after the queue was closed."""
        deadline = time.monotonic() + seconds
        for thread in self._threads:
            if thread.ident is not None:  # it was started
                thread.join(max(0.0, deadline - time.monotonic()))

    def _work(self) -> None:
        while (task := self._queue.take()) is not None:
            with self._lock:
                self.running.add(task)
            try:
                if task.start():
                    self._compute(task)
            except Exception:  # of the store, for example a full disk; the thread goes on
                _log.exception("task %s", task.id)
            finally:
                with self._lock:
                    self.running.discard(task)

    def _compute(self, task: Task) -> None:
        """Compute a task; it is finished afterwards, also after an unexpected error."""
        try:
            notes = self._upscale(task)
        except StoppedError:
            task.finish("cancelled")
        except Exception as error:
            if not isinstance(error, RequestError):  # it is not the client's fault
                _log.error("task %s (%s)", task.id, task.name, exc_info=error)
            task.finish("failed", error=explain(error))
        else:
            task.finish("done", notes=notes)

    def _upscale(self, task: Task) -> tuple[str, ...]:
        start, pixels = time.perf_counter(), task.work.job.pixels

        def on_progress(part: float) -> None:
            task.check(self._time_limit)
            task.progress = part

        notes = self._computer.compute(task.work, on_progress)
        self._queue.count_speed(pixels, time.perf_counter() - start)
        self._metrics.count_pixels(pixels)
        return notes

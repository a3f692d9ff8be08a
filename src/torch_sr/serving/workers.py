"""Threads that compute tasks: while one is computed, others are decoded and encoded."""

from __future__ import annotations

import logging
import threading
import time
from http import HTTPStatus

from torch_sr.errors import DeviceMemoryError, TorchSRError
from torch_sr.inference.files.batch import write_result
from torch_sr.inference.files.jobs import Job
from torch_sr.serving.errors import RequestError, internal_error, is_disk_full, no_room
from torch_sr.serving.metrics import ServiceMetrics
from torch_sr.serving.offers import Upscalers
from torch_sr.serving.tasks import StoppedError, Task, TaskQueue
from torch_sr.serving.uploads import unreadable

_log = logging.getLogger(__name__)


class Workers:
    """The threads of a device.

    Args:
        queue: where they take tasks from.
        upscalers: of the device.
        metrics: where they count.
        time_limit: seconds for one task.
        number: of threads.
    """

    def __init__(
        self,
        queue: TaskQueue,
        upscalers: Upscalers,
        metrics: ServiceMetrics,
        time_limit: float,
        number: int,
    ) -> None:
        self._queue = queue
        self._upscalers = upscalers
        self._metrics = metrics
        self._time_limit = time_limit
        self._lock = threading.Lock()
        self.running: set[Task] = set()
        self._threads = [
            threading.Thread(target=self._work, name=f"upscaling-{n}", daemon=True)
            for n in range(number)
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
            task.finish("failed", error=self._explain(task, error))
        else:
            task.finish("done", notes=notes)

    def _upscale(self, task: Task) -> tuple[str, ...]:
        work, notes = task.work, list[str]()
        upscaler = self._upscalers.get(work.choice, tta=work.tta)
        start = time.perf_counter()

        def on_tile(_: Job, done: int, total: int) -> None:
            task.check(self._time_limit)
            task.progress = done / max(total, done, 1)

        try:
            write_result(upscaler, work.job, work.options, on_tile, notes.append)
        except (RequestError, DeviceMemoryError):
            raise
        except TorchSRError as error:
            if is_disk_full(error):
                raise
            raise unreadable(work.job, str(error)) from error
        self._queue.count_speed(work.job.pixels, time.perf_counter() - start)
        self._metrics.count_pixels(work.job.pixels)
        return tuple(notes)

    def _explain(self, task: Task, error: Exception) -> RequestError:
        """Why a task failed; what is not the client's fault is logged."""
        if isinstance(error, RequestError):
            return error
        _log.error("task %s (%s)", task.id, task.name, exc_info=error)
        if isinstance(error, (DeviceMemoryError, MemoryError)):
            return RequestError(
                "the server has not enough memory for this image now",
                status=HTTPStatus.SERVICE_UNAVAILABLE,
                remedy="try again later, or send a smaller image",
                retry_after=30,
            )
        if is_disk_full(error):
            return no_room("for the result")
        return internal_error()

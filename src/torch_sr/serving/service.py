"""The service: accepts uploads, computes them in order, and keeps what has to be kept."""

from __future__ import annotations

import logging
import shutil
import threading
import time
from http import HTTPStatus
from pathlib import Path

from torch_sr.serving.computing import MakeComputers, use_devices
from torch_sr.serving.errors import RequestError, explaining_full_disk
from torch_sr.serving.folders import Folders
from torch_sr.serving.intake import Intake
from torch_sr.serving.jobs import Jobs, JobStatus
from torch_sr.serving.metrics import ServiceMetrics
from torch_sr.serving.offers import OfferedModel, Offers
from torch_sr.serving.requests import UpscaleRequest
from torch_sr.serving.settings import ServiceSettings
from torch_sr.serving.store import JobStore
from torch_sr.serving.tasks import FINISHED, State, Task, TaskQueue
from torch_sr.serving.workers import Workers

_SECONDS_BETWEEN_CLEANUPS = 60.0
_SECONDS_TO_END = 2.0  # for threads whose tasks have been stopped

_log = logging.getLogger(__name__)


class Service:
    """Accepts uploads, and lets computers compute them.

    Between :meth:`start` and :meth:`stop`, all methods may be called by several threads.

    Args:
        settings: folder, models, devices and limits.
        make_computers: makes what computes the tasks, by default the devices of this machine.

    Raises:
        ConfigError: the folder is used by another service, or cannot be used.
        ModelError, DownloadError, DeviceError: the default model cannot be used.
    """

    def __init__(
        self, settings: ServiceSettings, make_computers: MakeComputers = use_devices
    ) -> None:
        self.settings = settings
        self.metrics = ServiceMetrics()
        self._offers = Offers(settings.models)
        self._queue = TaskQueue(settings.limits.queue)
        self._folders = Folders(settings.folder)
        try:
            self._store = JobStore(settings.folder / "jobs.sqlite")
        except BaseException:
            self._folders.release()
            raise
        limits = settings.limits
        self._intake = Intake(self._offers, self._folders, limits, self._on_change)
        self._jobs = Jobs(self._store, self._folders, self._intake, self._queue, limits)
        self._computers = make_computers(settings, self.metrics)
        self._workers = [
            Workers(self._queue, computer, self.metrics, limits.time_limit)
            for computer in self._computers
        ]
        self._num_threads = sum(computer.tasks_at_once for computer in self._computers)
        self._stopping = threading.Event()
        self._is_ready = False
        self._watch()

    # --- What it offers --------------------------------------------------------------------------

    @property
    def offers(self) -> tuple[OfferedModel, ...]:
        """The models that requests may name; the first is the default."""
        return tuple(self._offers.models.values())

    @property
    def accepts_video(self) -> bool:
        """Whether videos can be upscaled."""
        try:
            import av  # noqa: F401
        except ImportError:
            return False
        return True

    @property
    def is_stopping(self) -> bool:
        """Whether :meth:`stop` was called."""
        return self._stopping.is_set()

    @property
    def fault(self) -> str | None:
        """Why it has to be restarted; None if it works."""
        if self._is_ready and not self.is_stopping:
            alive = all(workers.are_alive for workers in self._workers)
            return None if alive else "a thread has ended"
        return None

    @property
    def obstacle(self) -> str | None:
        """Why it cannot take requests now; None if it can."""
        if self.is_stopping:
            return "stopping"
        if not self._is_ready:
            return "starting"
        return self.fault or ("the queue is full" if self._queue.is_full else None)

    # --- Start and stop --------------------------------------------------------------------------

    def start(self) -> None:
        """Load the default model, take up unfinished jobs, and start to compute."""
        choice = self._offers.choose(None, None)
        for computer in self._computers:
            computer.start(choice)
        self._jobs.recover()
        for workers in self._workers:
            workers.start()
        threading.Thread(target=self._clean_up, name="cleaning", daemon=True).start()
        self._is_ready = True

    def stop(self, grace: float = 30.0) -> None:
        """Let running tasks finish; those that take longer fail, or wait for the next start.

        Args:
            grace: seconds until they are stopped.
        """
        self._stopping.set()
        for task in self._queue.close():
            self._interrupt(task)
        running = [task for workers in self._workers for task in list(workers.running)]
        deadline = time.monotonic() + grace
        for task in running:
            if not task.wait(max(0.0, deadline - time.monotonic())):
                self._interrupt(task)
        for workers in self._workers:
            workers.join(_SECONDS_TO_END)

    @property
    def is_computing(self) -> bool:
        """Whether a thread still computes a tile of a task that was stopped."""
        return any(workers.running for workers in self._workers)

    def close(self) -> None:
        """Release the folder and the computers, after :meth:`stop`."""
        for computer in self._computers:
            computer.stop()
        self._store.close()
        self._folders.release()

    def _interrupt(self, task: Task) -> None:
        if task.is_job:
            task.put_back()
        else:
            task.stop(
                RequestError(
                    "the server stopped before the result was complete",
                    status=HTTPStatus.SERVICE_UNAVAILABLE,
                    remedy="send the image again",
                    retry_after=10,
                )
            )

    # --- Tasks -----------------------------------------------------------------------------------

    def new_upload(self) -> Path:
        """An empty file for an upload, which :meth:`submit` or :meth:`drop_upload` takes.

        Raises:
            RequestError: the queue is full, or as many uploads are on their way as could be
                computed and queued: what they take of the disk is bounded.
        """
        self._queue.check(self._folders.count_uploads() - self._num_threads)
        with explaining_full_disk():
            return self._folders.new_upload()

    def copy_upload(self, file: Path) -> Path:
        """An upload with the content of a file.

        Raises:
            RequestError: as :meth:`new_upload`.
            OSError: the file cannot be read.
        """
        upload = self.new_upload()
        try:
            with explaining_full_disk():
                shutil.copyfile(file, upload)
        except BaseException:
            self.drop_upload(upload)
            raise
        return upload

    def drop_upload(self, upload: Path) -> None:
        """Delete an upload that is not submitted."""
        upload.unlink(missing_ok=True)

    def submit(
        self,
        upload: Path,
        name: str | None,
        request: UpscaleRequest,
        *,
        images_only: bool = False,
    ) -> Task:
        """Queue an upload; the task and its files are gone when the service ends.

        Args:
            upload: a file of :meth:`new_upload`, which is taken over in any case.
            name: of the client's file; it determines the name of the result.
            request: the options.
            images_only: whether videos are refused.

        Raises:
            RequestError: the request, the upload or its size is refused, or the queue is full.
        """
        task = self._intake.make_task(upload, name, request, images_only=images_only)
        try:
            self._queue.put(task)
        except RequestError:
            self._folders.remove(task.folder)
            raise
        return task

    def discard(self, task: Task) -> None:
        """Cancel a task if it is not finished, and delete its files."""
        task.cancel()
        task.call_when_finished(lambda: self._folders.remove(task.folder))

    def submit_job(
        self, upload: Path, name: str | None, request: UpscaleRequest, key: str | None = None
    ) -> JobStatus:
        """Accept an upload as a job: when this returns, nothing short of the disk can lose it.

        Args:
            upload, name, request: see :meth:`submit`.
            key: chosen by the client; a second job of the same key and content is not made, the
                first is returned.

        Raises:
            RequestError: as :meth:`submit`; the key was used for another request; or there is no
                room.
        """
        return self._jobs.submit(upload, name, request, key)

    def find_job(self, job_id: str) -> JobStatus:
        """The state of a job.

        Raises:
            RequestError: there is none of that id, with the status 404.
        """
        return self._jobs.find(job_id)

    def remove_job(self, job_id: str) -> None:
        """Cancel a job if it is not finished, and delete it with its files.

        Raises:
            RequestError: there is none of that id, with the status 404.
        """
        self._jobs.remove(job_id)

    def remove_old_jobs(self) -> None:
        """Delete finished jobs that are older than they are kept for."""
        self._jobs.remove_old()

    # --- Housekeeping ----------------------------------------------------------------------------

    def _on_change(self, task: Task, state: State) -> None:
        """Store and count the next state of a task."""
        if state in FINISHED:
            assert task.finished is not None
            started = task.started or task.finished
            self.metrics.count_task(
                state,
                task.error.status if task.error else None,
                started - task.created,
                task.finished - started if task.started else None,
            )
        self._jobs.record(task, state)

    def _clean_up(self) -> None:
        """Delete old jobs from time to time."""
        while not self._stopping.wait(_SECONDS_BETWEEN_CLEANUPS):
            try:
                self.remove_old_jobs()
            except Exception:
                _log.exception("old jobs could not be deleted")

    def _watch(self) -> None:
        """Add the gauges."""
        watch = self.metrics.watch
        watch("torch_sr_queue_length", "Tasks that wait.", lambda: len(self._queue))
        watch(
            "torch_sr_tasks_running",
            "Tasks that are decoded, computed or encoded now.",
            lambda: sum(len(workers.running) for workers in self._workers),
        )
        watch("torch_sr_ready", "1 if requests are accepted.", lambda: self.obstacle is None)

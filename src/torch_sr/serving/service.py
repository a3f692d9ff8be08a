"""The service: accepts uploads, computes them in order, and keeps what has to be kept."""

from __future__ import annotations

import logging
import secrets
import threading
import time
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

from torch_sr.files import find_digest, flush, free_space
from torch_sr.inference.files.jobs import Job
from torch_sr.inference.files.targets import result_name
from torch_sr.serving.errors import RequestError
from torch_sr.serving.folders import Folders, bytes_in
from torch_sr.serving.metrics import ServiceMetrics
from torch_sr.serving.offers import OfferedModel, Offers, Upscalers
from torch_sr.serving.requests import UpscaleRequest
from torch_sr.serving.settings import ServiceSettings
from torch_sr.serving.store import JobStore, StoredJob
from torch_sr.serving.tasks import FINISHED, State, Task, TaskQueue, Work
from torch_sr.serving.uploads import clean_name, complete_name, examine
from torch_sr.serving.workers import Workers

_MOST_ATTEMPTS = 5  # to compute a job that was running when the process ended
_SECONDS_BETWEEN_CLEANUPS = 60.0
_SECONDS_TO_END = 30.0  # for the tile that a thread computes
_LEAST_FREE = 500_000_000  # bytes of the disk that stay free

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class JobStatus:
    """A job at one moment.

    Args:
        id: of the job.
        name: of the uploaded file.
        state: ``queued``, ``running``, ``done``, ``failed`` or ``cancelled``.
        progress: the part that is computed, in [0, 1].
        position: how many tasks are before it.
        seconds_left: estimate, while it is computed.
        created, started, finished: seconds since 1970.
        notes: what the result could not keep of the source.
        error: why it failed.
        result: the file of the result, if it is done.
    """

    id: str
    name: str
    state: State
    progress: float
    position: int
    seconds_left: float | None
    created: float
    started: float | None
    finished: float | None
    notes: tuple[str, ...]
    error: RequestError | None
    result: Path | None


class Service:
    """Computes uploads on one or more devices.

    Between :meth:`start` and :meth:`stop`, all methods may be called by several threads.

    Args:
        settings: folder, models, devices and limits.

    Raises:
        ConfigError: the folder is used by another service, or cannot be used.
        ModelError, DownloadError, DeviceError: the default model cannot be used.
    """

    def __init__(self, settings: ServiceSettings) -> None:
        self.settings = settings
        self.metrics = ServiceMetrics()
        self._offers = Offers(settings.models)
        self._queue = TaskQueue(settings.limits.queue)
        self._folders = Folders(settings.folder)
        self._store = JobStore(settings.folder / "jobs.sqlite")
        self._upscalers = [
            Upscalers(settings, device, self.metrics.count_batch) for device in settings.devices
        ]
        self._workers = [
            Workers(
                self._queue,
                upscalers,
                self.metrics,
                settings.limits.time_limit,
                settings.tasks_per_device,
            )
            for upscalers in self._upscalers
        ]
        self._jobs: dict[str, Task] = {}  # those that are not finished
        self._lock = threading.Lock()
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
        for upscalers in self._upscalers:
            upscalers.get(choice)
        self._recover()
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
            task.end_early()
        running = [task for workers in self._workers for task in list(workers.running)]
        deadline = time.monotonic() + grace
        for task in running:
            if not task.wait(max(0.0, deadline - time.monotonic())):
                self._interrupt(task)
        for workers in self._workers:
            workers.join(_SECONDS_TO_END)

    def close(self) -> None:
        """Release the folder, after :meth:`stop`."""
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
        """An empty file for an upload, which :meth:`submit` or :meth:`drop_upload` takes."""
        return self._folders.new_upload()

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
        task = self._prepare(upload, name, request, self._folders.requests)
        try:
            if images_only and task.work.job.is_video:
                raise _no_video(task.name)
            self._queue.put(task)
        except RequestError:
            self._folders.remove(task.folder)
            raise
        return task

    def discard(self, task: Task) -> None:
        """Cancel a task if it is not finished, and delete its files."""
        task.cancel()
        task.call_when_finished(lambda: self._folders.remove(task.folder))

    def _prepare(
        self,
        upload: Path,
        name: str | None,
        request: UpscaleRequest,
        root: Path,
        *,
        is_job: bool = False,
    ) -> Task:
        """Check a request and its upload, which gets its own folder."""
        task_id = secrets.token_urlsafe(16)
        folder = root / task_id
        try:
            clean = complete_name(clean_name(name), upload)
            folder.mkdir()
            upload.replace(folder / clean)
            work = self._work(folder / clean, request)
            limits = self.settings.limits
            scale = self._offers.find(request.model).scale_factor
            job = examine(work.job, scale, work.options, limits)
        except BaseException:
            upload.unlink(missing_ok=True)
            self._folders.remove(folder)
            raise
        work = Work(job, work.options, work.choice, work.tta)
        return Task(task_id, clean, work, is_job=is_job, on_change=self._record)

    def _work(self, source: Path, request: UpscaleRequest) -> Work:
        """What a request asks for.

        Raises:
            RequestError: the model is not offered, or options contradict each other.
        """
        options = request.batch_options(self.settings.limits.max_pixels)
        choice = self._offers.choose(request.model, request.strength)
        target = source.with_name(result_name(source, "_sr", request.format))
        return Work(Job(source, target), options, choice, request.tta)

    # --- Jobs, which survive a restart -----------------------------------------------------------

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
        digest = f"{find_digest(upload)} {request.model_dump_json(exclude_defaults=True)}"
        if key is not None and (known := self._store.find_key(key)) is not None:
            self.drop_upload(upload)
            return self._same_job(known, digest)
        self._require_room(upload)
        task = self._prepare(upload, name, request, self._folders.jobs, is_job=True)
        row = _row_of(task, key, digest, request)
        try:
            flush(task.work.job.source)
            with self._lock:
                if self._queue.is_full or self._stopping.is_set():
                    self._queue.put(task)  # raises
                self._store.add(row)
                self._jobs[task.id] = task
                self._queue.put(task, even_if_full=True)
        except KeyError:  # another request with this key was quicker
            self._folders.remove(task.folder)
            return self._same_job(self._store.find_key(str(key)), digest)
        except BaseException:
            self._folders.remove(task.folder)
            raise
        return self._status_of(task)

    def find_job(self, job_id: str) -> JobStatus:
        """The state of a job.

        Raises:
            RequestError: there is none of that id, with the status 404.
        """
        if (task := self._jobs.get(job_id)) is not None:
            return self._status_of(task)
        row = self._store.find(job_id)
        if row is None:
            raise RequestError(
                "there is no such job",
                status=HTTPStatus.NOT_FOUND,
                field="job_id",
                value=job_id,
                remedy=f"finished jobs are kept for {self.settings.limits.keep_hours:g} hours",
            )
        return self._status_of_row(row)

    def remove_job(self, job_id: str) -> None:
        """Cancel a job if it is not finished, and delete it with its files.

        Raises:
            RequestError: there is none of that id, with the status 404.
        """
        self.find_job(job_id)
        self._store.remove(job_id)
        task = self._jobs.pop(job_id, None)
        if task is not None:
            self.discard(task)
        else:
            self._folders.remove(self._folders.jobs / job_id)

    def _same_job(self, known: StoredJob | None, digest: str) -> JobStatus:
        if known is None or known.digest != digest:
            raise RequestError(
                "this key was used for another request",
                status=HTTPStatus.CONFLICT,
                field="Idempotency-Key",
                remedy="choose a new key for each request",
            )
        return self.find_job(known.id)

    def _require_room(self, upload: Path) -> None:
        size = upload.stat().st_size
        free = free_space(self.settings.folder)
        if (
            self._store.num_bytes() + size > self.settings.limits.max_storage
            or (free is not None and free < _LEAST_FREE + size)
        ):  # fmt: skip
            self.drop_upload(upload)
            raise RequestError(
                "the server has no room for another job",
                status=HTTPStatus.INSUFFICIENT_STORAGE,
                remedy="delete finished jobs, or try again later",
                retry_after=600,
            )

    def _record(self, task: Task, state: State) -> None:
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
        if not task.is_job or task.id not in self._jobs:
            return
        if state == "running":
            self._store.start(task.id)
        elif state == "queued":
            self._store.put_back(task.id)
        else:
            self._store.finish(
                task.id,
                state,
                num_bytes=bytes_in(task.folder),
                notes=task.notes,
                error=task.error.to_dict() if task.error else None,
            )
            self._jobs.pop(task.id, None)

    def _recover(self) -> None:
        """Queue the jobs that an earlier process did not finish; delete files of no job."""
        self._folders.keep_only(self._store.ids())
        for row in self._store.unfinished():
            task = self._revive(row)
            self._jobs[row.id] = task
            if row.attempts >= _MOST_ATTEMPTS:
                task.finish("failed", error=_crashing(row.attempts))
                continue
            try:
                work = self._work(self._folders.jobs / row.id / row.source, _request_of(row))
            except RequestError as error:  # for example, its model is no longer offered
                task.finish("failed", error=error)
                continue
            task.work = Work(
                Job(work.job.source, work.job.target, pixels=row.pixels),
                work.options,
                work.choice,
                work.tta,
            )
            self._queue.put(task, even_if_full=True)

    def _revive(self, row: StoredJob) -> Task:
        folder = self._folders.jobs / row.id
        choice = self._offers.choose(None, None)
        job = Job(folder / row.source, folder / row.result, pixels=row.pixels)
        options = UpscaleRequest().batch_options(self.settings.limits.max_pixels)
        task = Task(
            row.id, row.name, Work(job, options, choice), is_job=True, on_change=self._record
        )
        task.created = row.created
        return task

    def _status_of(self, task: Task) -> JobStatus:
        state = task.state
        return JobStatus(
            task.id,
            task.name,
            state,
            1.0 if state == "done" else task.progress,
            task.position,
            task.seconds_left,
            task.created,
            task.started,
            task.finished,
            task.notes,
            task.error,
            task.result if state == "done" else None,
        )

    def _status_of_row(self, row: StoredJob) -> JobStatus:
        done = row.state == "done"
        return JobStatus(
            row.id,
            row.name,
            row.state,
            float(done),
            0,
            None,
            row.created,
            row.started,
            row.finished,
            tuple(row.notes),
            RequestError.from_dict(row.error) if row.error else None,
            self._folders.jobs / row.id / row.result if done else None,
        )

    # --- Housekeeping ----------------------------------------------------------------------------

    def _clean_up(self) -> None:
        """Delete jobs that are older than they are kept for."""
        while not self._stopping.wait(_SECONDS_BETWEEN_CLEANUPS):
            try:
                self.remove_old_jobs()
            except Exception:
                _log.exception("old jobs could not be deleted")

    def remove_old_jobs(self) -> None:
        """Delete finished jobs that are older than they are kept for."""
        limit = time.time() - 3600 * self.settings.limits.keep_hours
        for row in self._store.finished_before(limit):
            self._store.remove(row.id)
            self._folders.remove(self._folders.jobs / row.id)

    def _watch(self) -> None:
        """Add the gauges."""
        watch = self.metrics.watch
        watch("torch_sr_queue_length", "Tasks that wait.", lambda: len(self._queue))
        watch(
            "torch_sr_tasks_running",
            "Tasks that are decoded, computed or encoded now.",
            lambda: sum(len(workers.running) for workers in self._workers),
        )
        watch(
            "torch_sr_models_loaded",
            "Models that are loaded, on all devices together.",
            lambda: sum(upscalers.num_loaded for upscalers in self._upscalers),
        )
        watch("torch_sr_ready", "1 if requests are accepted.", lambda: self.obstacle is None)


def _row_of(task: Task, key: str | None, digest: str, request: UpscaleRequest) -> StoredJob:
    job = task.work.job
    return StoredJob(
        id=task.id,
        key=key,
        digest=digest,
        name=task.name,
        request=request.model_dump(exclude_defaults=True),
        state="queued",
        created=task.created,
        started=None,
        finished=None,
        attempts=0,
        pixels=job.pixels,
        bytes=job.source.stat().st_size,
        source=job.source.name,
        result=job.target.name,
        notes=[],
        error=None,
    )


def _request_of(row: StoredJob) -> UpscaleRequest:
    known = UpscaleRequest.model_fields
    options: dict[str, Any] = {name: value for name, value in row.request.items() if name in known}
    return UpscaleRequest(**options)


def _no_video(name: str) -> RequestError:
    return RequestError(
        f"{name} is a video",
        status=HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
        field="image",
        value=name,
        remedy="send it to /v1/jobs",
    )


def _crashing(attempts: int) -> RequestError:
    return RequestError(
        f"the server ended {attempts} times while it computed this image",
        status=HTTPStatus.INTERNAL_SERVER_ERROR,
        remedy="convert the image to PNG, or send a smaller one",
    )

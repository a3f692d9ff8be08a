"""Jobs: tasks that are stored, so that they survive a restart."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

from pydantic import ValidationError

from torch_sr.errors import TorchSRError
from torch_sr.files import find_digest, flush, flush_folder, free_space
from torch_sr.serving.errors import RequestError, explaining_full_disk, no_room
from torch_sr.serving.folders import Folders, bytes_in
from torch_sr.serving.intake import Intake
from torch_sr.serving.requests import UpscaleRequest
from torch_sr.serving.settings import Limits
from torch_sr.serving.store import JobStore, StoredJob
from torch_sr.serving.tasks import State, Task, TaskQueue

_MOST_ATTEMPTS = 5  # to compute a job that was running when the process ended
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

    @classmethod
    def of_task(cls, task: Task) -> JobStatus:
        """The status of a job of this process that is not finished."""
        state = task.state
        return cls(
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

    @classmethod
    def of_row(cls, row: StoredJob, folder: Path) -> JobStatus:
        """The status of a stored job whose files are in a folder."""
        done = row.state == "done"
        return cls(
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
            folder / row.result if done else None,
        )


class Jobs:
    """The jobs of a service; thread-safe.

    Args:
        store: where they are kept.
        folders: of the service.
        intake: makes their tasks.
        queue: where they wait.
        limits: how many bytes are kept, and for how long.
    """

    def __init__(
        self, store: JobStore, folders: Folders, intake: Intake, queue: TaskQueue, limits: Limits
    ) -> None:
        self._store = store
        self._folders = folders
        self._intake = intake
        self._queue = queue
        self._limits = limits
        self._unfinished: dict[str, Task] = {}
        self._lock = threading.Lock()

    def submit(
        self, upload: Path, name: str | None, request: UpscaleRequest, key: str | None
    ) -> JobStatus:
        """Accept an upload; see :meth:`Service.submit_job`."""
        try:
            digest = f"{find_digest(upload)} {request.model_dump_json(exclude_defaults=True)}"
            if key is not None and (known := self._store.find_key(key)) is not None:
                return self._repeated(known, digest)
            self._require_room(upload.stat().st_size)
            task = self._intake.make_task(upload, name, request, is_job=True)
        finally:
            upload.unlink(missing_ok=True)
        try:
            with explaining_full_disk():
                self._flush(task)
                self._accept(task, _row_of(task, key, digest, request))
        except KeyError:  # another request with this key was quicker
            self._folders.remove(task.folder)
            return self._repeated(self._store.find_key(str(key)), digest)
        except BaseException:
            self._folders.remove(task.folder)
            raise
        return JobStatus.of_task(task)

    def find(self, job_id: str) -> JobStatus:
        """The state of a job; see :meth:`Service.find_job`."""
        if (task := self._unfinished.get(job_id)) is not None:
            return JobStatus.of_task(task)
        row = self._store.find(job_id)
        if row is None:
            raise RequestError(
                "there is no such job",
                status=HTTPStatus.NOT_FOUND,
                field="job_id",
                value=job_id,
                remedy=f"finished jobs are kept for {self._limits.keep_hours:g} hours",
            )
        return JobStatus.of_row(row, self._folders.jobs / row.id)

    def remove(self, job_id: str) -> None:
        """Cancel a job if it is not finished, and delete it; see :meth:`Service.remove_job`."""
        self.find(job_id)
        with explaining_full_disk():
            self._store.remove(job_id)
        folder = self._folders.jobs / job_id
        task = self._unfinished.pop(job_id, None)
        if task is None:
            self._folders.remove(folder)
            return
        task.cancel()
        task.call_when_finished(lambda: self._folders.remove(folder))

    def remove_old(self) -> None:
        """Delete finished jobs that are older than they are kept for."""
        limit = time.time() - 3600 * self._limits.keep_hours
        for row in self._store.finished_before(limit):
            self._store.remove(row.id)
            self._folders.remove(self._folders.jobs / row.id)

    def record(self, task: Task, state: State) -> None:
        """Store the next state of a task."""
        if task.id not in self._unfinished:
            return
        if state == "running":
            self._store.start(task.id)
        elif state == "queued":
            if task.started is not None:
                self._store.put_back(task.id)
        else:
            self._store.finish(
                task.id,
                state,
                num_bytes=bytes_in(task.folder),
                notes=task.notes,
                error=task.error.to_dict() if task.error else None,
            )
            self._unfinished.pop(task.id, None)

    def recover(self) -> None:
        """Queue the jobs that an earlier process did not finish; delete files of no job."""
        self._folders.keep_only(self._store.ids())
        for row in self._store.unfinished():
            try:
                task = self._revive(row)
            except TorchSRError as error:
                _log.warning("job %s: %s", row.id, error)
                refused = error if isinstance(error, RequestError) else RequestError(str(error))
                self._store.finish(row.id, "failed", num_bytes=row.bytes, error=refused.to_dict())
                continue
            self._unfinished[row.id] = task
            self._queue.put(task, even_if_full=True)

    def _revive(self, row: StoredJob) -> Task:
        """The task of a job that is not finished.

        Raises:
            TorchSRError: it cannot be computed, for example as its model is no longer offered.
        """
        if row.attempts >= _MOST_ATTEMPTS:
            raise RequestError(
                f"the server ended {row.attempts} times while it computed this image",
                status=HTTPStatus.INTERNAL_SERVER_ERROR,
                remedy="convert the image to PNG, or send a smaller one",
            )
        try:
            request = UpscaleRequest.model_validate(row.request)
        except ValidationError as error:  # an older version accepted it
            raise RequestError(
                "the server was updated, and does not know an option of this job any more",
                remedy="send the image again",
            ) from error
        source = self._folders.jobs / row.id / row.source
        task = self._intake.revive(row.id, row.name, source, request, row.pixels)
        task.created = row.created
        return task

    def _accept(self, task: Task, row: StoredJob) -> None:
        """Store and queue a job; if it is refused, it is not stored either."""
        with self._lock:
            self._queue.check()
            self._store.add(row)
            self._unfinished[task.id] = task
        with contextlib.suppress(RequestError):  # the service stops; it waits for the next start
            self._queue.put(task, even_if_full=True)

    def _flush(self, task: Task) -> None:
        flush(task.work.job.source)
        flush_folder(task.folder)
        flush_folder(self._folders.jobs)

    def _repeated(self, known: StoredJob | None, digest: str) -> JobStatus:
        """The job of an earlier request with the same key."""
        if known is None or known.digest != digest:
            raise RequestError(
                "this key was used for another request",
                status=HTTPStatus.CONFLICT,
                field="Idempotency-Key",
                remedy="choose a new key for each request",
            )
        return self.find(known.id)

    def _require_room(self, size: int) -> None:
        free = free_space(self._folders.jobs)
        full = free is not None and free < _LEAST_FREE + size
        if full or self._store.num_bytes() + size > self._limits.max_storage:
            raise no_room("for another job", "delete finished jobs, or try again later")


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

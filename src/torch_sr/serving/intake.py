"""Make a task of an upload and a request, or refuse it."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path

from torch_sr.inference.files.jobs import Job
from torch_sr.inference.files.targets import result_name
from torch_sr.serving.errors import RequestError, explaining_full_disk
from torch_sr.serving.folders import Folders
from torch_sr.serving.offers import Offers
from torch_sr.serving.requests import UpscaleRequest
from torch_sr.serving.settings import Limits
from torch_sr.serving.tasks import State, Task, Work
from torch_sr.serving.uploads import clean_name, complete_name, examine

OnChange = Callable[[Task, State], None]
"""Called with a task and its next state; see :class:`~torch_sr.serving.tasks.Task`."""


class Intake:
    """Checks uploads and requests.

    Args:
        offers: the models that requests may name.
        folders: of the service; each task gets one.
        limits: what is accepted.
        on_change: of all tasks.
    """

    def __init__(
        self, offers: Offers, folders: Folders, limits: Limits, on_change: OnChange
    ) -> None:
        self._offers = offers
        self._folders = folders
        self._limits = limits
        self._on_change = on_change

    def make_task(
        self,
        upload: Path,
        name: str | None,
        request: UpscaleRequest,
        *,
        is_job: bool = False,
        images_only: bool = False,
    ) -> Task:
        """Check a request and its upload, which gets its own folder, or is deleted.

        Args:
            upload, name, request, images_only: see :meth:`Service.submit`.
            is_job: see :class:`~torch_sr.serving.tasks.Task`.

        Raises:
            RequestError: the request, the upload or its size is refused.
        """
        task_id = secrets.token_urlsafe(16)
        folder = (self._folders.jobs if is_job else self._folders.requests) / task_id
        try:
            clean = complete_name(clean_name(name), upload)
            with explaining_full_disk():
                folder.mkdir()
            upload.replace(folder / clean)
            work = self.find_work(folder / clean, request)
            if images_only and work.job.is_video:
                raise _no_video(clean)
            scale = self._offers.find(request.model).scale_factor
            job = examine(work.job, scale, work.options, self._limits)
        except BaseException:
            upload.unlink(missing_ok=True)
            self._folders.remove(folder)
            raise
        work = Work(job, work.options, work.choice, work.tta)
        return Task(task_id, clean, work, is_job=is_job, on_change=self._on_change)

    def find_work(self, source: Path, request: UpscaleRequest, pixels: int = 0) -> Work:
        """What a request asks for.

        Args:
            source: the upload in its folder.
            request: the options.
            pixels: of the source, if they were counted.

        Raises:
            RequestError: the model is not offered, or options contradict each other.
        """
        options = request.batch_options(self._limits.max_pixels)
        choice = self._offers.choose(request.model, request.strength)
        target = source.with_name(result_name(source, "_sr", request.format))
        return Work(Job(source, target, pixels=pixels), options, choice, request.tta)

    def revive(
        self, task_id: str, name: str, source: Path, request: UpscaleRequest, pixels: int
    ) -> Task:
        """The task of a job that an earlier process accepted.

        Raises:
            RequestError: as :meth:`find_work`, for example if its model is no longer offered.
        """
        work = self.find_work(source, request, pixels)
        return Task(task_id, name, work, is_job=True, on_change=self._on_change)


def _no_video(name: str) -> RequestError:
    return RequestError(
        f"{name} is a video",
        status=HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
        field="image",
        value=name,
        remedy="send it to /v1/jobs",
    )

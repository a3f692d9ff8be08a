"""The files that a visitor sent at once: one task each, a few of them in the queue at a time."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from torch_sr.serving.errors import RequestError
from torch_sr.serving.page.downloads import take_over
from torch_sr.serving.page.previews import Preview
from torch_sr.serving.requests import UpscaleRequest
from torch_sr.serving.service import Service
from torch_sr.serving.tasks import Task

AHEAD = 2  # tasks of a visitor in the queue, so that others need not wait for all files
_RETRY = 1.0  # seconds until a full queue is tried again
_FULL = 429


@dataclass(eq=False)
class Item:
    """A file and what becomes of it.

    Args:
        name: as the visitor calls it.
        source: the uploaded file.
        state: ``waiting`` (not in the queue yet), or a task's state.
        error: what went wrong, for people.
        result: the file to download.
        notes: what the result does not keep of the source.
    """

    name: str
    source: Path
    task: Task | None = None
    state: str = "waiting"
    error: str = ""
    result: Path | None = None
    notes: tuple[str, ...] = ()
    preview: Preview | None = None

    @property
    def is_finished(self) -> bool:
        """Whether nothing more happens to it."""
        return self.state in ("done", "failed", "cancelled")

    @property
    def progress(self) -> float:
        """The share that is done, 0 to 1."""
        if self.is_finished:
            return 1.0
        return self.task.progress if self.task else 0.0


@dataclass(eq=False)
class Batch:
    """Files of one visitor, upscaled with the same request.

    Call :meth:`step` in a thread until :attr:`is_finished`.

    Args:
        service: computes the tasks.
        items: the files.
        request: what to do with each.
        folder: a new folder for the sources and the results.
    """

    service: Service
    items: Sequence[Item]
    request: UpscaleRequest
    folder: Path
    cancelled: bool = False
    started: float | None = None
    _retry_at: float = field(default=0.0, repr=False)

    def __post_init__(self) -> None:
        for number, item in enumerate(self.items):
            try:
                item.source = take_over(item.source, self.folder / f"source{number}", item.name)
            except OSError:
                item.state, item.error = "failed", "was deleted after a while: choose it again"

    @property
    def is_finished(self) -> bool:
        """Whether nothing more happens to any file."""
        return all(item.is_finished for item in self.items)

    @property
    def results(self) -> list[Item]:
        """The files that were upscaled."""
        return [item for item in self.items if item.result]

    @property
    def progress(self) -> float:
        """The share that is done, 0 to 1."""
        return sum(item.progress for item in self.items) / len(self.items)

    @property
    def seconds_left(self) -> float | None:
        """For all files, as long as those before took; None if too little is known."""
        unfinished = [item for item in self.items if not item.is_finished]
        if len(unfinished) == 1 and unfinished[0].task:
            return unfinished[0].task.seconds_left
        if self.started is None or self.progress < 0.02:
            return None
        return (time.monotonic() - self.started) * (1 / self.progress - 1)

    def key(self, item: Item) -> str:
        """What stands for a file on the page; no two batches have the same."""
        return f"{self.folder.name}/{self.items.index(item)}"

    def find(self, key: str | None) -> Item | None:
        """The file of a key, if it is of this batch."""
        return next((item for item in self.items if self.key(item) == key), None)

    def step(self) -> None:
        """Submit files while there is room, and take over the results of finished tasks."""
        for item in self.items:
            if item.task and not item.is_finished:
                self._follow(item, item.task)
        waiting = [item for item in self.items if item.state == "waiting"]
        room = AHEAD - sum(item.state in ("queued", "running") for item in self.items)
        for item in waiting[: max(0, room)]:
            if self.cancelled:
                item.state = "cancelled"
            elif time.monotonic() >= self._retry_at:
                self._submit(item)

    def cancel(self) -> None:
        """Cancel the tasks; files that are not in the queue yet are not submitted."""
        self.cancelled = True
        for item in self.items:
            if item.task and not item.is_finished:
                item.task.cancel()
            elif item.state == "waiting":
                item.state = "cancelled"

    def close(self) -> None:
        """Cancel the tasks, and do not wait for them."""
        self.cancel()
        for item in self.items:
            if item.task and not item.is_finished:
                self.service.discard(item.task)
                item.state = "cancelled"

    def _submit(self, item: Item) -> None:
        try:
            upload = self.service.copy_upload(item.source)
            item.task = self.service.submit(upload, name=item.name, request=self.request)
            item.state = item.task.state
        except RequestError as error:  # the service has deleted the upload
            if error.status == _FULL:
                self._retry_at = time.monotonic() + _RETRY
            else:
                item.state, item.error = "failed", str(error)
        if self.cancelled and item.task:  # in the meantime
            item.task.cancel()

    def _follow(self, item: Item, task: Task) -> None:
        state = task.state
        if state == "running" and self.started is None:
            self.started = time.monotonic()
        if state == "done" and task.result is not None:
            folder = self.folder / f"result{self.items.index(item)}"
            item.result = take_over(task.result, folder, task.result.name)
            item.notes = tuple(task.notes)
        elif state == "failed":
            item.error = str(task.error)
        item.state = state
        if item.is_finished:
            self.service.discard(task)

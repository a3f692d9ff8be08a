"""A job of a service: wait for it, and get its result."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from torch_sr.client.files import check_target
from torch_sr.client.transport import BUSY, from_problem, read, read_events, read_json, save_to
from torch_sr.errors import ServiceError

if TYPE_CHECKING:
    from httpx import Response

    from torch_sr.client.client import Client

_SILENCE_SECONDS = 45.0  # of events; the service sends something every 15 seconds
_POLL_SECONDS = 1.0
_FINISHED = ("done", "failed", "cancelled")


class RemoteJob:
    """A job of a service, as :meth:`Client.submit` returns it.

    The attributes are those of the last response; :meth:`refresh` requests them again.

    Args:
        client: of the service.
        document: the job, as the API describes it.
    """

    def __init__(self, client: Client, document: dict[str, Any]) -> None:
        self._transport = client._transport
        self.id: str = document["id"]
        self._path = f"jobs/{quote(self.id, safe='')}"
        self._update(document)

    def _update(self, document: dict[str, Any]) -> None:
        self.state: str = document["state"]
        """``queued``, ``running``, ``done``, ``failed`` or ``cancelled``."""
        self.name: str = document.get("name", "")
        """Of the uploaded file."""
        self.progress: float = document.get("progress", 0.0)
        """The part that is computed, in [0, 1]."""
        self.position: int = document.get("position", 0)
        """How many requests are before it."""
        self.seconds_left: float | None = document.get("seconds_left")
        """Estimate, while it is computed."""
        self.notes: tuple[str, ...] = tuple(document.get("notes", ()))
        """What the result could not keep of the source."""
        problem = document.get("error")
        self.error: ServiceError | None = None if problem is None else from_problem(problem)
        """Why it failed."""

    def __repr__(self) -> str:
        return f"RemoteJob({self.id!r}, state={self.state!r}, progress={self.progress:.2f})"

    def refresh(self) -> RemoteJob:
        """Request the state again.

        Raises:
            ServiceError: the service cannot be reached, or the job was deleted.
        """
        self._update(self._transport.send("GET", self._path, read_json))
        return self

    def wait(self, on_progress: Callable[[RemoteJob], None] | None = None) -> RemoteJob:
        """Wait until the job is done.

        It follows the events that the service sends; if they end early, it asks every second.

        Args:
            on_progress: called with the job after each change.

        Raises:
            ServiceError: it failed or was cancelled, or the service cannot be reached.
        """

        def follow(response: Response) -> None:
            for document in read_events(response):
                self._update(document)
                if on_progress is not None:
                    on_progress(self)

        try:
            self._transport.send_once(
                "GET", f"{self._path}/events", follow, timeout=_SILENCE_SECONDS
            )
        except ServiceError as error:
            if error.status not in BUSY:
                raise
        while self.state not in _FINISHED:
            time.sleep(_POLL_SECONDS)
            self.refresh()
            if on_progress is not None:
                on_progress(self)
        if self.state != "done":
            raise self.error or ServiceError(f"the job {self.id} was cancelled")
        return self

    def result(self) -> bytes:
        """The file of the result.

        Raises:
            ServiceError: the job is not done, or the service cannot be reached.
        """
        return self._transport.send("GET", f"{self._path}/result", read)

    def save(self, target: str | Path, *, overwrite: bool = False) -> Path:
        """Write the result to a file, completely or not at all.

        Args:
            target: the file; its suffix does not change the format, which was requested.
            overwrite: replace ``target`` if it exists.

        Raises:
            ImageError: ``target`` exists or cannot be written.
            ServiceError: as :meth:`result`.
        """
        check_target(target, overwrite=overwrite)
        return self._transport.send("GET", f"{self._path}/result", save_to(target))

    def cancel(self) -> None:
        """Cancel the job if it is not finished, and delete it with its files.

        Raises:
            ServiceError: it was deleted already, or the service cannot be reached.
        """
        self._transport.send("DELETE", self._path, lambda _: None)
        self.state = "cancelled" if self.state not in _FINISHED else self.state

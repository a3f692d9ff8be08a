"""A client of ``torch-sr serve``: upscale images on another machine."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar
from urllib.parse import quote, urlsplit

from torch_sr.errors import ImageError, MissingExtraError, ServiceError
from torch_sr.files import atomic_write, explain

if TYPE_CHECKING:
    from httpx import Response

T = TypeVar("T")

_CONNECT_SECONDS = 10.0
_SILENCE_SECONDS = 45.0  # of events; the service sends something every 15 seconds
_POLL_SECONDS = 1.0
_LONGEST_WAIT = 60.0  # before a request is repeated
_BUSY = (None, 429, 502, 503)  # None: the connection was lost
_FINISHED = ("done", "failed", "cancelled")

_log = logging.getLogger(__name__)


class Client:
    """A service that ``torch-sr serve`` runs; several threads may use it.

    The options of a request are those of the HTTP API: ``model``, ``strength``, ``scale``,
    ``width``, ``height``, ``format``, ``quality``, ``lossless``, ``tta``, ``damaged``. Images are
    paths, bytes or files that are open in binary mode.

    Args:
        url: of the service, such as ``http://127.0.0.1:7860``.
        token: that the service requires.
        timeout: seconds to wait for a response; :meth:`upscale` waits until the result is computed.
        retries: how many times a request is repeated if the service is busy, after the time that
            it asks for, or if the connection is lost.

    Raises:
        MissingExtraError: httpx is not installed.
        ServiceError: the address cannot be used.
    """

    def __init__(
        self, url: str, token: str | None = None, *, timeout: float = 600.0, retries: int = 0
    ) -> None:
        try:
            import httpx
        except ImportError as error:
            raise MissingExtraError("httpx", "client") from error
        if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname:
            raise ServiceError(f"{url}: write the address as in http://127.0.0.1:7860")
        self._retries = retries
        self._http = httpx.Client(
            base_url=url,
            headers={"Authorization": f"Bearer {token}"} if token is not None else {},
            timeout=httpx.Timeout(timeout, connect=min(timeout, _CONNECT_SECONDS)),
        )

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def models(self) -> list[dict[str, Any]]:
        """The models that requests may name, the default first; ``name`` is the key of the name.

        Raises:
            ServiceError: the service cannot be reached, or refuses the request.
        """
        found: list[dict[str, Any]] = self._send("GET", "models", _read_json)["models"]
        return found

    def upscale(
        self, image: str | Path | bytes | BinaryIO, **options: str | float | bool | None
    ) -> bytes:
        """Super-resolve an image.

        Args:
            image: in any format that torch-sr reads.
            options: of the request; the format is that of ``image`` if none is named.

        Returns:
            The file of the result.

        Raises:
            OSError: the image cannot be read.
            ServiceError: the service cannot be reached, refuses the request, or fails.
        """
        return self._post("upscale", _read, image, options)

    def upscale_file(
        self,
        source: str | Path | bytes | BinaryIO,
        target: str | Path,
        *,
        overwrite: bool = False,
        **options: str | float | bool | None,
    ) -> Path:
        """Super-resolve an image into a file, which is written completely or not at all.

        Args:
            source: as for :meth:`upscale`.
            target: its suffix chooses the format.
            overwrite: replace ``target`` if it exists.
            options: of the request.

        Raises:
            ImageError: ``target`` exists or cannot be written; or as :meth:`upscale`.
        """
        _check_target(target, overwrite=overwrite)
        options = {"format": _format_of(target), **options}
        return self._post("upscale", _writer(target), source, options)

    def submit(
        self, image: str | Path | bytes | BinaryIO, **options: str | float | bool | None
    ) -> RemoteJob:
        """Send an image or a video as a job, which survives a restart of the service.

        Each call has its own key, so that a repetition after a lost connection is not a second
        job.

        Args:
            image, options: as for :meth:`upscale`.

        Raises:
            OSError, ServiceError: as :meth:`upscale`.
        """
        key = {"Idempotency-Key": secrets.token_hex(16)}
        job = self._post("jobs", _read_json, image, options, **key)
        return RemoteJob(self, job)

    def job(self, job_id: str) -> RemoteJob:
        """A job that was submitted earlier, possibly by another program.

        Raises:
            ServiceError: there is none, or as :meth:`models`.
        """
        return RemoteJob(self, self._send("GET", f"jobs/{quote(job_id, safe='')}", _read_json))

    def _post(
        self,
        path: str,
        receive: Callable[[Response], T],
        image: str | Path | bytes | BinaryIO,
        options: dict[str, str | float | bool | None],
        **headers: str,
    ) -> T:
        given = {name: value for name, value in options.items() if value is not None}
        upload = _Upload.of(image)
        return self._send("POST", path, receive, upload=upload, params=given, headers=headers)

    def _send(self, method: str, path: str, receive: Callable[[Response], T], **request: Any) -> T:
        """Send a request, and repeat it as often as ``retries`` permits."""
        for attempt in range(self._retries):
            try:
                return self._try(method, path, receive, **request)
            except ServiceError as error:
                if error.status not in _BUSY:
                    raise
                seconds = 2**attempt if error.retry_after is None else error.retry_after
                time.sleep(min(seconds, _LONGEST_WAIT))
        return self._try(method, path, receive, **request)

    def _try(
        self,
        method: str,
        path: str,
        receive: Callable[[Response], T],
        *,
        upload: _Upload | None = None,
        headers: dict[str, str] | None = None,
        **request: Any,
    ) -> T:
        import httpx

        try:
            with contextlib.ExitStack() as stack:
                if upload is not None:
                    headers = {**upload.headers, **(headers or {})}
                    request["content"] = stack.enter_context(upload.open())
                response = stack.enter_context(
                    self._http.stream(method, f"v1/{path}", headers=headers, **request)
                )
                if not response.is_success:
                    raise _error_of(response)
                return receive(response)
        except httpx.HTTPError as error:
            raise ServiceError(
                f"{self._http.base_url}: {error or type(error).__name__}",
                remedy="check the address, and whether the service runs",
            ) from error


class RemoteJob:
    """A job of a service, as :meth:`Client.submit` returns it.

    The attributes are those of the last response; :meth:`refresh` requests them again.

    Args:
        client: of the service.
        document: the job, as the API describes it.
    """

    def __init__(self, client: Client, document: dict[str, Any]) -> None:
        self._client = client
        self.id: str = document["id"]
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
        self.error: ServiceError | None = None if problem is None else _from_problem(problem)
        """Why it failed."""

    def __repr__(self) -> str:
        return f"RemoteJob({self.id!r}, state={self.state!r}, progress={self.progress:.2f})"

    def refresh(self) -> RemoteJob:
        """Request the state again.

        Raises:
            ServiceError: the service cannot be reached, or the job was deleted.
        """
        self._update(self._client._send("GET", f"jobs/{self.id}", _read_json))
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
            for document in _read_events(response):
                self._update(document)
                if on_progress is not None:
                    on_progress(self)

        try:
            self._client._try("GET", f"jobs/{self.id}/events", follow, timeout=_SILENCE_SECONDS)
        except ServiceError as error:
            if error.status not in _BUSY:
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
        return self._client._send("GET", f"jobs/{self.id}/result", _read)

    def save(self, target: str | Path, *, overwrite: bool = False) -> Path:
        """Write the result to a file, completely or not at all.

        Args:
            target: the file; its format is that which was requested, whatever its suffix.
            overwrite: replace ``target`` if it exists.

        Raises:
            ImageError: ``target`` exists or cannot be written.
            ServiceError: as :meth:`result`.
        """
        _check_target(target, overwrite=overwrite)
        return self._client._send("GET", f"jobs/{self.id}/result", _writer(target))

    def cancel(self) -> None:
        """Cancel the job if it is not finished, and delete it with its files.

        Raises:
            ServiceError: it was deleted already, or the service cannot be reached.
        """
        self._client._send("DELETE", f"jobs/{self.id}", lambda _: None)
        self.state = "cancelled" if self.state not in _FINISHED else self.state


@dataclass(frozen=True)
class _Upload:
    """An image to send, possibly more than once: a path, or its bytes."""

    content: Path | bytes
    name: str | None

    @classmethod
    def of(cls, image: str | Path | bytes | BinaryIO) -> _Upload:
        if isinstance(image, bytes):
            return cls(image, None)
        if isinstance(image, (str, Path)):
            return cls(Path(image), Path(image).name)
        name = getattr(image, "name", None)  # a number, for files of the system
        return cls(image.read(), Path(name).name if isinstance(name, str) else None)

    @property
    def headers(self) -> dict[str, str]:
        headers = {"Content-Type": "application/octet-stream"}
        if self.name is not None:
            shown = quote(self.name, safe="", errors="replace")
            headers["Content-Disposition"] = f"attachment; filename*=UTF-8''{shown}"
        return headers

    def open(self) -> contextlib.AbstractContextManager[bytes | BinaryIO]:
        if isinstance(self.content, bytes):
            return contextlib.nullcontext(self.content)
        return self.content.open("rb")


def _check_target(target: str | Path, *, overwrite: bool) -> None:
    if not overwrite and os.path.lexists(target):
        raise ImageError(
            f"{target} exists; pass overwrite=True to replace it or choose another name"
        )
    if not Path(target).parent.is_dir():
        raise ImageError(
            f"{target}: make the folder {Path(target).parent} first; it does not exist"
        )


def _format_of(target: str | Path) -> str | None:
    suffix = Path(target).suffix.lower().removeprefix(".")
    return {"jpeg": "jpg", "tiff": "tif"}.get(suffix, suffix) or None


def _writer(target: str | Path) -> Callable[[Response], Path]:
    """A function that writes a response to a file."""

    def write(response: Response) -> Path:
        try:
            with atomic_write(target) as temporary, temporary.open("wb") as file:
                for chunk in response.iter_bytes():
                    file.write(chunk)
            _log_notes(response)
        except OSError as error:
            raise ImageError(f"{target}: {explain(error)}") from error
        return Path(target)

    return write


def _read(response: Response) -> bytes:
    _log_notes(response)
    return response.read()


def _log_notes(response: Response) -> None:
    if notes := response.headers.get("torch-sr-notes"):
        _log.warning("%s", notes)


def _read_json(response: Response) -> Any:
    try:
        return json.loads(response.read())
    except ValueError as error:
        raise ServiceError(
            f"{response.url}: this is not torch-sr", remedy="check the address"
        ) from error


def _read_events(response: Response) -> Iterator[dict[str, Any]]:
    """The data of server-sent events."""
    for line in response.iter_lines():
        if line.startswith("data:"):
            yield json.loads(line.removeprefix("data:"))


def _error_of(response: Response) -> ServiceError:
    """The error of a response: its problem document, or its status if it has none."""
    after = response.headers.get("retry-after", "")
    seconds = int(after) if after.isdecimal() else None
    try:
        return _from_problem(json.loads(response.read()), seconds)
    except (ValueError, KeyError, TypeError):  # it does not come from torch-sr, but from a proxy
        moved = response.headers.get("location")
        return ServiceError(
            f"{response.url}: {response.status_code} {response.reason_phrase}",
            status=response.status_code,
            remedy=f"use the address {moved}" if moved else "check the address",
            retry_after=seconds,
        )


def _from_problem(problem: dict[str, Any], retry_after: int | None = None) -> ServiceError:
    return ServiceError(
        problem["detail"],
        status=problem["status"],
        field=problem.get("field"),
        value=problem.get("value"),
        remedy=problem.get("remedy"),
        retry_after=retry_after,
    )

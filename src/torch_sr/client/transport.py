"""Send requests to a service, repeat them if it is busy, and turn its answers into errors."""

from __future__ import annotations

import contextlib
import json
import logging
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from torch_sr.client.files import Upload, write_result
from torch_sr.errors import MissingExtraError, ServiceError

if TYPE_CHECKING:
    from httpx import Response

T = TypeVar("T")

BUSY = (None, 429, 502, 503)
"""Statuses after which the same request may succeed; None: the connection was lost."""
_CONNECT_SECONDS = 10.0
_LONGEST_WAIT = 60.0  # before a request is repeated

_log = logging.getLogger(__name__)


class Transport:
    """The connections of a client; see :class:`torch_sr.Client`."""

    def __init__(self, url: str, token: str | None, timeout: float, retries: int) -> None:
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

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def send(self, method: str, path: str, receive: Callable[[Response], T], **request: Any) -> T:
        """Send a request, and repeat it as often as ``retries`` permits.

        Args:
            method, path: of the request; the path is below ``/v1``.
            receive: reads the response, and returns what is wanted of it.
            request: see :meth:`send_once`.

        Raises:
            ServiceError: the service cannot be reached, refuses the request, or fails.
        """
        for attempt in range(self._retries):
            try:
                return self.send_once(method, path, receive, **request)
            except ServiceError as error:
                if error.status not in BUSY:
                    raise
                seconds = 2**attempt if error.retry_after is None else error.retry_after
                time.sleep(min(seconds, _LONGEST_WAIT))
        return self.send_once(method, path, receive, **request)

    def send_once(
        self,
        method: str,
        path: str,
        receive: Callable[[Response], T],
        *,
        upload: Upload | None = None,
        headers: dict[str, str] | None = None,
        **request: Any,
    ) -> T:
        """Send a request without repeating it.

        Args:
            method, path, receive: see :meth:`send`.
            upload: the body.
            headers: of the request.
            request: further arguments of httpx.
        """
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
                    raise _find_error(response)
                return receive(response)
        except httpx.HTTPError as error:
            raise ServiceError(
                f"{self._http.base_url}: {error or type(error).__name__}",
                remedy="check the address, and whether the service runs",
            ) from error


def read(response: Response) -> bytes:
    """The body."""
    _log_notes(response)
    return response.read()


def save_to(target: str | Path) -> Callable[[Response], Path]:
    """A function that writes the body to a file."""

    def save(response: Response) -> Path:
        written = write_result(target, response.iter_bytes())
        _log_notes(response)
        return written

    return save


def _log_notes(response: Response) -> None:
    if notes := response.headers.get("torch-sr-notes"):
        _log.warning("%s", notes)


def read_json(response: Response) -> Any:
    """The document in the body.

    Raises:
        ServiceError: it is not JSON.
    """
    try:
        return json.loads(response.read())
    except ValueError as error:
        raise ServiceError(
            f"{response.url}: this is not torch-sr", remedy="check the address"
        ) from error


def read_events(response: Response) -> Iterator[dict[str, Any]]:
    """The data of server-sent events."""
    for line in response.iter_lines():
        if line.startswith("data:"):
            yield json.loads(line.removeprefix("data:"))


def _find_error(response: Response) -> ServiceError:
    """The error of a response: its problem document, or its status if it has none."""
    after = response.headers.get("retry-after", "")
    seconds = int(after) if after.isdecimal() else None
    try:
        return from_problem(json.loads(response.read()), seconds)
    except (ValueError, KeyError, TypeError):  # it does not come from torch-sr, but from a proxy
        moved = response.headers.get("location")
        return ServiceError(
            f"{response.url}: {response.status_code} {response.reason_phrase}",
            status=response.status_code,
            remedy=f"use the address {moved}" if moved else "check the address",
            retry_after=seconds,
        )


def from_problem(problem: dict[str, Any], retry_after: int | None = None) -> ServiceError:
    """The error that a problem document describes."""
    return ServiceError(
        problem["detail"],
        status=problem["status"],
        field=problem.get("field"),
        value=problem.get("value"),
        remedy=problem.get("remedy"),
        retry_after=retry_after,
    )

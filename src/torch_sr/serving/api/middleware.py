"""What applies to every request, before any route: limits, headers, figures, bugs.

All are plain ASGI, so that bodies and responses are streamed.
"""

from __future__ import annotations

import asyncio
import logging
import time
from http import HTTPStatus

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from torch_sr.serving.api.problems import ProblemResponse
from torch_sr.serving.errors import RequestError, internal_error, too_large
from torch_sr.serving.metrics import ServiceMetrics
from torch_sr.serving.settings import Limits

_log = logging.getLogger(__name__)

API_POLICY = "default-src 'none'; frame-ancestors 'none'"
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",  # with "no-referrer", the login sends "Origin: null"
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
OPEN_PATHS = ("/healthz", "/readyz")
_API_PATHS = ("/v1", "/metrics", *OPEN_PATHS)
SAFE_METHODS = ("GET", "HEAD", "OPTIONS")


def is_api_path(path: str) -> bool:
    """Whether a path belongs to the API, and not to the page."""
    return path.startswith("/v1/") or path in _API_PATHS


class CountRequests:
    """Counts requests and their times, by route."""

    def __init__(self, app: ASGIApp, metrics: ServiceMetrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start, status, method = time.perf_counter(), 500, _method(scope)

        async def counted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, counted)
        finally:
            seconds = time.perf_counter() - start
            self._metrics.count_request(method, _route(scope), status, seconds)


class AddHeaders:
    """Adds security headers.

    Args:
        app: the next application.
        page_policy: the Content-Security-Policy of the page.
    """

    def __init__(self, app: ASGIApp, page_policy: str) -> None:
        self._app = app
        self._page_policy = page_policy

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        is_api = is_api_path(scope["path"])

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers[name] = value
                if is_api:
                    headers["Content-Security-Policy"] = API_POLICY
                    headers.setdefault("Cache-Control", "no-store")
                else:  # the page's first document has its own, with hashes of its scripts
                    headers.setdefault("Content-Security-Policy", self._page_policy)
            await send(message)

        await self._app(scope, receive, with_headers)


class AnswerBugs:
    """Answers requests that fail inside the server, within the other middleware.

    Starlette's own handler is outside of them, so that its responses have no security headers.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def note_start(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self._app(scope, receive, note_start)
        except RequestError:  # of the limits
            raise
        except Exception:
            if started or scope["type"] != "http":
                raise
            _log.exception("%s %s", scope["method"], scope["path"])
            await ProblemResponse(internal_error())(scope, receive, send)


class AnswerHead:
    """Answers ``HEAD`` as ``GET``, without the body."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD" or not is_api_path(scope["path"]):
            await self._app(scope, receive, send)
            return
        scope["method"] = "GET"
        is_sent = False

        async def send_headers(message: Message) -> None:
            nonlocal is_sent
            if not is_sent and message["type"] == "http.response.start":
                is_sent = True
                await send(message)
                await send({"type": "http.response.body", "body": b"", "more_body": False})

        async def receive_end() -> Message:  # a stream must not go on
            return {"type": "http.disconnect"} if is_sent else await receive()

        await self._app(scope, receive_end, send_headers)


class LimitBodies:
    """Stops reading a request's body when it is too large, too slow or takes too long."""

    def __init__(self, app: ASGIApp, limits: Limits) -> None:
        self._app = app
        self._limits = limits
        self._most = limits.max_upload + 100_000  # the other parts of a form
        self._most_of_page = limits.max_storage  # it sends many files at once

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        announced = Headers(scope=scope).get("content-length", "")
        most = self._most if is_api_path(scope["path"]) else self._most_of_page
        if announced.isdecimal() and int(announced[:20]) > most:
            await ProblemResponse(too_large(self._limits.max_upload))(scope, receive, send)
            return
        started = False

        async def note_start(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self._app(scope, self._limited(receive, most), note_start)
        except RequestError as error:
            if started:
                raise
            await ProblemResponse(error)(scope, receive, send)

    def _limited(self, receive: Receive, most: int) -> Receive:
        received, complete = 0, False
        deadline = time.monotonic() + self._limits.upload_seconds

        async def limited() -> Message:
            nonlocal received, complete
            if complete:  # from now on, only the end of the connection is waited for
                return await receive()
            seconds = min(self._limits.idle_seconds, max(0.0, deadline - time.monotonic()))
            try:
                message = await asyncio.wait_for(receive(), seconds)
            except asyncio.TimeoutError:
                raise RequestError(
                    "the upload is too slow",
                    status=HTTPStatus.REQUEST_TIMEOUT,
                    remedy="send a smaller file, or use a faster connection",
                ) from None
            if message["type"] == "http.request":
                received += len(message.get("body", b""))
                complete = not message.get("more_body", False)
                if received > most:
                    raise too_large(self._limits.max_upload)
            return message

        return limited


def _method(scope: Scope) -> str:
    return scope["method"] if scope["method"] in (*SAFE_METHODS, "POST", "DELETE") else "other"


def _route(scope: Scope) -> str:
    """The path with the names of its parameters; there are few of them, unlike paths."""
    if not is_api_path(scope["path"]):
        return "page"
    return getattr(scope.get("route"), "path", "unknown")

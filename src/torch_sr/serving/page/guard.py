"""What of Gradio is reachable: its page, and only for those who know the token.

Gradio also serves what this page does not use: files from other servers, recordings, deep links,
monitoring. Here, only the addresses that the page uses are passed on, and a request may name only
files that were uploaded before, so that the server never opens a connection.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import re
import secrets
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, PlainTextResponse, RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from torch_sr.serving.page.examples import EXAMPLES_FOLDER
from torch_sr.serving.page.visitors import Visitors

STATIC = Path(__file__).parent / "static"
PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; media-src 'self' blob:; font-src 'self' data:; "
    "connect-src 'self'; manifest-src 'self'; base-uri 'self'; form-action 'self'; "
    "frame-ancestors 'none'"
)
"""The Content-Security-Policy; the page itself adds the hashes of the scripts that it contains."""

_HEARTBEAT = "/gradio_api/heartbeat/"
_STOP_SECONDS = 1.0  # between two looks whether the server stops
_COOKIE = "torch-sr"
_MOST_JSON = 1_000_000  # bytes of a request that is not an upload
_READ = re.compile(
    r"/|/(config|theme\.css|favicon\.ico|manifest\.json|robots\.txt|pwa_icon(/\d+)?)"
    r"|/(assets|static)/.+"
    r"|/gradio_api/(startup-events|login_check|user|theme\.css|upload_progress|queue/data)"
    rf"|{_HEARTBEAT}\w+"
    r"|/gradio_api/file=(?!.*://).+"
)
_WRITE = re.compile(r"/gradio_api/(queue/join|upload|cancel|reset)/?")
_SCRIPT = re.compile(rb"<script(?![^>]*\ssrc=)[^>]*>(.*?)</script>", re.DOTALL)


class Guard:
    """An ASGI application around Gradio's.

    Args:
        app: Gradio's.
        visitors: whose folder has the uploads.
        has_room: whether another upload is accepted.
        is_stopping: whether connections that wait for nothing are to end.
        token: what a visitor must know; None for no login.
    """

    def __init__(
        self,
        app: ASGIApp,
        visitors: Visitors,
        *,
        has_room: Callable[[], bool],
        is_stopping: Callable[[], bool],
        token: str | None,
    ) -> None:
        self._app = app
        self._visitors = visitors
        self._folders = (visitors.folder, EXAMPLES_FOLDER)
        self._has_room = has_room
        self._is_stopping = is_stopping
        self._token = token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":  # Gradio needs no WebSockets
            await send({"type": "websocket.close"})
            return
        path = scope["path"].removeprefix(scope.get("root_path", "").rstrip("/")) or "/"
        request = Request(scope, receive)
        if path == "/page.js":
            await FileResponse(STATIC / "page.js")(scope, receive, send)
        elif not self._is_known(request) or self._is_login(request, path):
            await self._log_in(request, path, send)
        elif request.method in ("GET", "HEAD") and _READ.fullmatch(path):
            await self._read(path, scope, receive, send)
        elif request.method == "POST" and _WRITE.fullmatch(path):
            await self._write(path, scope, receive, send)
        else:
            await PlainTextResponse("Not found", 404)(scope, receive, send)

    # --- The token ------------------------------------------------------------------------------

    def _is_known(self, request: Request) -> bool:
        return self._token is None or _same(request.cookies.get(_COOKIE, ""), self._key())

    def _is_login(self, request: Request, path: str) -> bool:
        """Whether a token is given, which is then removed from the address."""
        return path == "/" and (
            request.method == "POST"
            or (self._token is not None and "token" in request.query_params)
        )

    def _key(self) -> str:
        """What a browser keeps: it opens the page, but does not reveal the token."""
        return hmac.new(str(self._token).encode(), b"page", hashlib.sha256).hexdigest()

    async def _log_in(self, request: Request, path: str, send: Send) -> None:
        """Take the token from a form or from the address; otherwise, ask for it."""
        given = None
        if path == "/" and request.method == "POST":
            given = parse_qs((await _body(request, 10_000)).decode(errors="replace")).get("token")
        elif path == "/" and request.method in ("GET", "HEAD"):
            given = request.query_params.getlist("token") or None
        if given and _same(given[0].strip(), str(self._token)):
            response: Any = RedirectResponse(request.url.path, 303)
            secure = request.url.scheme == "https"
            response.set_cookie(_COOKIE, self._key(), httponly=True, samesite="lax", secure=secure)
        elif path == "/":
            page = (STATIC / "login.html").read_text(encoding="utf-8")
            message = "This is not the token; check it and try again." if given else ""
            response = HTMLResponse(page.replace("{message}", message), 401)
        else:
            response = PlainTextResponse("Log in on the page first", 401)
        await response(request.scope, request.receive, send)

    # --- Gradio ---------------------------------------------------------------------------------

    async def _read(self, path: str, scope: Scope, receive: Receive, send: Send) -> None:
        if path.startswith(_HEARTBEAT):
            await self._stay(path.removeprefix(_HEARTBEAT), self._app(scope, receive, send))
            return
        if path != "/":
            await self._app(scope, receive, send)
            return
        plain = [pair for pair in scope["headers"] if pair[0] != b"accept-encoding"]
        answer = _Answer()
        await self._app({**scope, "headers": plain}, receive, answer)
        scripts = " ".join(["script-src 'self'", *_hashes(answer.body)])
        policy = PAGE_POLICY.replace("script-src 'self'", scripts)
        answer.headers.append((b"content-security-policy", policy.encode()))
        await answer.send(send)

    async def _stay(self, page: str, connection: Awaitable[None]) -> None:
        """Keep the connection that each open page holds, which would delay the server's stop."""
        task = asyncio.ensure_future(connection)
        try:
            while not task.done():
                await asyncio.wait([task], timeout=_STOP_SECONDS)
                if self._is_stopping() and not self._visitors.is_busy(page):
                    break
        finally:
            task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    async def _write(self, path: str, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on uploads as they are, and other requests if they name no foreign files."""
        if path.rstrip("/").endswith("/upload"):
            if await asyncio.to_thread(self._has_room):
                await self._app(scope, receive, send)
            else:
                await PlainTextResponse("The server is full, try again later", 507)(
                    scope, receive, send
                )
            return
        body = await _body(Request(scope, receive), _MOST_JSON)
        try:
            allowed = all(self._is_usable(path) for path in _files(json.loads(body)))
        except (ValueError, RecursionError):
            allowed = False
        if not allowed:
            await PlainTextResponse("Refused", 400)(scope, receive, send)
            return
        parts: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

        async def again() -> Message:
            return parts.pop() if parts else await receive()

        await self._app(scope, again, send)

    def _is_usable(self, path: object) -> bool:
        if not isinstance(path, str) or "\0" in path:
            return False
        resolved = Path(path).resolve()
        return any(resolved.is_relative_to(folder) for folder in self._folders)


class _Answer:
    """A whole response, kept to be changed."""

    def __init__(self) -> None:
        self.status = 500
        self.headers: list[tuple[bytes, bytes]] = []
        self.body = b""

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status, self.headers = message["status"], list(message["headers"])
        else:
            self.body += message.get("body", b"")

    async def send(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status, "headers": self.headers})
        await send({"type": "http.response.body", "body": self.body})


def _same(given: str, expected: str) -> bool:
    return secrets.compare_digest(given.encode(), expected.encode())


def _hashes(page: bytes) -> Iterator[str]:
    for script in _SCRIPT.findall(page):
        yield f"'sha256-{base64.b64encode(hashlib.sha256(script).digest()).decode()}'"


def _files(data: Any) -> Iterator[object]:
    """The paths of all files that a request names, however deep."""
    if isinstance(data, dict):
        if "path" in data:
            yield data["path"]
        for value in data.values():
            yield from _files(value)
    elif isinstance(data, list):
        for value in data:
            yield from _files(value)


async def _body(request: Request, most: int) -> bytes:
    """A request's body; empty if it is longer than that."""
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > most:
            return b""
    return body

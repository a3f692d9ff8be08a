"""Who may use the API: the token, and what browsers send for other web sites."""

from __future__ import annotations

import secrets
from collections.abc import Collection
from http import HTTPStatus
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from torch_sr.serving.addresses import is_loopback
from torch_sr.serving.api.middleware import OPEN_PATHS, SAFE_METHODS, is_api_path
from torch_sr.serving.api.problems import ProblemResponse
from torch_sr.serving.errors import RequestError


class CheckOrigin:
    """Refuses what other web sites send through the browser of a user.

    A site could otherwise use a service on the user's own machine: by a form that it sends there,
    or by a name that it lets point to 127.0.0.1 (DNS rebinding).

    Args:
        app: the next application.
        hosts: names in the header ``Host`` that are accepted; empty for all. Addresses of the
            machine itself are always accepted.
    """

    def __init__(self, app: ASGIApp, hosts: Collection[str]) -> None:
        self._app = app
        self._hosts = {host.lower() for host in hosts}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        error = self._find_error(scope) if scope["type"] == "http" else None
        if error is None:
            await self._app(scope, receive, send)
        else:
            await ProblemResponse(error)(scope, receive, send)

    def _find_error(self, scope: Scope) -> RequestError | None:
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        name = (urlsplit(f"//{host}").hostname or "") if _is_plain(host) else ""
        is_known = name in self._hosts or is_loopback(name) or scope["path"] in OPEN_PATHS
        if self._hosts and not is_known:
            return RequestError(
                "this server is not reached by this name",
                status=HTTPStatus.MISDIRECTED_REQUEST,
                field="Host",
                value=host,
                remedy="start it with --allowed-hosts and the name",
            )
        origin = headers.get("origin")
        if origin is None or scope["method"] in SAFE_METHODS:
            return None
        site = urlsplit(origin).netloc if _is_plain(origin) else ""
        if not site or site.lower() != host.lower():
            return RequestError(
                "other web sites may not use this server",
                status=HTTPStatus.FORBIDDEN,
                field="Origin",
                value=origin,
                remedy="send the request from a program, without the header Origin",
            )
        return None


class CheckToken:
    """Requires ``Authorization: Bearer`` and the token for the API; the page has a login."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        self._app = app
        self._token = token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not self._is_refused(scope):
            await self._app(scope, receive, send)
            return
        error = RequestError(
            "the token is missing or wrong",
            status=HTTPStatus.UNAUTHORIZED,
            field="Authorization",
            remedy="send the header Authorization: Bearer and the token",
        )
        response = ProblemResponse(error, {"WWW-Authenticate": "Bearer"})
        await response(scope, receive, send)

    def _is_refused(self, scope: Scope) -> bool:
        if not is_api_path(scope["path"]) or scope["path"] in OPEN_PATHS:
            return False
        header = Headers(scope=scope).get("authorization", "").encode("latin-1")
        scheme, _, given = header.decode(errors="replace").partition(" ")
        return scheme.lower() != "bearer" or not same_token(given.strip(), self._token)


def same_token(given: str, token: str) -> bool:
    """Compare in a time that does not depend on how much is right."""
    return secrets.compare_digest(given.encode(errors="replace"), token.encode())


def _is_plain(address: str) -> bool:
    """Whether :func:`urlsplit` takes it; it raises for some brackets."""
    try:
        urlsplit(f"//{address}")
        urlsplit(address)
    except ValueError:
        return False
    return True

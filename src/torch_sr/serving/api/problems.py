"""Errors as problem documents (RFC 9457), by exception handlers and from middleware."""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.routing import Match

from torch_sr.serving.errors import RequestError, internal_error

PROBLEM_TYPE = "application/problem+json"
_PLACES = ("query", "path", "header", "body")
_CLIENT_CLOSED = 499  # the client is gone; this status is for the figures


class ProblemResponse(Response):
    """A problem document.

    Args:
        error: what it describes.
        headers: of the response, besides ``Retry-After``.
    """

    media_type = PROBLEM_TYPE

    def __init__(self, error: RequestError, headers: Mapping[str, str] | None = None) -> None:
        more = {"Retry-After": str(error.retry_after)} if error.retry_after is not None else {}
        # Names of files may hold halves of surrogate pairs, which only escapes can express.
        super().__init__(
            json.dumps(error.to_dict()), error.status, {**(headers or {}), **more}, self.media_type
        )


def add_handlers(app: FastAPI) -> None:
    """Let an application answer all errors with problem documents."""
    app.add_exception_handler(RequestError, _on_request_error)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(HTTPException, _on_http_error)
    app.add_exception_handler(ClientDisconnect, _on_disconnect)
    app.add_exception_handler(Exception, _on_bug)


def describe_invalid(errors: list[Any]) -> RequestError:
    """The error of values that pydantic refuses."""
    first = errors[0]
    field = ".".join(str(part) for part in first["loc"] if part not in _PLACES)
    value = first.get("input")
    shown = value if isinstance(value, (str, int, float)) else None
    if first["type"] == "extra_forbidden":
        return RequestError(
            f"{field} is not an option",
            field=field,
            value=shown,
            remedy="see /v1/openapi.json for the options",
        )
    return RequestError(
        f"{field}: {first['msg'][:1].lower()}{first['msg'][1:]}",
        field=field,
        value=shown,
        remedy="see /v1/openapi.json for its values",
    )


def refuse_invalid(error: ValidationError) -> RequestError:
    """The error of options that do not fit :class:`UpscaleRequest`."""
    return describe_invalid(list(error.errors()))


async def _on_request_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestError)
    return ProblemResponse(error)


async def _on_invalid(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    return ProblemResponse(describe_invalid(list(error.errors())))


async def _on_http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    remedy = None
    if error.status_code == HTTPStatus.NOT_FOUND:
        remedy = "see /v1/openapi.json for the paths"
    # Not of request.url, which contains the header Host and may not be an address.
    detail = f"{request.method} {request.scope['path']}: {error.detail}"
    problem = RequestError(detail, status=error.status_code, remedy=remedy)
    headers = dict(error.headers or {})
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        headers["Allow"] = ", ".join(_allowed_methods(request))
    return ProblemResponse(problem, headers)


def _allowed_methods(request: Request) -> list[str]:
    """The methods of all routes of a path; Starlette names those of the first one only."""

    def is_allowed(method: str) -> bool:
        scope = {**request.scope, "method": method}
        return any(route.matches(scope)[0] is Match.FULL for route in request.app.routes)

    allowed = [method for method in ("DELETE", "GET", "POST") if is_allowed(method)]
    return [*allowed, "HEAD"] if "GET" in allowed else allowed


async def _on_disconnect(_: Request, __: Exception) -> Response:
    return Response(status_code=_CLIENT_CLOSED)


async def _on_bug(_: Request, __: Exception) -> Response:
    """The exception itself is logged by the server; clients do not see it."""
    return ProblemResponse(internal_error())

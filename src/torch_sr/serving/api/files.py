"""Responses with the file of a result."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path

import anyio
from fastapi.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.responses import FileResponse
from starlette.types import Message, Receive, Scope, Send

from torch_sr.serving.api.problems import ProblemResponse
from torch_sr.serving.errors import RequestError
from torch_sr.serving.requests import FORMATS

_SPELLINGS = {
    "jpeg": "jpg",
    "jpe": "jpg",
    "jfif": "jpg",
    "jif": "jpg",
    "jfi": "jpg",
    "tiff": "tif",
    "apng": "png",
}


class ResultResponse(FileResponse):
    """A result, or the part of it that the header ``Range`` names.

    Args:
        path: of the result.
        notes: what it could not keep of its source; they get a header.
        on_end: called when it was sent, and also if the client has gone away.

    Raises:
        RequestError: the file is missing, with the status 404.
    """

    def __init__(
        self,
        path: Path,
        notes: tuple[str, ...] = (),
        on_end: Callable[[], None] | None = None,
    ) -> None:
        try:
            found = path.stat()
        except OSError as error:  # it was deleted just now, or by the operator
            raise RequestError(
                "the result has been deleted",
                status=HTTPStatus.NOT_FOUND,
                remedy="send the image again",
            ) from error
        suffix = path.suffix.lower().removeprefix(".")
        super().__init__(
            path,
            stat_result=found,
            filename=path.name,
            media_type=FORMATS.get(_SPELLINGS.get(suffix, suffix)),
            headers={"Torch-SR-Notes": to_header("; ".join(notes))} if notes else {},
        )
        self._on_end = on_end

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._send(scope, receive, send)
        finally:
            if self._on_end is not None:
                with anyio.CancelScope(shield=True):
                    await run_in_threadpool(self._on_end)

    async def _send(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the file; Starlette answers wrong ranges in plain text, which becomes a problem."""
        refusal: Message | None = None

        async def hold_refusal(message: Message) -> None:
            nonlocal refusal
            if message["type"] == "http.response.start" and message["status"] >= 400:
                refusal = message
            elif refusal is None:
                await send(message)

        await super().__call__(scope, receive, hold_refusal)
        if refusal is None:
            return
        error = RequestError(
            "the file does not have this range",
            status=refusal["status"],
            field="Range",
            value=Headers(scope=scope).get("range"),
            remedy="leave the header out to get the whole file",
        )
        size = Headers(raw=refusal["headers"]).get("content-range")
        headers = {"Content-Range": size} if size else {}
        await ProblemResponse(error, headers)(scope, receive, send)


def to_header(text: str) -> str:
    r"""Text in the characters that headers may have; notes quote what is in damaged files.

    >>> to_header("na\u00efve\n chunk IEN\x00")
    'na\\xefve chunk IEN\\x00'
    """
    plain = " ".join(text.split())
    printable = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in plain)
    return printable.encode("ascii", "backslashreplace").decode()

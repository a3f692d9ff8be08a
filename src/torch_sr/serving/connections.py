"""Close connections that stall; uvicorn itself would keep them open forever.

A client may send the headers of a request very slowly, or never read its response. Bodies that come
slowly are refused by :class:`~torch_sr.serving.api.middleware.LimitBodies`.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

SECONDS_FOR_HEADERS = 20.0  # and for the rest of a body that was refused
SECONDS_TO_READ = 300.0  # without any progress; the system sends in steps of megabytes
_SECONDS_BETWEEN_CHECKS = 2.0


class WatchedProtocol(H11Protocol):
    """HTTP/1.1, with limits to the time in which nothing happens."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._since = self.loop.time()
        self._unsent = 0
        self._schedule()

    def connection_lost(self, exc: Exception | None) -> None:
        self._watching.cancel()
        super().connection_lost(exc)

    def _schedule(self) -> None:
        self._watching = self.loop.call_later(_SECONDS_BETWEEN_CHECKS, self._watch)

    def _watch(self) -> None:
        """Note progress; without any for too long, end the connection."""
        transport: Any = self.transport
        unsent = transport.get_write_buffer_size()
        is_waiting = self.cycle is None or self.cycle.response_complete
        if unsent != self._unsent or not (is_waiting or unsent):
            self._since, self._unsent = self.loop.time(), unsent
        most = SECONDS_TO_READ if unsent else SECONDS_FOR_HEADERS
        if self.loop.time() - self._since > most:
            transport.abort()
        else:
            self._schedule()

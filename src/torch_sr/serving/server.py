"""Run the service in this process: uvicorn, signals, and a graceful stop."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import uvicorn

from torch_sr.errors import ConfigError
from torch_sr.serving.connections import WatchedProtocol
from torch_sr.serving.service import Service

_MOST_CONNECTIONS = 1000
_SECONDS_TO_SEND = 10  # the last results, after the tasks have ended

_log = logging.getLogger(__name__)


def bind(host: str, port: int) -> socket.socket:
    """A socket that listens.

    Raises:
        ConfigError: the address cannot be used.
    """
    try:
        (family, kind, protocol, _, address), *_ = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except (OSError, UnicodeError) as error:  # a part of the name may be too long
        raise ConfigError(f"--host {host}: check the name: {_reason(error)}") from error
    # With the protocol, asyncio sends small parts at once; otherwise a response takes 40 ms more.
    listening = socket.socket(family, kind, protocol)
    try:
        if os.name != "nt":  # there, it lets two servers listen on one port
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(1024)
    except OSError as error:
        listening.close()
        wrong = "--host" if error.errno == errno.EADDRNOTAVAIL else "--port"
        raise ConfigError(
            f"--host {host} --port {port}: choose another {wrong}: {_reason(error)}"
        ) from error
    return listening


def _reason(error: Exception) -> str:
    """What the system says, without its numbers."""
    return getattr(error, "strerror", None) or " ".join(str(error).split())


def run_server(
    app: Any,
    service: Service,
    listening: socket.socket,
    *,
    grace: float = 30.0,
    access_log: bool = False,
    on_start: Callable[[], None] = lambda: None,
) -> None:
    """Serve until SIGTERM or Ctrl-C, then stop gracefully; a second signal stops at once.

    Args:
        app: the application.
        service: has been started; it is stopped here, but not closed.
        listening: as :func:`bind` returns it.
        grace: seconds for running tasks; see :meth:`Service.stop`.
        access_log: log each request.
        on_start: called when requests are accepted.
    """
    config = uvicorn.Config(
        app,
        http=WatchedProtocol,
        ws="none",
        lifespan="on",
        log_level="info" if access_log else "warning",
        access_log=access_log,
        server_header=False,
        limit_concurrency=_MOST_CONNECTIONS,
        timeout_keep_alive=15,
        timeout_graceful_shutdown=round(grace + _SECONDS_TO_SEND),
    )
    _Server(config, service, grace, on_start).run(sockets=[listening])


class _Server(uvicorn.Server):
    """Stops the service while the last responses are sent.

    A signal is a normal end. The second one ends the process at once, which loses no job: what is
    not finished is computed at the next start.
    """

    def __init__(
        self, config: uvicorn.Config, service: Service, grace: float, on_start: Callable[[], None]
    ) -> None:
        super().__init__(config)
        self._service = service
        self._grace = grace
        self._on_start = on_start

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._on_start()

    def capture_signals(self) -> Any:
        """Handle signals; unlike uvicorn, they are not raised again at the end."""
        return _handling(self.handle_exit)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self.should_exit:
            os._exit(128 + sig)
        self.should_exit = True
        _log.warning(
            "stopping; running requests get %g seconds, and the same signal again ends them",
            self._grace,
        )

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        stopping = asyncio.create_task(asyncio.to_thread(self._service.stop, self._grace))
        await super().shutdown(sockets)
        await stopping


@contextmanager
def _handling(handle: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Handle SIGINT and SIGTERM; only the main thread can."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {sig: signal.signal(sig, handle) for sig in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for sig, handler in before.items():
            signal.signal(sig, handler)

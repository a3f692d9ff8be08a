"""Turn Ctrl-C and SIGTERM into requests to stop."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


class Stop:
    """Whether a stop was requested; a second request interrupts at once, except in a shield."""

    def __init__(self) -> None:
        self._requested = threading.Event()
        self._shielded = False
        self._interrupts = False

    def is_set(self) -> bool:
        """Whether a stop was requested."""
        return self._requested.is_set()

    def request(self) -> None:
        """Request a stop; a second request interrupts.

        Raises:
            KeyboardInterrupt: at the second request, outside a shield.
        """
        if not self._requested.is_set():
            self._requested.set()
        elif self._shielded:
            self._interrupts = True
        else:
            raise KeyboardInterrupt

    def wait(self) -> None:
        """Return once a stop is requested."""
        self._requested.wait()

    @contextmanager
    def shield(self) -> Iterator[None]:
        """Delay an interruption until the code inside is done, such as writing a checkpoint."""
        self._shielded = True
        try:
            yield
        finally:
            self._shielded = False
        if self._interrupts:
            self._interrupts = False
            raise KeyboardInterrupt


@contextmanager
def stop_on_signal(stop: Stop, on_request: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Turn Ctrl-C and SIGTERM into requests to stop.

    Args:
        stop: receives the requests.
        on_request: called at the first request, from a separate thread, because a signal handler
            may interrupt anything, such as writing a log.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may set handlers
        return

    def handle(number: int, frame: FrameType | None) -> None:
        stop.request()

    over = False

    def announce() -> None:
        stop.wait()
        if not over:
            on_request()

    announcer = threading.Thread(target=announce, daemon=True)
    announcer.start()
    previous = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
        if stop.is_set():
            announcer.join(timeout=1)  # so that its output comes first
        over = True
        stop._requested.set()  # ends the announcer

"""An HTTP server on this machine that fails, lies and redirects as a test configures it."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Behavior = Callable[["Handler", bytes], None]


@dataclass
class Site:
    """What is served, and what was asked for."""

    files: dict[str, bytes] = field(default_factory=dict)
    behaviors: dict[str, list[Behavior]] = field(default_factory=dict)
    """By path, one for each request; then, and elsewhere, :func:`serve`."""
    requests: list[tuple[str, str | None]] = field(default_factory=list)
    """Paths, and the ranges asked for."""
    version: str = '"1"'


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    site: Site

    def do_GET(self):
        self.site.requests.append((self.path, self.headers["Range"]))
        content = self.site.files.get(self.path)
        planned = self.site.behaviors.get(self.path, [])
        behavior = planned.pop(0) if planned else serve
        behavior(self, content if content is not None else b"")
        self.close_connection = True

    def log_message(self, *arguments):
        pass

    def begin(self, status, length=None, **headers):
        self.send_response(status)
        self.send_header("Connection", "close")
        if length is not None:
            self.send_header("Content-Length", str(length))
        if self.site.version:
            self.send_header("ETag", self.site.version)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()


def serve(handler, content):
    """As a good server does, ranges included."""
    if handler.path not in handler.site.files:
        return handler.begin(404, 0)
    asked = handler.headers["Range"]
    fits = handler.headers["If-Range"] == handler.site.version
    if asked is None or not fits:
        handler.begin(200, len(content))
        return handler.wfile.write(content)
    start = int(asked.removeprefix("bytes=").removesuffix("-"))
    if start >= len(content):
        return handler.begin(416, 0, Content_Range=f"bytes */{len(content)}")
    whole = f"bytes {start}-{len(content) - 1}/{len(content)}"
    handler.begin(206, len(content) - start, Content_Range=whole)
    return handler.wfile.write(content[start:])


def serve_all(handler, content):
    """Ignore ranges."""
    handler.begin(200, len(content))
    handler.wfile.write(content)


def break_off(after):
    """Promise everything, send some, hang up."""

    def behave(handler, content):
        handler.begin(200, len(content))
        handler.wfile.write(content[:after])

    return behave


def promise(length):
    """Send everything under a wrong length."""

    def behave(handler, content):
        handler.begin(200, length)
        handler.wfile.write(content)

    return behave


def answer(status, **headers):
    def behave(handler, content):
        handler.begin(status, 0, **headers)

    return behave


def hang(seconds):
    """Say nothing for a while."""

    def behave(handler, content):
        time.sleep(seconds)
        serve(handler, content)

    return behave


class _Server(ThreadingHTTPServer):
    """A server that says nothing of clients that hang up, at whatever moment its threads notice."""

    daemon_threads = True

    def handle_error(self, request, client_address):
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


def run_site():
    """Yield a site and its address."""
    site = Site()
    handler = type("SiteHandler", (Handler,), {"site": site})
    server = _Server(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield site, f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()

"""Serve this folder at http://127.0.0.1:8000, with the headers that the page needs.

    python server.py [PORT]

Any web server does, if it sends these headers with every file: the first two allow threads
(without them, the page computes with one), and the third forbids requests to other servers.
"""

import sys
from contextlib import suppress
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

HEADERS = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Content-Security-Policy": "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; "
    "worker-src 'self' blob:; connect-src 'self'; img-src blob: data:; style-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-cache",
}


class Handler(SimpleHTTPRequestHandler):
    """Sends the files of a folder, with the headers."""

    extensions_map = {  # noqa: RUF012 - as in the base class
        **SimpleHTTPRequestHandler.extensions_map,
        ".js": "text/javascript",
        ".mjs": "text/javascript",
        ".wasm": "application/wasm",
    }

    def end_headers(self) -> None:
        for name, value in HEADERS.items():
            self.send_header(name, value)
        super().end_headers()

    def log_message(self, *_: object) -> None:
        """Print nothing for each request."""


def make_server(folder: Path, port: int) -> ThreadingHTTPServer:
    """A server of a folder, reachable only from this machine; port 0 chooses a free one."""
    return ThreadingHTTPServer(("127.0.0.1", port), partial(Handler, directory=folder))


def main() -> None:
    """Serve until Ctrl+C."""
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 8000
    with make_server(Path(__file__).parent, port) as server:
        print(f"Open http://127.0.0.1:{server.server_port}/ (stop with Ctrl+C)")
        with suppress(KeyboardInterrupt):
            server.serve_forever()


if __name__ == "__main__":
    main()

"""Take the pictures of the pages in the documentation, with the shipped model.

    python scripts/page_pictures.py           writes serve.png, serve_phone.png and web.png in
                                              docs/images
    python scripts/page_pictures.py FOLDER    writes them, and the same in dark mode, into a folder

Needs the extras ``serve`` and ``dev``, and Chromium; for web.png, what examples/web/README.md
installs and exports.
"""

from __future__ import annotations

import runpy
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pyvips
import uvicorn
from playwright.sync_api import Browser, Page, sync_playwright

from torch_sr.serving.api.app import make_app
from torch_sr.serving.service import Service
from torch_sr.serving.settings import ServiceSettings

ROOT = Path(__file__).parents[1]
WEB = ROOT / "examples" / "web"
IMAGE = ROOT / "examples" / "dahlia.jpg"
WINDOWS = {"serve": (1280, 900, 1), "serve_phone": (390, 844, 2), "web": (1280, 900, 1)}
"""Width and height of a window, and pixels of the screen for each of its own."""


def main() -> None:
    """Take the pictures of each page."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs" / "images"
    schemes = ("light", "dark") if len(sys.argv) > 1 else ("light",)
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        with serving() as address:
            for name in ("serve", "serve_phone"):
                take_all(browser, address, upscale_on_service, folder / f"{name}.png", schemes)
        if not all((WEB / name).exists() for name in ("model.onnx", "node_modules")):
            sys.exit(f"no web.png: run the commands of {WEB / 'README.md'} first, except npm start")
        with serving_files() as address:
            take_all(browser, address, upscale_in_browser, folder / "web.png", schemes)
        browser.close()


@contextmanager
def serving() -> Iterator[str]:
    """A service of the shipped model; yields its address."""
    with tempfile.TemporaryDirectory() as folder:
        service = Service(ServiceSettings(Path(folder), models=("compact-x4",)))
        service.start()
        config = uvicorn.Config(make_app(service), port=0, log_level="error")
        config.timeout_graceful_shutdown = 1
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run)
        thread.start()
        try:
            while not server.started:
                time.sleep(0.1)
            port = server.servers[0].sockets[0].getsockname()[1]
            yield f"http://127.0.0.1:{port}/"
        finally:
            server.should_exit = True
            thread.join()
            service.stop(1)


@contextmanager
def serving_files() -> Iterator[str]:
    """The page of examples/web by its own server; yields its address."""
    with runpy.run_path(str(WEB / "server.py"))["make_server"](WEB, 0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join()


def take_all(
    browser: Browser,
    address: str,
    upscale: Callable[[Page], None],
    path: Path,
    schemes: tuple[str, ...],
) -> None:
    """Upscale the image on a page, and take a picture of the window, in each color scheme."""
    width, height, ratio = WINDOWS[path.stem]
    for scheme in schemes:
        context = browser.new_context(
            viewport={"width": width, "height": height},
            device_scale_factor=ratio,
            color_scheme=scheme,
            is_mobile=width < 600,
            has_touch=width < 600,
        )
        page = context.new_page()
        page.goto(address)
        upscale(page)
        page.mouse.move(0, 0)
        page.wait_for_timeout(1500)
        seen = pyvips.Image.new_from_buffer(page.screenshot(), "")
        named = path.with_stem(path.stem + ("_dark" if scheme == "dark" else ""))
        seen.pngsave(str(named), palette=True, colours=256, dither=1.0, effort=10)
        context.close()


def upscale_on_service(page: Page) -> None:
    """Upscale the image on the page of ``torch-sr serve``."""
    page.get_by_role("button", name="Upscale").wait_for()
    page.set_input_files("#images input[type=file]", IMAGE)
    page.locator("#images .file").wait_for()
    page.get_by_role("button", name="Upscale").click()
    page.locator("#comparison img").nth(1).wait_for()


def upscale_in_browser(page: Page) -> None:
    """Upscale the image on the page of examples/web."""
    page.set_input_files("#file", IMAGE)
    page.locator("#result").wait_for(timeout=300_000)


if __name__ == "__main__":
    main()

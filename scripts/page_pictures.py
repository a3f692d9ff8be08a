"""Take the pictures of the page in the documentation, with the shipped model.

    python scripts/page_pictures.py           writes serve.png and serve_phone.png in docs/images
    python scripts/page_pictures.py FOLDER    writes them, and the same in dark mode, into a folder

Needs the extras ``serve`` and ``dev``, and Chromium.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyvips
import uvicorn
from playwright.sync_api import sync_playwright

from torch_sr.serving.api.app import make_app
from torch_sr.serving.service import Service
from torch_sr.serving.settings import ServiceSettings

ROOT = Path(__file__).parents[1]
IMAGE = ROOT / "examples" / "dahlia.jpg"
WINDOWS = {"serve": (1280, 900, 1), "serve_phone": (390, 844, 2)}


def main() -> None:
    """Serve, and take the pictures."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs" / "images" / "images"
    schemes = ("light", "dark") if len(sys.argv) > 1 else ("light",)
    with serving() as address, sync_playwright() as playwright:
        chromium = shutil.which("chromium") or shutil.which("google-chrome")
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for scheme in schemes:
            for name, (width, height, ratio) in WINDOWS.items():
                context = browser.new_context(
                    viewport={"width": width, "height": height},
                    device_scale_factor=ratio,
                    color_scheme=scheme,
                    is_mobile=width < 600,
                    has_touch=width < 600,
                )
                suffix = "_dark" if scheme == "dark" else ""
                take(context.new_page(), address, folder / f"{name}{suffix}.png")
                context.close()
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


def take(page: Any, address: str, path: Path) -> None:
    """Upscale the image, and take a picture of the window."""
    page.goto(address)
    page.get_by_role("button", name="Upscale").wait_for()
    page.set_input_files("#images input[type=file]", IMAGE)
    page.locator("#images .file").wait_for()
    page.get_by_role("button", name="Upscale").click()
    page.locator("#comparison img").nth(1).wait_for()
    page.mouse.move(0, 0)
    page.wait_for_timeout(1500)
    seen = pyvips.Image.new_from_buffer(page.screenshot(), "")
    seen.pngsave(str(path), palette=True, colours=256, dither=1.0, effort=10)


if __name__ == "__main__":
    main()

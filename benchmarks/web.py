"""How long the page of examples/web needs, and how far its result is from the command's.

Chromium opens the page, upscales images, and the same is done by ``torch-sr upscale`` (the native
engine, with as many threads). It prints the seconds of each, without loading the page's model, and
the largest difference in levels of 255. First run the commands of examples/web/README.md, except
``npm start``. Then::

    python benchmarks/web.py examples/dahlia.jpg
    python benchmarks/web.py IMAGE ... --device webgpu --tile-size 256
"""

from __future__ import annotations

import argparse
import runpy
import shutil
import threading
import time
from pathlib import Path

import numpy as np
from playwright.sync_api import Page, sync_playwright

import torch_sr
from torch_sr.aliases import Floats
from torch_sr.images import read_image

WEB = Path(__file__).parents[1] / "examples" / "web"


def main() -> None:
    """Measure and print a line for each image and number of threads."""
    arguments = parse()
    print(
        f"{'image':20} {'pixels':>10} {'threads':>8} {'page s':>7} {'command s':>10} {'levels':>7}"
    )
    with (
        runpy.run_path(str(WEB / "server.py"))["make_server"](WEB, 0) as server,
        sync_playwright() as playwright,
    ):
        threading.Thread(target=server.serve_forever, daemon=True).start()
        chromium = shutil.which("chromium") or shutil.which("google-chrome")
        flags = ["--no-sandbox", "--enable-unsafe-webgpu"]
        page = playwright.chromium.launch(executable_path=chromium, args=flags).new_page()
        for threads in arguments.threads:
            query = f"device={arguments.device}&threads={threads}&tile={arguments.tile_size}"
            page.goto(f"http://127.0.0.1:{server.server_port}/?{query}")
            for image in arguments.images:
                print(measure(page, image, threads), flush=True)
        server.shutdown()


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("images", nargs="+", type=Path)
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--device", choices=("webgpu", "wasm", "auto"), default="wasm")
    parser.add_argument("--tile-size", type=int, default=160)
    return parser.parse_args()


def measure(page: Page, path: Path, threads: int) -> str:
    """Upscale an image in both ways; a line of the table."""
    upscale(page, path)  # loads the model, which is not measured
    start = time.perf_counter()
    found = upscale(page, path)
    page_seconds = time.perf_counter() - start
    image = read_image(path)
    start = time.perf_counter()
    expected = torch_sr.Upscaler("compact-x4", device="cpu", threads=threads).upscale(image)
    command_seconds = time.perf_counter() - start
    difference = np.abs(found - expected.color.astype(np.float32)).max()
    pixels = f"{image.color.shape[1]}x{image.color.shape[0]}"
    return (
        f"{path.name:20} {pixels:>10} {threads:8} {page_seconds:7.1f} {command_seconds:10.1f} "
        f"{difference:7.0f}"
    )


def upscale(page: Page, path: Path) -> Floats:
    """The colors that the page's file has, ``(H, W, 3)`` in levels of 255."""
    page.set_input_files("#file", path)
    page.locator("#work").wait_for(state="visible")
    page.locator("#work").wait_for(state="hidden", timeout=600_000)
    with page.expect_download() as started:
        page.locator("#download").click()
    return read_image(started.value.path()).color.astype(np.float32)


if __name__ == "__main__":
    main()

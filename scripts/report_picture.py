"""Take the picture of a report for the documentation: how the metrics of the images are spread.

    python scripts/report_picture.py report.html docs/images/report.png

The report is that of docs/tutorials/compare_models.md. Needs the extra ``dev`` and Chromium.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright


def main() -> None:
    """Open the report, and take a picture of its plots."""
    report, target = map(Path, sys.argv[1:])
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 920, "height": 900})
        page.goto(report.resolve().as_uri())
        first = page.get_by_role("heading", name="Every image under every method").bounding_box()
        last = page.get_by_role("heading", name="Images", exact=True).bounding_box()
        if first is None or last is None:
            sys.exit(f"{report} is not a report of torch-sr test")
        height = last["y"] - first["y"]
        clip = {"x": 0, "y": first["y"] - 20, "width": 920, "height": height}
        page.screenshot(path=target, clip=clip, full_page=True)


if __name__ == "__main__":
    main()

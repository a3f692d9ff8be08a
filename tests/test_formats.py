"""The tables of docs/upscaling.md say what a script sees."""

from __future__ import annotations

import runpy
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_what_survives_is_what_the_documentation_says(tmp_path):
    script = runpy.run_path(str(ROOT / "benchmarks" / "formats.py"))
    table = script["make_table"](tmp_path)
    assert table in (ROOT / "docs" / "upscaling.md").read_text(encoding="utf-8")

"""The table of formats in docs/guides/upscaling.md is the one that the benchmark makes."""

from __future__ import annotations

import runpy
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_the_documented_table_is_up_to_date(tmp_path):
    script = runpy.run_path(str(ROOT / "benchmarks" / "formats.py"))
    table = script["make_table"](tmp_path)
    assert table in (ROOT / "docs" / "guides" / "upscaling.md").read_text(encoding="utf-8")

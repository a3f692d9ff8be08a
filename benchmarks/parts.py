"""Run the parts of a benchmark that the command line names."""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

Part = Callable[[argparse.Namespace, Path], Any]
"""Measures something, with the options and an empty folder, and returns numbers for JSON."""


def run_parts(parts: Mapping[str, Part], options: argparse.Namespace) -> dict[str, Any]:
    """Run ``options.parts``, print their results, and write them to ``options.json`` if given."""
    results = {}
    for name in options.parts:
        with tempfile.TemporaryDirectory(prefix="torch-sr-benchmark-") as folder:
            results[name] = parts[name](options, Path(folder))
        print(f"{name}: {json.dumps(results[name], indent=2)}", flush=True)
    if options.json is not None:
        options.json.write_text(json.dumps(results, indent=2) + "\n")
    return results


def timed(function: Callable[[], object]) -> float:
    """Seconds that a call takes."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start

"""Log to ``metrics.jsonl``: a line for every epoch and message."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch_sr.evaluation.averages import json_safe
from torch_sr.training.loggers.base import Logger, reporting_write_errors


class JSONLinesLogger(Logger):
    """Append every epoch, validation and message as a line of JSON to ``metrics.jsonl``.

    Numbers that are not finite, which JSON cannot represent, are written as null.

    Raises:
        LogError: the file cannot be written; raised by any method that writes.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / "metrics.jsonl"
        self._stage = ""

    def on_start(self, run: Mapping[str, Any]) -> None:
        self._stage = run["stage"]
        with reporting_write_errors(self._path):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("ab"):
                pass

    def on_epoch(self, epoch: int, step: int, metrics: Mapping[str, float]) -> None:
        numbers = json_safe(metrics)
        self._write({"epoch": epoch, "step": step, **numbers})

    def on_validation(self, epoch: int, step: int, metrics: Mapping[str, float]) -> None:
        self.on_epoch(epoch, step, metrics)

    def on_message(self, text: str) -> None:
        self._write({"message": text})

    def _write(self, values: Mapping[str, Any]) -> None:
        line = json.dumps({"stage": self._stage, **values}) + "\n"
        with reporting_write_errors(self._path), self._path.open("ab+") as file:
            end = file.seek(0, os.SEEK_END)
            file.seek(max(end - 1, 0))
            if file.read(1) not in (b"", b"\n"):  # a truncated line
                line = "\n" + line
            try:
                file.write(line.encode())
                file.flush()
            except OSError:
                os.truncate(self._path, end)
                raise

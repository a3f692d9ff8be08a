"""Print the progress, results and summary of ``torch-sr upscale --ray``."""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch_sr.cli.bars import is_terminal, progress_bar
from torch_sr.cli.upscale.progress import duration, short
from torch_sr.cli.upscale.report import Notes
from torch_sr.models.loading import ModelChoice

_SECONDS_BETWEEN = 30.0  # between lines; grows by half each time, up to the next value
_SECONDS_BETWEEN_AT_MOST = 600.0


@dataclass
class WorkerTotals:
    """What a worker has done.

    Args:
        start, end: of its first and its last file, on its own clock, in seconds.
        files: those that are done.
        pixels: of their sources.
    """

    start: float
    end: float
    files: int = 0
    pixels: int = 0

    @property
    def megapixels_per_second(self) -> float:
        """While it had work."""
        return self.pixels / 1e6 / max(self.end - self.start, 1e-9)

    def to_dict(self) -> dict[str, float]:
        """Plain values, for a log."""
        return {
            "files": self.files,
            "megapixels": round(self.pixels / 1e6, 6),
            "megapixels_per_second": round(self.megapixels_per_second, 6),
        }


class ClusterReport:
    """Reports each file when it is finished, and totals; its size does not grow with the files.

    Args:
        choice: the model, and its strength if it has a partner.
        total: the number of files, if it is known.
        as_json: print results, including their notes, as JSON.
        quiet: print only failures on stderr.
    """

    def __init__(
        self,
        choice: ModelChoice,
        total: int | None,
        *,
        as_json: bool = False,
        quiet: bool = False,
    ) -> None:
        self._choice = choice
        self._total = total
        self._as_json = as_json
        self._quiet = quiet
        self._counts: Counter[str] = Counter()
        self._workers: dict[str, WorkerTotals] = {}
        self._notes = Notes()
        self._start = time.monotonic()

    @property
    def files(self) -> int:
        """The number of files that were reported."""
        return self._counts.total()

    @property
    def failed(self) -> int:
        """The number of files that failed."""
        return self._counts["failed"]

    def add(self, row: dict[str, Any]) -> None:
        """Print the result of a file, and its notes."""
        self._counts[row["status"]] += 1
        self._count_work(row, row.pop("ended"))
        for text in row.get("notes", ()):
            if self._notes.add(text) and not self._as_json:
                self._say(f"note: {row['source']}: {text}")
        if self._as_json:
            print(json.dumps(row), flush=True)
        elif row["status"] == "done":
            print(row["target"], flush=True)
        if row["status"] == "failed":
            print(f"failed: {row['message']}", file=sys.stderr, flush=True)

    def _count_work(self, row: dict[str, Any], ended: float) -> None:
        began = ended - row["seconds"]
        totals = self._workers.setdefault(row["worker"], WorkerTotals(began, ended))
        totals.start, totals.end = min(totals.start, began), max(totals.end, ended)
        if row["status"] == "done":
            totals.files += 1
            totals.pixels += row["pixels"]

    def close(self) -> None:
        """Print the totals."""
        if not self._as_json:
            for line in self._notes.remaining():
                self._say(f"note: {line}")
        for name, totals in sorted(self._workers.items()):
            self._say(
                f"  {name}: {totals.files:,} files, {short(totals.pixels / 1e6)} megapixels, "
                f"{short(totals.megapixels_per_second)} MP/s"
            )
        self._say(self.line())
        if self._as_json:
            print(json.dumps({"summary": self._summary()}), flush=True)

    def line(self) -> str:
        """The totals so far, as a line."""
        counts = [f"{number:,} {status}" for status, number in sorted(self._counts.items())]
        if left := self._unfinished:
            counts.append(f"{left:,} not finished (--skip-existing resumes)")
        seconds, megapixels = self._seconds, self._megapixels
        workers = f"{len(self._workers)} worker{'s' if len(self._workers) != 1 else ''}"
        return (
            f"{', '.join(counts) or 'nothing to do'}; {short(megapixels)} megapixels in "
            f"{duration(seconds)}, {short(megapixels / seconds)} MP/s, {workers}"
        )

    @property
    def _seconds(self) -> float:
        return max(time.monotonic() - self._start, 1e-9)

    @property
    def _megapixels(self) -> float:
        return sum(totals.pixels for totals in self._workers.values()) / 1e6

    @property
    def _unfinished(self) -> int | None:
        return None if self._total is None else self._total - self._counts.total()

    def _summary(self) -> dict[str, Any]:
        return {
            "model": str(self._choice.model),
            "strength": self._choice.strength,
            **{status: self._counts[status] for status in ("done", "skipped", "failed")},
            "unfinished": self._unfinished,
            "megapixels": round(self._megapixels, 6),
            "seconds": round(self._seconds, 3),
            "megapixels_per_second": round(self._megapixels / self._seconds, 6),
            "workers": {name: totals.to_dict() for name, totals in sorted(self._workers.items())},
            "notes": self._notes.to_list(),
        }

    def _say(self, line: str) -> None:
        if not self._quiet:
            print(line, file=sys.stderr, flush=True)


@contextmanager
def show_cluster_progress(
    report: ClusterReport, total: int | None, *, quiet: bool = False
) -> Iterator[Callable[[], None]]:
    """Show progress on stderr: a bar on a terminal, otherwise lines; nothing if quiet.

    Args:
        report: has the totals.
        total: the number of files, if it is known.
        quiet: show nothing.

    Yields:
        a function to call after each file.
    """
    if quiet:
        yield lambda: None
    elif is_terminal():
        with progress_bar("{task.fields[line]}", counted=False) as bar:
            task = bar.add_task("", total=total, line="starting the workers")
            yield lambda: bar.update(task, advance=1, line=report.line())
    else:
        yield _lines(report)


def _lines(report: ClusterReport) -> Callable[[], None]:
    interval, due = _SECONDS_BETWEEN, time.monotonic() + _SECONDS_BETWEEN

    def show() -> None:
        nonlocal interval, due
        if time.monotonic() >= due:
            print(report.line(), file=sys.stderr, flush=True)
            interval = min(1.5 * interval, _SECONDS_BETWEEN_AT_MOST)
            due = time.monotonic() + interval

    return show

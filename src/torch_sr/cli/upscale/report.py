"""Print the results, notes and summary of ``torch-sr upscale``."""

from __future__ import annotations

import json
import os
import re
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch_sr.cli.upscale.progress import duration, short
from torch_sr.images import display_name
from torch_sr.inference.files.batch import Outcome
from torch_sr.inference.files.jobs import FoundFiles, Job
from torch_sr.inference.files.kinds import count_kinds, describe_kinds
from torch_sr.models.loading import ModelChoice

_NOTES_SHOWN = 3  # of one kind; the others are counted


class Report:
    """Report each file when it is finished, and a summary at the end.

    Args:
        findings: the files that the arguments name.
        choice: the model, and its strength if it has a partner.
        as_json: print results, including their notes, as JSON.
        quiet: print only failures on stderr.
    """

    def __init__(
        self,
        findings: FoundFiles,
        choice: ModelChoice,
        *,
        as_json: bool = False,
        quiet: bool = False,
    ) -> None:
        self._findings = findings
        self._choice = choice
        self._as_json = as_json
        self._quiet = quiet
        self._outcomes: list[Outcome] = []
        self._notes = Notes()
        self._start = time.monotonic()

    @property
    def failed(self) -> bool:
        """Whether any file failed."""
        return any(outcome.status == "failed" for outcome in self._outcomes)

    def note(self, text: str) -> None:
        """Print a note about the whole run."""
        self._notes.general.append(text)
        self._say(f"note: {text}")

    def add(self, outcome: Outcome) -> None:
        """Print the result of a file, and its notes."""
        self._outcomes.append(outcome)
        for text in outcome.notes:
            if self._notes.add(text) and not self._as_json:
                self._say(f"note: {display_name(outcome.job.source)}: {text}")
        if self._as_json:
            print(json.dumps(outcome.to_dict()), flush=True)
        elif outcome.status == "done":
            print(outcome.job.target, flush=True)

    def close(self, tiles_redone: int = 0) -> None:
        """Print the failures, and a line with the totals."""
        seconds = time.monotonic() - self._start
        if not self._as_json:
            for line in self._notes.remaining():
                self._say(f"note: {line}")
        for outcome in self._outcomes:
            if outcome.status == "failed":
                print(f"failed: {outcome.message}", file=sys.stderr)
        if tiles_redone:
            self._say(
                f"{tiles_redone} tiles overflowed in half precision and were recomputed in fp32"
            )
        self._say(self._summary_line(seconds))
        if self._as_json:
            print(json.dumps({"summary": self._summary(seconds, tiles_redone)}), flush=True)

    def _say(self, line: str) -> None:
        if not self._quiet:
            print(line, file=sys.stderr, flush=True)

    def _count(self, status: str) -> int:
        return sum(outcome.status == status for outcome in self._outcomes)

    @property
    def _done(self) -> list[Job]:
        return [outcome.job for outcome in self._outcomes if outcome.status == "done"]

    @property
    def _megapixels(self) -> float:
        return sum(job.pixels for job in self._done) / 1e6

    def _summary(self, seconds: float, tiles_redone: int) -> dict[str, Any]:
        megapixels = self._megapixels
        return {
            "model": str(self._choice.model),
            "strength": self._choice.strength,
            **{status: self._count(status) for status in ("done", "skipped", "failed")},
            "unfinished": len(self._findings.jobs) - len(self._outcomes),
            "earlier_results": len(self._findings.earlier),
            "other_files": count_kinds(self._findings.others),
            "megapixels": round(megapixels, 6),
            "seconds": round(seconds, 3),
            "megapixels_per_second": round(megapixels / max(seconds, 1e-9), 6),
            "folders": sorted({str(job.target.parent) for job in self._done}),
            "tiles_redone": tiles_redone,
            "notes": self._notes.to_list(),
        }

    def _summary_line(self, seconds: float) -> str:
        if not (self._findings.jobs or self._findings.earlier or self._findings.others):
            return "nothing to do: no files were named"
        counts = [f"{self._count('done')} done"]
        if failed := self._count("failed"):
            counts.append(f"{failed} failed")
        if skipped := self._skipped():
            counts.append(f"skipped: {skipped}")
        if left := len(self._findings.jobs) - len(self._outcomes):
            counts.append(f"{left} not finished (--skip-existing resumes)")
        line = ", ".join(counts)
        if not self._done:
            return line
        speed = self._megapixels / max(seconds, 1e-9)
        work = f"{short(self._megapixels)} megapixels in {duration(seconds)}"
        return f"{line}; {work}, {short(speed)} MP/s; {_where(self._done)}"

    def _skipped(self) -> str:
        """What was skipped: ``3 that exist, 12 results of earlier runs, 2 .txt``."""
        existing, earlier = self._count("skipped"), len(self._findings.earlier)
        reasons = [
            f"{existing} that exist{'s' if existing == 1 else ''}" if existing else "",
            f"{earlier} result{'s' if earlier > 1 else ''} of earlier runs" if earlier else "",
            describe_kinds(self._findings.others),
        ]
        return ", ".join(filter(None, reasons))


class Notes:
    """Notes by kind; notes that differ only in numbers are of the same kind."""

    def __init__(self) -> None:
        self.general: list[str] = []
        self._counts: Counter[str] = Counter()
        self._first: dict[str, str] = {}

    def add(self, text: str) -> bool:
        """Count a note; return whether to show it."""
        kind = re.sub(r"\d+", "#", text)
        self._first.setdefault(kind, text)
        self._counts[kind] += 1
        return self._counts[kind] <= _NOTES_SHOWN

    def remaining(self) -> list[str]:
        """A line for each kind with notes that were not shown."""
        hidden = {kind: count - _NOTES_SHOWN for kind, count in self._counts.items()}
        return [
            f"{count} more {'files' if count > 1 else 'file'}: {self._first[kind]}"
            for kind, count in hidden.items()
            if count > 0
        ]

    def to_list(self) -> list[dict[str, Any]]:
        """The notes of the whole run, and each kind with its number of files."""
        kinds = [{"text": self._first[k], "files": n} for k, n in self._counts.items()]
        return [*({"text": text, "files": None} for text in self.general), *kinds]


def _where(jobs: Sequence[Job]) -> str:
    """A short description of where the results are."""
    if len(jobs) == 1:
        return f"result: {display_name(jobs[0].target)}"
    folders = {job.target.parent for job in jobs}
    if len(folders) == 1:
        return f"results in {_folder(folders.pop())}"
    if all(job.target.parent == job.source.parent for job in jobs):
        return "results next to their sources"
    try:
        common = Path(os.path.commonpath(folders))
    except ValueError:  # on several drives, or some paths are relative
        return f"results in {len(folders)} folders"
    return f"results in {_folder(common)} and its sub-folders"


def _folder(path: Path) -> str:
    return display_name(path).rstrip(os.sep) + os.sep

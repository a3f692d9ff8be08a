"""Show the progress of ``torch-sr upscale``: a bar, or some lines."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from torch_sr.aliases import OnNote
from torch_sr.cli.bars import is_terminal, progress_bar
from torch_sr.images import display_name
from torch_sr.inference.files.batch import Outcome
from torch_sr.inference.files.jobs import Job

OnTile = Callable[["Job", int, int], None]
OnOutcome = Callable[["Outcome"], None]

_SECONDS_TO_ESTIMATE = 3.0  # of work before the first estimate
_WORTH_REPORTING = 10.0  # seconds left, below which nothing is reported
_SECONDS_BETWEEN = 30.0  # between lines; grows by half each time, up to the next value
_SECONDS_BETWEEN_AT_MOST = 600.0


class Pace:
    """Count pixels done and left, and estimate the time left; thread-safe.

    Args:
        jobs: all jobs, with their pixels.
        clock: returns a time in seconds.
    """

    def __init__(self, jobs: Sequence[Job], clock: Callable[[], float] = time.monotonic) -> None:
        self.files = len(jobs)
        self.files_finished = 0
        self._todo = {job.source: float(job.pixels) for job in jobs if job.refusal is None}
        self._done: dict[Path, float] = {}
        self._clock = clock
        self._start = clock()
        self._lock = threading.Lock()

    def tile(self, job: Job, done: int, tiles: int) -> None:
        """Count a tile of a file."""
        with self._lock:
            self._done[job.source] = job.pixels * done / tiles

    def finish(self, outcome: Outcome) -> None:
        """Count a finished file; if it was not computed, its pixels no longer count."""
        source = outcome.job.source
        with self._lock:
            self.files_finished += 1
            if outcome.status == "done":
                self._done[source] = outcome.job.pixels
            else:
                self._todo.pop(source, None)
                self._done.pop(source, None)

    @property
    def seconds(self) -> float:
        """Seconds since the start."""
        return self._clock() - self._start

    @property
    def pixels(self) -> tuple[float, float]:
        """Pixels done, and all pixels."""
        with self._lock:
            return sum(self._done.values()), sum(self._todo.values())

    @property
    def speed(self) -> float:
        """Pixels per second since the start."""
        return self.pixels[0] / max(self.seconds, 1e-9)

    @property
    def seconds_left(self) -> float | None:
        """Estimate at the speed so far; None before the first tile."""
        done, total = self.pixels
        return self.seconds * max(total - done, 0) / done if done else None


@contextmanager
def show_progress(
    jobs: Sequence[Job], *, quiet: bool = False
) -> Iterator[tuple[OnTile, OnOutcome]]:
    """Show progress on stderr: a bar on a terminal, otherwise lines; nothing if quiet."""
    pace = Pace(jobs)
    if quiet:
        yield (lambda *_: None), (lambda _: None)
    elif is_terminal():
        with _bar(pace) as shown:
            yield shown
    else:
        yield _lines(pace)


def duration(seconds: float) -> str:
    """Format a duration in words.

    >>> duration(4.25), duration(62), duration(5000)
    ('4.2 s', '1 min 2 s', '1 h 23 min')
    """
    if round(seconds, 1) < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def short(number: float) -> str:
    """Format a number with as many digits as are useful.

    >>> short(12.345), short(1.2345), short(0.012345)
    ('12.3', '1.23', '0.012')
    """
    return f"{number:.{1 if number >= 10 else 2 if number >= 1 else 3}f}"


@contextmanager
def _bar(pace: Pace) -> Iterator[tuple[OnTile, OnOutcome]]:
    """A bar over all pixels, with the files done, the speed and the time left."""
    from rich.markup import escape

    with progress_bar("{task.fields[counts]}", counted=False) as progress:
        task = progress.add_task(
            "starting", total=pace.pixels[1] or None, counts=f"0/{pace.files} files"
        )

        def show(job: Job) -> None:
            done, total = pace.pixels
            counts = f"{pace.files_finished}/{pace.files} files  {short(pace.speed / 1e6)} MP/s"
            name = escape(display_name(job.source.name))
            progress.update(
                task, completed=done, total=total or None, counts=counts, description=name
            )

        def on_tile(job: Job, done: int, tiles: int) -> None:
            pace.tile(job, done, tiles)
            show(job)

        def on_outcome(outcome: Outcome) -> None:
            pace.finish(outcome)
            show(outcome.job)

        yield on_tile, on_outcome


def _lines(
    pace: Pace, report: OnNote = lambda line: print(line, file=sys.stderr, flush=True)
) -> tuple[OnTile, OnOutcome]:
    """Report an estimate after the first tiles, then lines at growing intervals."""
    lock = threading.Lock()
    interval, due = _SECONDS_BETWEEN, _SECONDS_TO_ESTIMATE
    estimated = False

    def show() -> None:
        nonlocal interval, due, estimated
        left = pace.seconds_left
        if pace.seconds < due or left is None or (not estimated and left < _WORTH_REPORTING):
            return
        done, total = pace.pixels
        if not estimated:
            files = f"{pace.files} files" if pace.files > 1 else "1 file"
            report(f"{files}, {short(total / 1e6)} megapixels: about {duration(left)} left")
            estimated = True
        else:
            files = f"{pace.files_finished} of {pace.files} files, " if pace.files > 1 else ""
            report(
                f"{files}{done / max(total, 1):.0%}, {short(pace.speed / 1e6)} MP/s, "
                f"about {duration(left)} left"
            )
            interval = min(1.5 * interval, _SECONDS_BETWEEN_AT_MOST)
        due = pace.seconds + interval

    def on_tile(job: Job, done: int, tiles: int) -> None:
        pace.tile(job, done, tiles)
        with lock:
            show()

    return on_tile, pace.finish

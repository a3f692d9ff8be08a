"""Super-resolve many files, several at a time; failures are collected.

While the network computes a tile of one file, others are decoded and encoded. A result appears only
when it is complete, so a result that exists is finished, and an interrupted run can be resumed.
"""

from __future__ import annotations

import functools
import logging
import os
import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch_sr.aliases import OnNote, Progress
from torch_sr.errors import ImageError, TorchSRError
from torch_sr.images import display_name
from torch_sr.inference.files.jobs import Job
from torch_sr.inference.files.options import BatchOptions
from torch_sr.inference.upscaler import Upscaler

OnTile = Callable[[Job, int, int], None]
"""Called with a job, its finished tiles and all its tiles; from several threads."""

_log = logging.getLogger(__name__)
_IN_FLIGHT = 2  # files for each upscaler: one is computed, one decoded or encoded


@dataclass(frozen=True)
class Outcome:
    """The outcome of a job.

    Args:
        job: the file that was processed.
        status: ``done``, ``skipped`` (the result exists) or ``failed``.
        message: why it failed.
        seconds: from its first row to the finished file.
        notes: what the result could not keep of the source, one sentence each.
    """

    job: Job
    status: str
    message: str | None = None
    seconds: float = 0.0
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for a log."""
        fields = {k: v for k, v in asdict(self).items() if k != "job" and v not in (None, ())}
        named = {"source": str(self.job.source), "target": str(self.job.target)}
        return {**named, "pixels": self.job.pixels, **fields}


class _StoppedError(Exception):
    """The batch ends early; unfinished results are discarded."""


def upscale_files(
    upscalers: Sequence[Upscaler],
    jobs: Sequence[Job],
    options: BatchOptions | None = None,
    on_tile: OnTile | None = None,
) -> Iterator[Outcome]:
    """Super-resolve files, and yield the outcome of each, in the order of the jobs.

    Closing the iterator early and interrupts discard unfinished results.

    Args:
        upscalers: one for each device; they share the jobs.
        jobs: see :func:`~torch_sr.inference.files.jobs.find_jobs`.
        options: see :class:`BatchOptions`.
        on_tile: see :data:`OnTile`.
    """
    options = options or BatchOptions()
    stop = threading.Event()
    free: queue.SimpleQueue[Upscaler] = queue.SimpleQueue()
    for upscaler in [*upscalers] * _IN_FLIGHT:
        free.put(upscaler)

    def report(job: Job, done: int, total: int) -> None:
        if stop.is_set():
            raise _StoppedError
        if on_tile is not None:
            on_tile(job, done, total)

    def process(job: Job) -> Outcome:
        upscaler = free.get()  # never waits: there are as many as threads
        try:
            return process_job(upscaler, job, options, report)
        finally:
            free.put(upscaler)

    with ThreadPoolExecutor(_IN_FLIGHT * len(upscalers), "upscaling") as pool:
        try:
            yield from pool.map(process, jobs)
        except KeyboardInterrupt:
            _log.warning("interrupted; stopping when the current tiles are finished")
            raise
        finally:
            stop.set()


def process_job(upscaler: Upscaler, job: Job, options: BatchOptions, on_tile: OnTile) -> Outcome:
    """Write the result of one job; its errors become its outcome.

    Args:
        upscaler: computes it.
        job: the file.
        options: see :class:`BatchOptions`.
        on_tile: see :data:`OnTile`; what it raises ends the job and is raised again, unless it is
            a :class:`~torch_sr.errors.TorchSRError`.
    """
    start = time.perf_counter()
    notes: list[str] = []
    try:
        if job.refusal:
            raise ImageError(job.refusal)
        if os.path.lexists(job.target) and options.existing == "skip":
            return Outcome(job, "skipped")
        if options.existing != "overwrite":
            _refuse_existing(job)
        _make_folder(job.target.parent)
        write_result(upscaler, job, options, on_tile, notes.append)
    except TorchSRError as error:
        return Outcome(job, "failed", str(error), seconds=time.perf_counter() - start)
    except MemoryError:
        message = (
            f"{display_name(job.source)}: not enough memory; lower --tile-size or crop the image"
        )
        return Outcome(job, "failed", message, seconds=time.perf_counter() - start)
    return Outcome(job, "done", seconds=time.perf_counter() - start, notes=tuple(notes))


def write_result(
    upscaler: Upscaler, job: Job, options: BatchOptions, on_tile: OnTile, on_note: OnNote
) -> None:
    """Write the result of one job, in a folder that exists.

    Args:
        upscaler, job, options: see :func:`process_job`.
        on_tile: see :data:`OnTile`; what it raises ends the job and is raised again.
        on_note: called with each note.

    Raises:
        ImageError: the source cannot be read, or the result cannot be written.
        TorchSRError: it cannot be computed.
    """
    progress = functools.partial(on_tile, job)
    write = _upscale_video if job.is_video else _upscale_image
    write(upscaler, job, options, progress, on_note)


def _refuse_existing(job: Job) -> None:
    shown = display_name(job.source)
    if os.path.lexists(job.target):
        raise ImageError(
            f"{shown}: its result {display_name(job.target)} exists; "
            "--skip-existing keeps it, --overwrite replaces it"
        )
    if job.sheet and os.path.lexists(job.sheet):
        raise ImageError(
            f"{shown}: its sheet {display_name(job.sheet)} exists; --overwrite replaces it"
        )


def _upscale_image(
    upscaler: Upscaler, job: Job, options: BatchOptions, progress: Progress, on_note: OnNote
) -> None:
    upscaler.upscale_file(
        job.source,
        job.target,
        progress,
        options=options.write,
        size=options.size,
        max_pixels=options.max_pixels,
        overwrite=options.existing == "overwrite",
        on_note=on_note,
        damaged=options.damaged,
    )


def _upscale_video(
    upscaler: Upscaler, job: Job, options: BatchOptions, progress: Progress, on_note: OnNote
) -> None:
    from torch_sr.inference.video.upscaling import upscale_video

    upscale_video(
        upscaler.upscale,
        upscaler.scale_factor,
        job.source,
        job.target,
        size=options.size,
        crf=options.crf,
        codec=options.codec,
        deinterlace=options.deinterlace,
        fingerprint=upscaler.fingerprint,
        progress=lambda done, total: progress(done, total or done + 1),
        overwrite=options.existing == "overwrite",
        on_note=on_note,
    )


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ImageError(
            f"{display_name(folder)}: choose another folder: it cannot be made ({error.strerror})"
        ) from error

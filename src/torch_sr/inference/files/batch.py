"""Many files: several in flight, failures collected, finished ones left alone.

While the network computes a tile of one file, others are decoded and encoded. Results are written
whole or not at all, so a result that exists is finished, and an interrupted run can be resumed.
"""

from __future__ import annotations

import logging
import os
import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

from torch_sr.aliases import OnNote, Progress
from torch_sr.errors import ImageError, TorchSRError
from torch_sr.images import (
    MAX_PIXELS,
    Header,
    WriteOptions,
    check_format,
    display_name,
    holds_pages,
    read_header,
    visible_compression,
)
from torch_sr.inference.files.jobs import Job
from torch_sr.inference.files.upscaling import TargetSize
from torch_sr.inference.upscaler import Upscaler
from torch_sr.inference.video import check_target, read_video_info, upscale_video

OnTile = Callable[[Job, int, int], None]
"""Called with a job, its tiles done and its tiles in all; from several threads."""

_log = logging.getLogger(__name__)
_IN_FLIGHT = 2  # files for each upscaler: one is computed, one decoded or encoded


@dataclass(frozen=True)
class Outcome:
    """What became of a job.

    Args:
        job: which.
        status: ``done``, ``skipped`` (the result is there already) or ``failed``.
        message: why, where it failed.
        seconds: from its first row to the finished file.
        notes: what the source holds and the result could not keep, a sentence each.
    """

    job: Job
    status: str
    message: str | None = None
    seconds: float = 0.0
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """What a log wants."""
        fields = {k: v for k, v in asdict(self).items() if k != "job" and v not in (None, ())}
        named = {"source": str(self.job.source), "target": str(self.job.target)}
        return {**named, "pixels": self.job.pixels, **fields}


@dataclass(frozen=True)
class BatchOptions:
    """How files are treated.

    Args:
        write: format and quality.
        size: resample each result; see :meth:`Upscaler.upscale_file`.
        existing: what to do where a result is there already: ``refuse``, ``skip``, ``overwrite``.
        max_pixels: refuse larger pages.
        crf: quality of videos, as x264 counts it: 0 is lossless, 51 worst.
        codec: of videos; see :func:`~torch_sr.inference.video.upscale_video`.
        deinterlace: make whole pictures of interlaced videos.
        damaged: ``refuse`` damaged images, or ``keep`` what can be read of them.
    """

    write: WriteOptions = field(default_factory=WriteOptions)
    size: TargetSize | None = None
    existing: str = "refuse"
    max_pixels: int | None = MAX_PIXELS
    crf: int = 16
    codec: str | None = None
    deinterlace: bool = True
    damaged: str = "refuse"


class _StoppedError(Exception):
    """The batch ends early; what is half done is thrown away."""


def upscale_files(
    upscalers: Sequence[Upscaler],
    jobs: Sequence[Job],
    options: BatchOptions | None = None,
    on_tile: OnTile | None = None,
) -> Iterator[Outcome]:
    """Super-resolve files, and yield the outcome of each, in the order of the jobs.

    Closing the iterator early, and an interrupt, discard what is unfinished.

    Args:
        upscalers: one for each device; they share the jobs.
        jobs: see :func:`~torch_sr.inference.files.jobs.find_jobs`.
        options: how.
        on_tile: see :data:`OnTile`.
    """
    options = options or BatchOptions()
    stop = threading.Event()
    todo: queue.SimpleQueue[tuple[int, Job]] = queue.SimpleQueue()
    finished: queue.SimpleQueue[tuple[int, Outcome | BaseException]] = queue.SimpleQueue()
    for numbered in enumerate(jobs):
        todo.put(numbered)

    def tell(job: Job, done: int, total: int) -> None:
        if stop.is_set():
            raise _StoppedError
        if on_tile is not None:
            on_tile(job, done, total)

    def work(upscaler: Upscaler) -> None:
        while not stop.is_set():
            try:
                number, job = todo.get_nowait()
            except queue.Empty:
                return
            try:
                finished.put((number, _do(upscaler, job, options, tell)))
            except BaseException as error:  # ours to raise in the thread that asked
                finished.put((number, error))

    threads = [
        threading.Thread(target=work, args=(upscaler,), name="upscaling", daemon=True)
        for upscaler in upscalers
        for _ in range(min(_IN_FLIGHT, len(jobs)))
    ]
    for thread in threads:
        thread.start()
    try:
        yield from _in_order(finished, len(jobs))
    except KeyboardInterrupt:
        _log.warning("interrupted; stopping once the tiles in work are finished")
        raise
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def _in_order(
    finished: queue.SimpleQueue[tuple[int, Outcome | BaseException]], count: int
) -> Iterator[Outcome]:
    waiting: dict[int, Outcome] = {}
    for number in range(count):
        while number not in waiting:
            which, outcome = finished.get()
            if isinstance(outcome, BaseException):
                raise outcome
            waiting[which] = outcome
        yield waiting.pop(number)


def _do(upscaler: Upscaler, job: Job, options: BatchOptions, tell: OnTile) -> Outcome:
    start = time.perf_counter()
    try:
        if job.refusal:
            raise ImageError(job.refusal)
        if os.path.lexists(job.target) and options.existing != "overwrite":
            if options.existing == "skip":
                return Outcome(job, "skipped")
            raise ImageError(
                f"{display_name(job.source)}: its result {display_name(job.target)} exists; "
                "--skip-existing keeps it, --overwrite replaces it"
            )
        if job.sheet and os.path.lexists(job.sheet) and options.existing != "overwrite":
            raise ImageError(
                f"{display_name(job.source)}: its sheet {display_name(job.sheet)} exists; "
                "--overwrite replaces it"
            )
        _make_folder(job.target.parent)
        notes: list[str] = []
        _upscale(upscaler, job, options, lambda done, total: tell(job, done, total), notes.append)
    except TorchSRError as error:
        return Outcome(job, "failed", str(error), seconds=time.perf_counter() - start)
    except MemoryError:
        message = (
            f"{display_name(job.source)}: not enough memory; lower --tile-size or cut the image"
        )
        return Outcome(job, "failed", message, seconds=time.perf_counter() - start)
    return Outcome(job, "done", seconds=time.perf_counter() - start, notes=tuple(notes))


def _upscale(
    upscaler: Upscaler,
    job: Job,
    options: BatchOptions,
    progress: Progress,
    on_note: OnNote,
) -> None:
    if not job.is_video:
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
        return
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


def survey(
    jobs: Sequence[Job], scale_factor: int, options: BatchOptions | None = None
) -> Iterator[Job]:
    """Look at the headers before the work: count pixels, refuse what no result could hold.

    Unreadable files are left for their turn, which says what is wrong with them.
    """
    options = options or BatchOptions()
    for job in jobs:
        try:
            header = _header_of(job)
        except TorchSRError:
            yield job
            continue
        size = (header.height * scale_factor, header.width * scale_factor)
        if options.size is not None:
            size = options.size(header.height, header.width)
        try:
            if job.is_video:
                check_target(job.target, options.codec)
            else:
                check_format(job.target, *size, format=options.write.format)
        except ImageError as error:
            job = replace(job, refusal=job.refusal or str(error))
        yield replace(job, pixels=header.num_pixels)


def _header_of(job: Job) -> Header:
    if not job.is_video:
        return read_header(job.source, pages=holds_pages(job.target))
    info = read_video_info(job.source)
    return Header(info.height, info.width, 3, 8, False, pages=info.frames or 1)


def find_compressed(
    jobs: Sequence[Job], options: BatchOptions | None = None
) -> list[tuple[Job, str]]:
    """Those images to be done that were visibly compressed, and how, as ``JPEG of quality 60``."""
    skip = options is not None and options.existing == "skip"
    found = (
        (job, visible_compression(job.source))
        for job in jobs
        if not (job.is_video or job.refusal or (skip and os.path.lexists(job.target)))
    )
    return [(job, compression) for job, compression in found if compression]


def target_size(
    scale_factor: float | None = None, width: int | None = None, height: int | None = None
) -> TargetSize | None:
    """A size that was asked for: as many times as large, or as wide or high; or both, exactly.

    >>> target_size(scale_factor=2.5)(10, 20), target_size(width=50)(10, 20)
    ((25, 50), (25, 50))
    """
    if scale_factor is not None:
        return lambda h, w: (_times(h, scale_factor), _times(w, scale_factor))
    if width is not None and height is not None:
        return lambda h, w: (height, width)
    if width is not None:
        return lambda h, w: (_times(h, Fraction(width, w)), width)
    if height is not None:
        return lambda h, w: (height, _times(w, Fraction(height, h)))
    return None


def _times(side: int, factor: float | Fraction) -> int:
    """A side so many times as long; as a fraction, since no float holds the largest numbers."""
    return max(1, round(side * Fraction(str(factor))))

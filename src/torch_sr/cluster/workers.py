"""The actor that computes images: it holds the model, and reads and writes the files."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from torch_sr.cluster.listing import Item
from torch_sr.cluster.places import Place
from torch_sr.errors import TorchSRError
from torch_sr.inference.files.batch import Outcome, process_job
from torch_sr.inference.files.jobs import Job
from torch_sr.inference.files.options import BatchOptions
from torch_sr.inference.files.survey import survey
from torch_sr.inference.upscaler import Upscaler

_AT_ONCE = 2  # images of a worker: one is computed, one is read or written
_TRIES = 3  # to read or write a file of a store
_WAIT = 1.0  # seconds before the second try; twice as long before each further one

Attempts = Callable[[str], tuple[int, dict[str, Any] | None]]
"""Notes that an item is started: its attempts, and its outcome if it was finished before."""


@dataclass(frozen=True)
class WorkerSettings:
    """What a worker computes.

    Args:
        upscaler: arguments of :class:`~torch_sr.Upscaler`.
        options: how files are converted.
        most_attempts: see :class:`~torch_sr.cluster.settings.ClusterSettings`.
    """

    upscaler: dict[str, Any]
    options: BatchOptions
    most_attempts: int = 3


class Worker:
    """Computes items, two at a time.

    Args:
        settings: what to compute.
        begin: see :data:`Attempts`.
        finish: notes the outcome of an item.
    """

    def __init__(
        self,
        settings: WorkerSettings,
        begin: Attempts,
        finish: Callable[[str, dict[str, Any]], None],
    ) -> None:
        self._settings = settings
        self._begin = begin
        self._finish = finish
        self._upscaler = Upscaler(**settings.upscaler)
        self._name = f"{socket.gethostname()}:{os.getpid()}"

    def process(self, items: list[Item]) -> Iterator[dict[str, Any]]:
        """Yield the outcome of each item, in order."""
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            yield from pool.map(self._process, items)

    def _process(self, item: Item) -> dict[str, Any]:
        attempts, known = self._begin(item.source)
        if known is not None:
            return known
        if attempts > self._settings.most_attempts:
            message = (
                f"{item.source}: its worker ended {attempts - 1} times while it computed this "
                "image; convert it to PNG, or give workers more memory"
            )
            outcome = Outcome(_job_of(item), "failed", message)
        else:
            outcome = self._compute(item, again=attempts > 1)
        row = {**outcome.to_dict(), "worker": self._name}
        row |= {"source": item.source, "target": item.target}
        self._finish(item.source, row)
        return row

    def _compute(self, item: Item, *, again: bool) -> Outcome:
        """Compute an item; ``again`` if a worker that has ended may have written its result."""
        start = time.perf_counter()
        job = _job_of(item)
        options = self._settings.options
        if again and options.existing == "refuse":
            options = replace(options, existing="overwrite")
        source, target = Place(item.source), Place(item.target)
        try:
            if item.refusal is not None or (source.is_local and target.is_local):
                job = replace(job, source=source.path, target=target.path)
                return self._run(job, options)
            return self._run_elsewhere(source, target, options)
        except TorchSRError as error:
            return Outcome(job, "failed", str(error), seconds=time.perf_counter() - start)

    def _run_elsewhere(self, source: Place, target: Place, options: BatchOptions) -> Outcome:
        """Compute an item in a temporary folder, because a place is in a store."""
        job = Job(Path(source.name), Path(target.name))
        if options.existing != "overwrite" and _retrying(target.exists):
            if options.existing == "skip":
                return Outcome(job, "skipped")
            message = (
                f"{source}: its result {target} exists; --skip-existing keeps it, --overwrite "
                "replaces it"
            )
            return Outcome(job, "failed", message)
        with TemporaryDirectory(prefix="torch-sr-") as folder:
            job = Job(Path(folder, "source", source.name), Path(folder, "target", target.name))
            job.source.parent.mkdir()
            _retrying(lambda: source.download(job.source))
            outcome = self._run(job, replace(options, existing="overwrite"))
            if outcome.status == "done":
                _retrying(lambda: target.upload(job.target))
        if outcome.message is not None:
            message = outcome.message.replace(str(job.source), str(source))
            outcome = replace(outcome, message=message)
        return outcome

    def _run(self, job: Job, options: BatchOptions) -> Outcome:
        (job,) = survey([job], self._upscaler.scale_factor, options)
        return process_job(self._upscaler, job, options, lambda *_: None)


def _job_of(item: Item) -> Job:
    return Job(Path(item.source), Path(item.target), item.refusal)


def _retrying(function: Callable[[], Any]) -> Any:
    """Call a function again if a store fails, which it does from time to time."""
    for attempt in range(1, _TRIES + 1):
        try:
            return function()
        except TorchSRError:
            if attempt == _TRIES:
                raise
            time.sleep(_WAIT * 2 ** (attempt - 1))
    raise AssertionError


def to_row(item: Item) -> dict[str, Any]:
    """An item as a row of Ray Data."""
    return asdict(item)

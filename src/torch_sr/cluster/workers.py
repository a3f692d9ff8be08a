"""The actor that computes images: it holds the model, and reads and writes the files."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol

from torch_sr.cluster.ledger import Entry
from torch_sr.cluster.listing import Item
from torch_sr.cluster.places import Place, StoreError
from torch_sr.errors import ImageError, TorchSRError
from torch_sr.images import display_name
from torch_sr.inference.files.batch import Outcome, process_job
from torch_sr.inference.files.jobs import Job
from torch_sr.inference.files.options import BatchOptions
from torch_sr.inference.files.survey import survey
from torch_sr.inference.upscaler import Upscaler

_AT_ONCE = 2  # images of a worker: one is computed, one is read or written
_TRIES = 3  # to read or write a file of a store
_WAIT = 1.0  # seconds before the second try; twice as long before each further one


class Notes(Protocol):
    """The methods of a :class:`~torch_sr.cluster.ledger.Ledger` that workers use."""

    def open(self, sources: Sequence[str], existed: Sequence[bool]) -> list[Entry]: ...

    def attempt(self, source: str) -> int: ...

    def finish(self, outcomes: Sequence[dict[str, Any]]) -> None: ...


@dataclass(frozen=True)
class WorkerSettings:
    """What a worker computes.

    Args:
        upscaler: arguments of :class:`~torch_sr.Upscaler`.
        options: how files are converted.
        most_attempts: to compute an image during which workers end.
    """

    upscaler: dict[str, Any]
    options: BatchOptions
    most_attempts: int = 5


class Worker:
    """Computes items, two at a time.

    Args:
        settings: what to compute.
        notes: where attempts and outcomes are noted.
    """

    def __init__(self, settings: WorkerSettings, notes: Notes) -> None:
        self._settings = settings
        self._notes = notes
        self._upscaler = Upscaler(**settings.upscaler)
        self._pool = ThreadPoolExecutor(_AT_ONCE)
        self._name = f"{socket.gethostname()}:{os.getpid()}"

    def process(self, items: Sequence[Item]) -> list[dict[str, Any]]:
        """Compute the items of a task; returns their outcomes in order.

        Items that a worker was given before are computed after the others and one at a time: if one
        of them ends this worker too, no other item is blamed for it.
        """
        sources = [item.source for item in items]
        entries = self._notes.open(sources, list(self._pool.map(self._exists, items)))
        futures = [
            None if entry.given else self._pool.submit(self._first, item, entry)
            for item, entry in zip(items, entries, strict=True)
        ]
        wait(filter(None, futures))
        return [
            future.result() if future else self._again(item, entry)
            for item, entry, future in zip(items, entries, futures, strict=True)
        ]

    def _exists(self, item: Item) -> bool:
        if self._settings.options.existing == "overwrite" or item.refusal is not None:
            return False
        try:
            return bool(_retrying(Place(item.target).exists))
        except TorchSRError:
            return False  # and reading or writing it will fail, and say why

    def _first(self, item: Item, entry: Entry) -> dict[str, Any]:
        return self._finish(item, self._compute(item, existed=entry.existed))

    def _again(self, item: Item, entry: Entry) -> dict[str, Any]:
        if entry.outcome is not None:
            return entry.outcome
        attempts, most = self._notes.attempt(item.source), self._settings.most_attempts
        if attempts <= most:
            return self._first(item, entry)
        message = (
            f"{item.source}: its worker ended {most} times while it computed this image; give "
            "workers more memory, or leave the image out"
        )
        return self._finish(item, Outcome(_job_of(item), "failed", message))

    def _finish(self, item: Item, outcome: Outcome) -> dict[str, Any]:
        row = {**outcome.to_dict(), "worker": self._name}
        row |= {"source": item.source, "target": item.target}
        self._notes.finish([row])
        return row

    def _compute(self, item: Item, *, existed: bool) -> Outcome:
        """Compute an item; ``existed`` says whether its result did so before."""
        start = time.perf_counter()
        job = _job_of(item)
        if existed and self._settings.options.existing == "skip":
            return Outcome(job, "skipped")
        try:
            if existed:
                raise ImageError(
                    f"{item.source}: its result {item.target} exists; --skip-existing keeps it, "
                    "--overwrite replaces it"
                )
            return self._run(job, Place(item.source), Place(item.target))
        except TorchSRError as error:
            return Outcome(job, "failed", str(error), seconds=time.perf_counter() - start)

    def _run(self, job: Job, source: Place, target: Place) -> Outcome:
        """Compute an item; files of stores are copied to and from a temporary folder."""
        if job.refusal is not None:
            raise ImageError(job.refusal)
        with TemporaryDirectory(prefix="torch-sr-") as folder:
            job = Job(
                source.path if source.is_local else Path(folder, "source", source.name),
                target.path if target.is_local else Path(folder, "target", target.name),
            )
            if not source.is_local:
                job.source.parent.mkdir()
                _retrying(lambda: source.download(job.source))
            # A result may be there by now, of a worker that has ended: it is replaced.
            options = replace(self._settings.options, existing="overwrite")
            (job,) = survey([job], self._upscaler.scale_factor, options)
            outcome = process_job(self._upscaler, job, options, lambda *_: None)
            if outcome.status == "done" and not target.is_local:
                _retrying(lambda: target.upload(job.target))
        if outcome.message is not None:
            message = outcome.message.replace(display_name(job.source), str(source))
            outcome = replace(outcome, message=message)
        return outcome


def _job_of(item: Item) -> Job:
    return Job(Path(item.source), Path(item.target), item.refusal)


def _retrying(function: Callable[[], Any]) -> Any:
    """Call a function again if a store fails, which it does from time to time."""
    for attempt in range(1, _TRIES + 1):
        try:
            return function()
        except StoreError:
            if attempt == _TRIES:
                raise
            time.sleep(_WAIT * 2 ** (attempt - 1))
    raise AssertionError

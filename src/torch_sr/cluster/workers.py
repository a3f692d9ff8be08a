"""The actor that computes images: it holds the model, and reads and writes the files."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol

from torch_sr.cluster.ledger import Entry
from torch_sr.cluster.listing import Item
from torch_sr.cluster.places import Place
from torch_sr.cluster.stores import retrying
from torch_sr.errors import ImageError, TorchSRError
from torch_sr.images import display_name
from torch_sr.inference.files.batch import Outcome, process_job
from torch_sr.inference.files.jobs import Job
from torch_sr.inference.files.options import BatchOptions
from torch_sr.inference.files.survey import survey
from torch_sr.inference.upscaler import Upscaler

_AT_ONCE = 2  # images of a worker: one is computed, one is read or written


class AnyLedger(Protocol):
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
        most_attempts: to compute an image that may have crashed its worker.
    """

    upscaler: dict[str, Any]
    options: BatchOptions
    most_attempts: int = 5


class Worker:
    """Computes items, two at a time.

    Args:
        settings: what to compute.
        ledger: where attempts and outcomes are noted.
    """

    def __init__(self, settings: WorkerSettings, ledger: AnyLedger) -> None:
        self._settings = settings
        self._ledger = ledger
        self._upscaler = Upscaler(**settings.upscaler)
        self._pool = ThreadPoolExecutor(_AT_ONCE)
        self._name = f"{socket.gethostname()}:{os.getpid()}"

    def process(self, items: Sequence[Item]) -> list[dict[str, Any]]:
        """Compute the items of a task; returns their outcomes in order.

        Items that a worker was given before are computed after the others and one at a time: if one
        of them ends this worker too, no other item is blamed for it.
        """
        checked = list(self._pool.map(self._check, items))
        items = [item for item, _ in checked]
        entries = self._ledger.open(
            [item.source for item in items], [exists for _, exists in checked]
        )
        futures = [
            None if entry.given else self._pool.submit(self._first, item, entry)
            for item, entry in zip(items, entries, strict=True)
        ]
        wait(filter(None, futures))
        return [
            future.result() if future else self._again(item, entry)
            for item, entry, future in zip(items, entries, futures, strict=True)
        ]

    def _check(self, item: Item) -> tuple[Item, bool]:
        """See whether the result exists; if that is not known, the item is refused."""
        if self._settings.options.existing == "overwrite" or item.refusal is not None:
            return item, False
        try:
            return item, retrying(Place(item.target).exists)
        except TorchSRError as error:
            return replace(item, refusal=str(error)), False

    def _first(self, item: Item, entry: Entry) -> dict[str, Any]:
        return self._finish(item, self._compute(item, existed=entry.existed))

    def _again(self, item: Item, entry: Entry) -> dict[str, Any]:
        if entry.outcome is not None:
            return entry.outcome
        attempts, most = self._ledger.attempt(item.source), self._settings.most_attempts
        if attempts <= most:
            return self._first(item, entry)
        message = (
            f"{item.source}: its worker ended {most} times while it computed this image; give "
            "workers more memory, or leave the image out"
        )
        return self._finish(item, Outcome(_job_of(item), "failed", message))

    def _finish(self, item: Item, outcome: Outcome) -> dict[str, Any]:
        row = {**outcome.to_dict(), "worker": self._name, "ended": time.time()}
        row |= {"source": item.source, "target": item.target}
        self._ledger.finish([row])
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
        except (TorchSRError, OSError, MemoryError) as error:
            message = str(error) if isinstance(error, TorchSRError) else f"{item.source}: {error}"
            return Outcome(job, "failed", message, seconds=time.perf_counter() - start)

    def _run(self, job: Job, source: Place, target: Place) -> Outcome:
        """Compute an item; files of stores are copied to and from a temporary folder."""
        if job.refusal is not None:
            raise ImageError(job.refusal)
        if source.is_local and target.is_local:
            return self._write(Job(source.path, target.path))
        with TemporaryDirectory(prefix="torch-sr-") as folder:
            job = Job(
                source.path if source.is_local else Path(folder, "source", source.name),
                target.path if target.is_local else Path(folder, "target", target.name),
            )
            if not source.is_local:
                job.source.parent.mkdir()
                retrying(lambda: source.download(job.source))
            outcome = self._write(job)
            if outcome.status == "done" and not target.is_local:
                retrying(lambda: target.upload(job.target))
        return _renamed(outcome, {job.source: source, job.target: target})

    def _write(self, job: Job) -> Outcome:
        # A result may be there by now, of a worker that has ended: it is replaced.
        options = replace(self._settings.options, existing="overwrite")
        (job,) = survey([job], self._upscaler.scale_factor, options)
        return process_job(self._upscaler, job, options, lambda *_: None)


def _renamed(outcome: Outcome, places: dict[Path, Place]) -> Outcome:
    """The outcome with places in place of the names of temporary files."""

    def rename(text: str) -> str:
        for path, place in places.items():
            text = text.replace(display_name(path), str(place))
        return text

    message = None if outcome.message is None else rename(outcome.message)
    return replace(outcome, message=message, notes=tuple(map(rename, outcome.notes)))


def _job_of(item: Item) -> Job:
    return Job(Path(item.source), Path(item.target), item.refusal)

"""The pipeline: items -> tasks -> actors -> outcomes, as a stream on Ray Data."""

from __future__ import annotations

import json
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict
from itertools import chain
from typing import Any

from torch_sr._version import __version__
from torch_sr.cluster.connection import (
    check_fit,
    check_version,
    connect,
    find_gpus,
    find_room,
    last_line,
)
from torch_sr.cluster.ledger import Entry, Ledger
from torch_sr.cluster.listing import Item, group
from torch_sr.cluster.settings import ClusterSettings
from torch_sr.cluster.workers import Worker, WorkerSettings
from torch_sr.errors import ClusterError, TorchSRError

_BETWEEN_FINISHES = 1.0  # seconds; what a worker finished since is done again if it is lost
_BETWEEN_TRIMS = 1000  # tasks
_POLL = 0.1  # seconds between two looks of a listing that is too far ahead
_MOST_AHEAD = 1000  # tasks that are listed and not reported yet, or 8 for each worker


def upscale_on_ray(
    items: Iterable[Item], settings: WorkerSettings, cluster: ClusterSettings
) -> Iterator[dict[str, Any]]:
    """Super-resolve files on a Ray cluster, and yield the outcome of each, as they finish.

    The items are listed on this machine while they are processed, and neither the list nor the
    outcomes are kept, so memory does not grow with their number.

    Args:
        items: can be pickled; iterated over once.
        settings: what workers compute.
        cluster: the workers.

    Yields:
        the fields of an :class:`~torch_sr.inference.files.batch.Outcome`, and ``worker``.

    Raises:
        MissingExtraError: Ray is not installed.
        ConfigError: the cluster cannot be reached.
        ClusterError: it failed, or its machines cannot run a worker.
    """
    ray = _connect(cluster.address)
    ledger = _start_ledger(ray)
    try:
        dataset = _dataset(ray, items, settings, cluster, ledger)
        for number, row in enumerate(dataset.iter_rows()):
            outcomes = json.loads(row["outcomes"])
            if isinstance(outcomes, str):
                raise ClusterError(outcomes)
            yield from outcomes
            ledger.forget.remote([outcome["source"] for outcome in outcomes])
            if number % _BETWEEN_TRIMS == 0:
                _trim(dataset)
    except ray.exceptions.RayError as error:
        raise ClusterError(f"the cluster failed: {last_line(str(error))}") from error
    finally:
        ray.kill(ledger)


def _dataset(
    ray: Any, items: Iterable[Item], settings: WorkerSettings, cluster: ClusterSettings, ledger: Any
) -> Any:
    """A row for each task, with the outcomes of its items."""
    gpus = find_gpus(ray, cluster, str(settings.upscaler.get("device", "auto")))
    check_fit(ray, cluster.worker_cpus, gpus)
    room = find_room(ray, cluster.worker_cpus, gpus)
    least, most = cluster.workers or (1, room)
    return (
        ray.data.from_items([{"list": "all"}])
        .flat_map(
            _lister(items, cluster, most, ledger),
            num_cpus=0,
            label_selector={"ray.io/node-id": ray.get_runtime_context().get_node_id()},
        )
        .map_batches(
            _RayWorker,
            fn_constructor_args=(settings, ledger, __version__),
            batch_size=None,
            batch_format="pyarrow",
            compute=ray.data.ActorPoolStrategy(
                min_size=least,
                max_size=most,
                initial_size=min(most, max(least, room)),
                max_tasks_in_flight_per_actor=2,
            ),
            num_cpus=cluster.worker_cpus,
            num_gpus=gpus or None,
        )
    )


def _trim(dataset: Any) -> None:
    """Discard the statistics that Ray Data keeps of each task, about 3 kB, for its summary."""
    executor = getattr(dataset, "_current_executor", None)
    for operator in getattr(executor, "_topology", None) or ():
        getattr(operator, "_output_blocks_stats", []).clear()


def _lister(
    items: Iterable[Item], cluster: ClusterSettings, workers: int, ledger: Any
) -> Callable[[dict[str, Any]], Iterator[dict[str, str]]]:
    """A function that lists the tasks, and waits when it is too far ahead of the driver."""
    most_ahead = max(_MOST_AHEAD, 8 * workers)

    def list_tasks(_: dict[str, Any]) -> Iterator[dict[str, str]]:
        import ray

        groups = group(items, cluster.images_per_task, cluster.bytes_per_task, workers)
        reported = 0
        for number, each in enumerate(groups):
            while number - reported >= most_ahead:
                reported = ray.get(ledger.tasks_reported.remote())
                if number - reported >= most_ahead:
                    time.sleep(_POLL)
            yield {"items": json.dumps([asdict(item) for item in each])}

    return list_tasks


class _RayWorker:
    """A :class:`Worker` in an actor of Ray Data, with metrics for Ray's dashboard."""

    def __init__(self, settings: WorkerSettings, ledger: Any, version: str) -> None:
        from ray.util.metrics import Counter

        self._files = Counter("torch_sr_files", "Files, by status.", tag_keys=("status",))
        self._pixels = Counter("torch_sr_pixels", "Pixels of the sources that are done.")
        self._seconds = Counter("torch_sr_seconds", "Seconds from first row to finished file.")
        self._problem: str | None = None
        try:
            check_version(version)
            self._ledger = _RemoteLedger(ledger)
            self._worker = Worker(settings, self._ledger)
        except TorchSRError as error:  # Ray would print a traceback of many pages
            self._problem = f"a worker on {socket.gethostname()} did not start: {error}"

    def __call__(self, batch: Any) -> dict[str, list[str]]:
        if self._problem is not None:
            return {"outcomes": [json.dumps(self._problem)]}
        tasks = map(json.loads, batch.column("items").to_pylist())
        rows = [self._worker.process([Item(**fields) for fields in task]) for task in tasks]
        self._ledger.flush()
        for row in chain.from_iterable(rows):
            self._count(row)
        return {"outcomes": [json.dumps(row) for row in rows]}

    def _count(self, row: dict[str, Any]) -> None:
        self._files.inc(tags={"status": row["status"]})
        if row["status"] == "done":
            self._pixels.inc(row["pixels"])
            self._seconds.inc(row["seconds"])


class _RemoteLedger:
    """The ledger, for a worker on any machine. It is asked seldom, because all workers share it."""

    def __init__(self, ledger: Any) -> None:
        import ray

        self._get = ray.get
        self._ledger = ledger
        self._finished: list[dict[str, Any]] = []
        self._sent = time.monotonic()
        self._lock = threading.Lock()

    def open(self, sources: Sequence[str], existed: Sequence[bool]) -> list[Entry]:
        entries: list[Entry] = self._get(self._ledger.open.remote(sources, existed))
        return entries

    def attempt(self, source: str) -> int:
        self.flush()
        attempts: int = self._get(self._ledger.attempt.remote(source))
        return attempts

    def finish(self, outcomes: Sequence[dict[str, Any]]) -> None:
        with self._lock:
            self._finished += outcomes
        if time.monotonic() - self._sent > _BETWEEN_FINISHES:
            self.flush()

    def flush(self) -> None:
        """Send the outcomes; it is not waited for, because they only save work."""
        with self._lock:
            finished, self._finished = self._finished, []
            self._sent = time.monotonic()
        if finished:
            self._ledger.finish.remote(finished)


def _connect(address: str | None) -> Any:
    ray = connect(address)
    from ray.data import DataContext

    logging.getLogger("ray.data").setLevel(logging.CRITICAL)  # the report is ours
    context = DataContext.get_current()
    context.enable_progress_bars = False
    context.target_max_block_size = 1  # a block for each row, which is a task
    return ray


def _start_ledger(ray: Any) -> Any:
    """Start the ledger on the driver's machine: without it, the run ends in any case."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    return ray.remote(Ledger).options(num_cpus=0, scheduling_strategy=here).remote()

"""The pipeline: items -> tasks -> actors -> outcomes, as a stream on Ray Data."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict
from typing import Any

from torch_sr.cluster.ledger import Entry, Ledger
from torch_sr.cluster.listing import Item, group
from torch_sr.cluster.settings import ClusterSettings
from torch_sr.cluster.workers import Worker, WorkerSettings
from torch_sr.errors import ClusterError, ConfigError, MissingExtraError

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
    ray = _connect(cluster)
    ledger = _start_ledger(ray)
    try:
        for row in _dataset(ray, items, settings, cluster, ledger).iter_rows():
            outcomes = json.loads(row["outcomes"])
            yield from outcomes
            ledger.forget.remote([outcome["source"] for outcome in outcomes])
    except ray.exceptions.RayError as error:
        raise ClusterError(_explained(error)) from error
    finally:
        ray.kill(ledger)


def _dataset(
    ray: Any, items: Iterable[Item], settings: WorkerSettings, cluster: ClusterSettings, ledger: Any
) -> Any:
    """A row for each task, with the outcomes of its items."""
    gpus = _gpus(ray, cluster, settings)
    least, most = cluster.workers or (1, _room(ray, cluster.worker_cpus, gpus))
    return (
        ray.data.from_items([{"list": "all"}])
        .flat_map(
            _lister(items, cluster, most, ledger),
            num_cpus=0,
            max_retries=0,  # what it has listed already would be listed again
            scheduling_strategy=_here(ray),
        )
        .map_batches(
            _RayWorker,
            fn_constructor_args=(settings, ledger),
            batch_size=None,
            batch_format="pyarrow",
            compute=ray.data.ActorPoolStrategy(
                min_size=least, max_size=most, initial_size=most, max_tasks_in_flight_per_actor=2
            ),
            num_cpus=cluster.worker_cpus,
            num_gpus=gpus or None,
        )
    )


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
    """A :class:`Worker` in an actor of Ray Data."""

    def __init__(self, settings: WorkerSettings, ledger: Any) -> None:
        self._worker = Worker(settings, _RemoteLedger(ledger))

    def __call__(self, batch: Any) -> dict[str, list[str]]:
        tasks = map(json.loads, batch.column("items").to_pylist())
        rows = [self._worker.process([Item(**fields) for fields in task]) for task in tasks]
        return {"outcomes": [json.dumps(row) for row in rows]}


class _RemoteLedger:
    """The ledger, for a worker on any machine."""

    def __init__(self, ledger: Any) -> None:
        import ray

        self._get = ray.get
        self._ledger = ledger

    def open(self, sources: Sequence[str], existed: Sequence[bool]) -> list[Entry]:
        entries: list[Entry] = self._get(self._ledger.open.remote(sources, existed))
        return entries

    def attempt(self, source: str) -> int:
        attempts: int = self._get(self._ledger.attempt.remote(source))
        return attempts

    def finish(self, source: str, outcome: dict[str, Any]) -> None:
        self._ledger.finish.remote(source, outcome)  # not waited for: it only saves work


def _connect(cluster: ClusterSettings) -> Any:
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise MissingExtraError("ray", "cluster") from error
    if not ray.is_initialized():
        options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
        try:
            # None as the address would find the cluster of a process that has ended.
            ray.init(address=cluster.address, **options)
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise ConfigError(
                f"--ray {cluster.address}: check the address, or use local: "
                f"{' '.join(str(error).split())}"
            ) from error
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.target_max_block_size = 1  # a block for each row, which is a task
    return ray


def _start_ledger(ray: Any) -> Any:
    """Start the ledger on the driver's machine, which has to live anyway."""
    return ray.remote(Ledger).options(num_cpus=0, scheduling_strategy=_here(ray)).remote()


def _here(ray: Any) -> Any:
    """The scheduling strategy of what runs on the driver's machine."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    return NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)


def _gpus(ray: Any, cluster: ClusterSettings, settings: WorkerSettings) -> float:
    """The GPUs of a worker: by default one, if the cluster has any and they may be used."""
    if cluster.worker_gpus is not None:
        return cluster.worker_gpus
    may = str(settings.upscaler.get("device", "auto")).startswith(("auto", "cuda"))
    return 1.0 if may and ray.cluster_resources().get("GPU", 0) >= 1 else 0.0


def _room(ray: Any, cpus: float, gpus: float) -> int:
    """How many workers the cluster has devices for now; autoscaling may add some."""
    have = ray.cluster_resources()
    rooms = [have.get("CPU", 0) / cpus]
    if gpus:
        rooms.append(have.get("GPU", 0) / gpus)
    return max(1, int(min(rooms)))


def _explained(error: Exception) -> str:
    """The last line of the error of a machine, which says what is wrong."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"the cluster failed: {lines[-1] if lines else type(error).__name__}"

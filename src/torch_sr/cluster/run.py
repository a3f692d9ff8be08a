"""The pipeline: items -> Ray Data -> actors -> outcomes."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from typing import Any

from torch_sr.cluster.ledger import Ledger
from torch_sr.cluster.listing import Item, chunks, group
from torch_sr.cluster.settings import ClusterSettings
from torch_sr.cluster.workers import Worker, WorkerSettings, to_row
from torch_sr.errors import ConfigError, MissingExtraError


def upscale_on_ray(
    items: Iterable[Item], settings: WorkerSettings, cluster: ClusterSettings
) -> Iterator[dict[str, Any]]:
    """Super-resolve files on a Ray cluster, and yield the outcome of each, as they finish.

    Args:
        items: listed as they are needed.
        settings: what workers compute.
        cluster: the workers.

    Yields:
        the fields of an :class:`~torch_sr.inference.files.batch.Outcome`, and ``worker``.

    Raises:
        MissingExtraError: Ray is not installed.
        ConfigError: the cluster cannot be reached, or has no room for a worker.
    """
    ray = _connect(cluster.address)
    ledger = _start_ledger(ray, settings.most_attempts)
    seen: set[str] = set()
    for chunk in chunks(iter(items), cluster.images_listed):
        seen.clear()
        for row in _run_chunk(ray, chunk, settings, cluster, ledger):
            if row["source"] not in seen:  # computed again, because a machine was lost
                seen.add(row["source"])
                yield row
        ray.get(ledger.clear.remote())


def _run_chunk(
    ray: Any, chunk: list[Item], settings: WorkerSettings, cluster: ClusterSettings, ledger: Any
) -> Iterator[dict[str, Any]]:
    import pyarrow as pa

    tables = [
        pa.Table.from_pylist([to_row(item) for item in items], schema=_schema(pa))
        for items in group(chunk, cluster.images_per_task, cluster.bytes_per_task)
    ]
    least, most = cluster.workers or (1, _room(ray, cluster))
    outcomes = ray.data.from_arrow(tables).map_batches(
        _RayWorker,
        fn_constructor_args=(settings, ledger),
        batch_size=None,
        batch_format="pyarrow",
        compute=ray.data.ActorPoolStrategy(min_size=least, max_size=most),
        num_cpus=cluster.worker_cpus,
        num_gpus=cluster.worker_gpus or None,
    )
    for batch in outcomes.iter_batches(batch_size=None, batch_format="pyarrow"):
        for text in batch.column("outcome").to_pylist():
            yield _from_text(text)


class _RayWorker:
    """A :class:`Worker` in an actor of Ray Data."""

    def __init__(self, settings: WorkerSettings, ledger: Any) -> None:
        import ray

        self._worker = Worker(
            settings,
            lambda source: ray.get(ledger.begin.remote(source)),
            lambda source, outcome: ray.get(ledger.finish.remote(source, outcome)),
        )

    def __call__(self, batch: Any) -> dict[str, list[str]]:
        items = [Item(**row) for row in batch.to_pylist()]
        return {"outcome": [_to_text(row) for row in self._worker.process(items)]}


def _connect(address: str | None) -> Any:
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise MissingExtraError("ray", "cluster") from error
    if not ray.is_initialized():
        options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
        try:
            ray.init(address=address, **options)  # None would find the cluster of a dead process
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise ConfigError(
                f"--ray {address}: check the address, or use local: {' '.join(str(error).split())}"
            ) from error
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    return ray


def _start_ledger(ray: Any, most_attempts: int) -> Any:
    """Start the ledger on the driver's machine, which has to live anyway."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    return (
        ray.remote(Ledger)
        .options(num_cpus=0, max_concurrency=8, scheduling_strategy=here)
        .remote(most_attempts)
    )


def _room(ray: Any, cluster: ClusterSettings) -> int:
    """How many workers the cluster has devices for now; autoscaling may add some."""
    have = ray.cluster_resources()
    rooms = [have.get("CPU", 0) / cluster.worker_cpus]
    if cluster.worker_gpus:
        rooms.append(have.get("GPU", 0) / cluster.worker_gpus)
    return max(1, int(min(rooms)))


def _schema(pa: Any) -> Any:
    return pa.schema(
        [
            ("source", pa.string()),
            ("target", pa.string()),
            ("num_bytes", pa.int64()),
            ("refusal", pa.string()),
        ]
    )


def _to_text(row: dict[str, Any]) -> str:
    import json

    return json.dumps(row)


def _from_text(text: str) -> dict[str, Any]:
    import json

    row: dict[str, Any] = json.loads(text)
    return row

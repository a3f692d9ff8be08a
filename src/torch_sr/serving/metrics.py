"""Figures of a service for Prometheus, one registry for each service."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800)
_TILES = (1, 2, 4, 8, 16, 32)


class ServiceMetrics:
    """Counters, histograms and gauges."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "torch_sr_requests",
            "HTTP requests, by route and status.",
            ("method", "route", "status"),
            registry=self._registry,
        )
        self._latency = Histogram(
            "torch_sr_request_seconds",
            "Time from a request's first byte to the last of its answer.",
            ("route",),
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._tasks = Counter(
            "torch_sr_tasks",
            "Finished tasks, by how they ended: done, failed or cancelled.",
            ("state",),
            registry=self._registry,
        )
        self._failures = Counter(
            "torch_sr_failures", "Failed tasks, by status.", ("status",), registry=self._registry
        )
        self._repeats = Counter(
            "torch_sr_repeats",
            "Tasks that were sent again, because a machine of the cluster ended.",
            registry=self._registry,
        )
        self._wait = Histogram(
            "torch_sr_queue_seconds",
            "Time that tasks waited.",
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._compute = Histogram(
            "torch_sr_task_seconds",
            "Time in which tasks were decoded, computed and encoded.",
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._megapixels = Counter(
            "torch_sr_megapixels",
            "Megapixels of the sources that were upscaled.",
            registry=self._registry,
        )
        self._batch = Histogram(
            "torch_sr_batch_tiles",
            "Tiles that were computed in one call of the engine.",
            buckets=_TILES,
            registry=self._registry,
        )

    def watch(self, name: str, text: str, value: Callable[[], float]) -> None:
        """Add a gauge that is read when the figures are requested."""
        Gauge(name, text, registry=self._registry).set_function(value)

    def count_request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count an answered request."""
        self._requests.labels(method, route, str(status)).inc()
        self._latency.labels(route).observe(seconds)

    def count_task(
        self, state: str, status: int | None, waited: float, seconds: float | None
    ) -> None:
        """Count a finished task.

        Args:
            state: how it ended.
            status: of its error.
            waited: seconds in the queue.
            seconds: that it was computed; None if it was not.
        """
        self._tasks.labels(state).inc()
        self._wait.observe(waited)
        if seconds is not None:
            self._compute.observe(seconds)
        if status is not None:
            self._failures.labels(str(status)).inc()

    def count_repeat(self) -> None:
        """Count a task that a cluster computes again."""
        self._repeats.inc()

    def count_pixels(self, pixels: int) -> None:
        """Count the pixels of a source that was upscaled."""
        self._megapixels.inc(pixels / 1e6)

    def count_batch(self, tiles: int) -> None:
        """Count a call of an engine."""
        self._batch.observe(tiles)

    def to_text(self) -> bytes:
        """All figures in Prometheus' text format."""
        return generate_latest(self._registry)

"""Start and stop replicas with Ray Serve, and call them."""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch_sr._version import __version__
from torch_sr.cluster.connection import check_fit, connect, find_gpus, find_room, last_line
from torch_sr.cluster.settings import ClusterSettings
from torch_sr.errors import ClusterError, MissingExtraError
from torch_sr.models.loading import ModelChoice, load
from torch_sr.models.weights import shipped_path
from torch_sr.serving.cluster.computer import Answer, ClusterComputer, ReplicaEndedError
from torch_sr.serving.cluster.messages import Message, Order
from torch_sr.serving.cluster.replica import BYTES_PER_PART, Replica
from torch_sr.serving.computing import MakeComputers
from torch_sr.serving.metrics import ServiceMetrics
from torch_sr.serving.settings import ServiceSettings
from torch_sr.serving.tasks import Work

DEPLOYMENT = "replica"
_NAME = "application"  # of the file that has it
_MOST_BYTES_INLINE = 100_000  # Ray keeps larger values in its store anyway
_SECONDS_TO_END = 30.0  # for the tasks of a replica that is no longer needed
_SECONDS_BETWEEN_WARNINGS = 30.0

_log = logging.getLogger(__name__)


def use_cluster(cluster: ClusterSettings) -> MakeComputers:
    """Replicas that are started for a service, and end with it.

    Raises:
        MissingExtraError: Ray is not installed.
        ConfigError: the cluster cannot be reached.
    """

    def make(settings: ServiceSettings, metrics: ServiceMetrics) -> list[ClusterComputer]:
        return [ClusterComputer(OwnReplicas(settings, cluster), metrics.count_repeat)]

    return make


class SharedReplicas:
    """Replicas that Ray Serve has started with the service; see :class:`Replicas`.

    Args:
        handle: of their deployment.
        tasks_at_once: how many tasks all of them compute at the same time.
        models: that have been sent to them.
    """

    def __init__(self, handle: Any, tasks_at_once: int, models: Models | None = None) -> None:
        self.tasks_at_once = tasks_at_once
        self._handle = handle.options(method_name="compute", stream=True)
        self._models = models or Models()

    def start(self, choice: ModelChoice) -> None:
        """They have been started."""

    def stop(self) -> None:
        """They end with the service."""

    def send(self, work: Work) -> Answer:
        """Send a task to one of them.

        Raises:
            ReplicaEndedError: there are none any more.
        """
        from ray.serve.exceptions import RayServeException

        try:
            parts, model = list(_parts_of(work.job.source)), self._models.find(work.choice)
            return _Answer(self._handle.remote(Order.of_work(work), parts, model))
        except RayServeException as error:
            raise ReplicaEndedError(str(error)) from error


class OwnReplicas:
    """Replicas of one service; see :class:`Replicas`.

    Args:
        settings: of the service.
        cluster: their number and what each of them gets.

    Raises:
        MissingExtraError: Ray is not installed.
        ConfigError: the cluster cannot be reached.
    """

    def __init__(self, settings: ServiceSettings, cluster: ClusterSettings) -> None:
        self._ray = connect(cluster.address)
        self._serve = find_serve()
        self._settings = settings
        gpus = find_gpus(self._ray, cluster, settings.devices[0])
        check_fit(self._ray, cluster.worker_cpus, gpus)
        self._cluster = replace(cluster, worker_gpus=gpus)
        room = find_room(self._ray, cluster.worker_cpus, gpus)
        self._workers = cluster.workers or (room, room)
        self.tasks_at_once = self._workers[1] * settings.tasks_per_device
        self._name = _name_in(settings.folder)
        self._running: SharedReplicas | None = None
        self._is_deployed = False

    def start(self, choice: ModelChoice) -> None:
        """Start them, and load a model; one of them is enough to begin.

        Raises:
            ClusterError: they do not start.
        """
        models = Models()
        deployment = make_deployment(self._settings, self._cluster, self._workers)
        application = deployment.bind(self._settings, choice, models.find(choice), __version__)
        target = self._serve.RunTarget(application, name=self._name, route_prefix=None)
        self._serve.start(proxy_location="Disabled", logging_config={"log_level": "WARNING"})
        self._is_deployed = True
        (handle,) = self._serve.run_many([target], wait_for_applications_running=False)
        self._wait()
        self._running = SharedReplicas(handle, self.tasks_at_once, models)

    def stop(self) -> None:
        """End them, and Ray if it was started for them."""
        if self._is_deployed:
            try:
                self._serve.delete(self._name)
            except Exception:  # the cluster has ended, or cannot be reached
                _log.exception("the workers of %s could not be ended", self._name)
        self._ray.shutdown()

    def send(self, work: Work) -> Answer:
        """Send a task to one of them."""
        assert self._running is not None, "not started"
        return self._running.send(work)

    def _wait(self) -> None:
        """Wait for the first of them."""
        warned = time.monotonic()
        while True:
            status = self._serve.status().applications[self._name]
            deployment = status.deployments.get(DEPLOYMENT)
            if deployment is not None and deployment.replica_states.get("RUNNING"):
                return
            if status.status in ("DEPLOY_FAILED", "UNHEALTHY"):
                reason = deployment.message if deployment is not None else status.message
                raise ClusterError(
                    f"--ray {self._cluster.address}: the workers do not start: {last_line(reason)}"
                )
            if time.monotonic() - warned > _SECONDS_BETWEEN_WARNINGS:
                warned = time.monotonic()
                _log.warning(
                    "waiting for the first worker, which needs: processors: %g, GPUs: %g",
                    self._cluster.worker_cpus,
                    self._cluster.worker_gpus,
                )
            time.sleep(0.1)


class Models:
    """Models that the machines of a cluster may not have, in Ray's store."""

    def __init__(self) -> None:
        self._stored: dict[ModelChoice, Any] = {}

    def find(self, choice: ModelChoice) -> list[Any] | None:
        """What a replica gets for a model; None if each installation of torch-sr has it."""
        import ray

        if shipped_path(str(choice.model)) is not None:
            return None
        if choice not in self._stored:
            self._stored[choice] = ray.put(load(choice.model, strength=choice.strength))
        return [self._stored[choice]]  # in a list, Ray passes it on as a reference


class ServeReplica(Replica):
    """A :class:`Replica` that gets what is in Ray's store."""

    def __init__(
        self,
        settings: ServiceSettings,
        choice: ModelChoice | None = None,
        model: list[Any] | None = None,
        version: str = __version__,
    ) -> None:
        super().__init__(settings, choice, model, version, _get)

    def __del__(self) -> None:  # Ray Serve calls it before it ends the process
        if hasattr(self, "_lock"):  # it has started
            self.close()


def make_deployment(
    settings: ServiceSettings, cluster: ClusterSettings, workers: tuple[int, int]
) -> Any:
    """The deployment of :class:`ServeReplica`, to be bound to its arguments."""
    serve, (least, most) = find_serve(), workers
    number: dict[str, Any] = {"num_replicas": most}
    if least < most:
        scaling = {"min_replicas": least, "max_replicas": most}
        wanted = {"target_ongoing_requests": max(1, settings.tasks_per_device // 2)}
        number = {"autoscaling_config": {**scaling, **wanted}}
    return serve.deployment(
        ServeReplica,
        name=DEPLOYMENT,
        max_ongoing_requests=settings.tasks_per_device,
        ray_actor_options={"num_cpus": cluster.worker_cpus, "num_gpus": cluster.worker_gpus or 0},
        graceful_shutdown_wait_loop_s=0.1,
        graceful_shutdown_timeout_s=_SECONDS_TO_END,
        **number,
    )


class _Answer:
    """The messages of a replica through Ray Serve; see :class:`Answer`."""

    def __init__(self, generator: Any) -> None:
        self._generator = generator

    def __iter__(self) -> Iterator[Message]:
        from ray.exceptions import RayError, RayTaskError
        from ray.serve.exceptions import RayServeException

        try:
            yield from self._generator
        except RayTaskError:  # an error of our code, which would happen again
            raise
        except (RayError, RayServeException) as error:
            raise ReplicaEndedError(type(error).__name__) from error

    def cancel(self) -> None:
        self._generator.cancel()


def _parts_of(source: Path) -> Iterator[Any]:
    """The bytes of a file, or references to them."""
    import ray

    with source.open("rb") as file:
        while data := file.read(BYTES_PER_PART):
            yield data if len(data) <= _MOST_BYTES_INLINE else ray.put(data)


def _get(value: Any) -> Any:
    """What a value stands for: a reference, also in a list, or the value itself."""
    import ray

    if isinstance(value, list):
        (value,) = value
    return ray.get(value) if isinstance(value, ray.ObjectRef) else value


def find_serve() -> Any:
    """Ray Serve.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        from ray import serve
    except ImportError as error:
        raise MissingExtraError("ray", "cluster") from error
    logging.getLogger("ray.serve").setLevel(logging.WARNING)
    return serve


def _name_in(folder: Path) -> str:
    """The name of a service's replicas: a restarted service replaces its own, and no others."""
    file = folder / _NAME
    if not file.exists():
        file.write_text(f"torch-sr-{secrets.token_hex(4)}", encoding="ascii")
    return file.read_text(encoding="ascii")

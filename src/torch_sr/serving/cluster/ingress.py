"""The whole service as an application of Ray Serve, for ``serve run`` and for KubeRay.

The API, the page, the queue and the jobs are in one replica, the ingress, behind the HTTP proxies
of Ray Serve. If it ends, Ray Serve starts another one, which continues the jobs in the folder.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from typing import Any

from torch_sr.cluster.settings import ClusterSettings
from torch_sr.errors import ConfigError
from torch_sr.models.loading import choose_model
from torch_sr.models.weights import shipped_path
from torch_sr.serving.api.app import make_app
from torch_sr.serving.cluster.computer import ClusterComputer
from torch_sr.serving.cluster.deploy import SharedReplicas, find_serve, make_deployment
from torch_sr.serving.service import Service
from torch_sr.serving.settings import SHORTEST_TOKEN, ServiceSettings

_MOST_REQUESTS = 1000  # at once, most of which wait
_SECONDS_TO_SEND = 10.0  # the last results, after the tasks have ended


class Ingress:
    """The replica that accepts requests.

    Args:
        settings: of the service.
        replicas: the handle of the deployment that computes.
        tasks_at_once: how many tasks its replicas compute at the same time.
        token: that requests must have, by default the variable ``TORCH_SR_TOKEN``.
        no_token: whether requests need no token.
        hosts, page: see :func:`~torch_sr.serving.api.app.make_app`.
        grace: seconds that running tasks get when it ends.

    Raises:
        ConfigError: there is no token, or it is too short.
    """

    def __init__(
        self,
        settings: ServiceSettings,
        replicas: Any,
        tasks_at_once: int,
        *,
        token: str | None,
        no_token: bool,
        hosts: Collection[str],
        page: bool,
        grace: float,
    ) -> None:
        token = None if no_token else _find_token(token)
        self._grace = grace
        self._service = Service(
            settings,
            lambda _, metrics: [
                ClusterComputer(SharedReplicas(replicas, tasks_at_once), metrics.count_repeat)
            ],
        )
        self._app = make_app(self._service, token=token, hosts=hosts, page=page)
        self._service.start()

    def __serve_build_asgi_app__(self) -> Any:
        return self._app

    def check_health(self) -> None:
        """Called by Ray Serve from time to time, which ends the replica after an error."""
        if self._service.fault is not None:
            raise RuntimeError(self._service.fault)

    def __del__(self) -> None:  # Ray Serve calls it before it ends the process
        if hasattr(self, "_service"):  # it has started
            self._service.stop(self._grace)
            self._service.close()


def make_application(
    settings: ServiceSettings,
    cluster: ClusterSettings,
    *,
    token: str | None,
    no_token: bool,
    hosts: Collection[str],
    page: bool,
    grace: float,
) -> Any:
    """The application.

    Args:
        settings, token, no_token, hosts, page, grace: see :class:`Ingress`.
        cluster: the number of replicas that compute, by default one, and what each of them gets.
    """
    workers = cluster.workers or (1, 1)
    choice = choose_model(settings.models[0] if settings.models else None)
    shipped = shipped_path(str(choice.model)) is not None  # the ingress sends others
    replicas = make_deployment(settings, cluster, workers).bind(
        settings, choice if shipped else None
    )
    serve = find_serve()
    ingress = serve.deployment(
        serve.ingress()(Ingress),
        name="ingress",
        num_replicas=1,
        max_ongoing_requests=_MOST_REQUESTS,
        ray_actor_options={"num_cpus": 0},
        graceful_shutdown_timeout_s=grace + _SECONDS_TO_SEND,
    )
    return ingress.bind(
        settings,
        replicas,
        workers[1] * settings.tasks_per_device,
        token=token,
        no_token=no_token,
        hosts=hosts,
        page=page,
        grace=grace,
    )


def _find_token(token: str | None) -> str:
    token = token or os.environ.get("TORCH_SR_TOKEN", "")
    if len(token) < SHORTEST_TOKEN:
        raise ConfigError(
            f"set TORCH_SR_TOKEN to at least {SHORTEST_TOKEN} characters where Ray runs; the "
            "argument no-token: true lets everyone use the service"
        )
    return token

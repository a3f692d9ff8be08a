"""Connect to a Ray cluster, and see what it has."""

from __future__ import annotations

import logging
import os
import re
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from torch_sr._version import __version__
from torch_sr.cluster.settings import ClusterSettings
from torch_sr.errors import ConfigError, MissingExtraError

_CONNECT = 10.0  # seconds
_STARTED: set[str] = set()  # addresses of clusters that this process has started
_log = logging.getLogger(__name__)


def connect(address: str | None) -> Any:
    """The package ``ray``, connected to a cluster.

    Args:
        address: see :class:`ClusterSettings`; None for ``auto``.

    Raises:
        MissingExtraError: Ray is not installed.
        ConfigError: the cluster cannot be reached.
    """
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # errors arrive as exceptions
    if address == "local":  # otherwise it would report to Ray's makers
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError as error:
        raise MissingExtraError("ray", "cluster") from error
    if not ray.is_initialized():
        address = address or "auto"
        _check_address(address)
        options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.CRITICAL}
        try:
            with _without_stderr():
                ray.init(address=address, **options)
            if address == "local":
                _STARTED.add(ray.get_runtime_context().gcs_address)
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise _unreachable(address, error) from error
    return ray


def find_gpus(ray: Any, cluster: ClusterSettings, device: str) -> float:
    """The GPUs of a worker: by default one, if the cluster has any and they may be used.

    Args:
        ray: see :func:`connect`.
        cluster: what was asked for.
        device: of :class:`torch_sr.Upscaler`.
    """
    if cluster.worker_gpus is not None:
        return cluster.worker_gpus
    may = device.startswith(("auto", "cuda"))
    return 1.0 if may and ray.cluster_resources().get("GPU", 0) >= 1 else 0.0


def check_fit(ray: Any, cpus: float, gpus: float) -> None:
    """Report that no machine of the cluster is large enough for a worker now.

    Raises:
        ConfigError: that cannot change, because the cluster is this process's own.
    """
    wanted = {"CPU": cpus, "GPU": gpus}
    machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    if any(all(has.get(name, 0) >= n for name, n in wanted.items()) for has in machines):
        return
    problem = f"no machine has {cpus:g} processors and {gpus:g} GPUs for a worker"
    if ray.get_runtime_context().gcs_address in _STARTED:
        raise ConfigError(f"{problem}; lower --ray-cpus or --ray-gpus")
    _log.warning("%s now; waiting until one joins the cluster", problem)


def find_room(ray: Any, cpus: float, gpus: float) -> int:
    """How many workers the cluster has devices for now; autoscaling may add some."""
    have = ray.cluster_resources()
    rooms = [have.get("CPU", 0) / cpus]
    if gpus:
        rooms.append(have.get("GPU", 0) / gpus)
    return max(1, int(min(rooms)))


def check_version(version: str) -> None:
    """Check that this machine of the cluster has the same torch-sr as the command.

    Raises:
        ConfigError: it has another one.
    """
    if version != __version__:
        raise ConfigError(
            f"{socket.gethostname()} has torch-sr {__version__}, and the machine of the command "
            f"{version}; install the same version on all machines"
        )


def last_line(text: str) -> str:
    r"""The last line of a traceback, which says what is wrong, without the class of our errors.

    >>> last_line("Traceback ...\ntorch_sr.errors.DeviceError: device 'cuda': not available")
    "device 'cuda': not available"
    """
    lines = [line.strip() for line in text.splitlines() if line.strip()] or ["no reason is known"]
    return re.sub(r"^torch_sr[.]errors[.]\w+: ", "", lines[-1])


@contextmanager
def _without_stderr() -> Iterator[None]:
    """Discard what native code prints, such as the log level that Ray was given."""
    with Path(os.devnull).open("wb") as nothing:
        sys.stderr.flush()
        kept = os.dup(2)
        os.dup2(nothing.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)


def _check_address(address: str) -> None:
    """Raise an error if nothing listens there: Ray would try for minutes."""
    url = urlsplit(address if "://" in address else f"//{address}")
    try:
        if url.port is not None:
            socket.create_connection((url.hostname, url.port), timeout=_CONNECT).close()
    except (OSError, ValueError) as error:
        raise _unreachable(address, error) from error


def _unreachable(address: str, error: Exception) -> ConfigError:
    reason = " ".join(str(error).split())
    return ConfigError(
        f"--ray {address}: check the address, and set RAY_AUTH_MODE=token if the cluster has a "
        f"token; auto finds the cluster of this machine: {reason}"
    )

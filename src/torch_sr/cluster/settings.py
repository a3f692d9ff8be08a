"""Workers of a cluster, and what each of them gets."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated

from torch_sr.errors import ConfigError
from torch_sr.options import Option

_PANEL = "Cluster"


def parse_workers(text: str) -> tuple[int, int]:
    """A number of workers, or the least and the most of them.

    Raises:
        ConfigError: it is neither.

    >>> parse_workers("4"), parse_workers("1:16")
    ((4, 4), (1, 16))
    """
    match = re.fullmatch(r"(\d+)(?::(\d+))?", text.strip())
    least = int(match[1]) if match else 0
    most = int(match[2] or match[1]) if match else 0
    if not 1 <= least <= most:
        raise ConfigError(f"{text!r} is not a number of workers; write 4, or 1:16 for 1 to 16")
    return least, most


@dataclass(frozen=True)
class ClusterSettings:
    """How a cluster computes.

    Args:
        address: of Ray; ``local`` starts it on this machine, ``auto`` finds a running one.
        workers: the least and the most; None for as many as the cluster has devices for.
        worker_cpus: of each, which are its threads.
        worker_gpus: of each; parts of 1 share a GPU. None for one, if the cluster has GPUs.
        images_per_task, bytes_per_task: the most that a worker is given at a time.
    """

    address: Annotated[
        str | None,
        Option(
            "Compute on a Ray cluster: its address, auto for the one of this machine, or local.",
            ("--ray",),
            panel=_PANEL,
            metavar="ADDRESS",
        ),
    ] = None
    workers: Annotated[
        tuple[int, int] | None,
        Option(
            "Number of workers, or the least and the most: 1:16.",
            ("--ray-workers",),
            panel=_PANEL,
            default="as many as the cluster has room for",
            parse=parse_workers,
        ),
    ] = None
    worker_cpus: Annotated[
        float, Option("Processors of each worker.", ("--ray-cpus",), panel=_PANEL, min=0.1)
    ] = 1.0
    worker_gpus: Annotated[
        float | None,
        Option(
            "GPUs of each worker; 0.5 lets two share one.",
            ("--ray-gpus",),
            panel=_PANEL,
            min=0,
            default="1 if the cluster has GPUs",
        ),
    ] = None
    images_per_task: int = 64
    bytes_per_task: int = 256_000_000

"""What a large job reaches first: how near it is to each known limit, and the remedy."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch_sr.planning.constants import Constants


@dataclass(frozen=True)
class Limit:
    """A limit.

    Args:
        name: of what is limited.
        load: what the job needs of it.
        limit: what it can do.
        unit: of both.
        devices: the number of devices at which this job would reach it.
        remedy: what to do then.
    """

    name: str
    load: float
    limit: float
    unit: str
    devices: int
    remedy: str

    @property
    def share(self) -> float:
        """The part of the limit that is used; above 1, the job waits for it."""
        return self.load / self.limit


_LIMITS = {
    "limit.store_gets": ("reads of a store", "spread the sources over several prefixes"),
    "limit.store_puts": ("writes to a store", "spread the results over several prefixes"),
    "limit.list_names": ("the driver's listing", "start several jobs, each with a part"),
    "limit.ray_tasks": ("Ray's scheduler", "more images a task, or several clusters"),
    "limit.images": ("the driver, ledger and Ray", "start several jobs, each with a part"),
    "limit.ledger_calls": ("the ledger", "more images a task, or several jobs"),
}


def find_limits(
    constants: Constants,
    *,
    tasks: float,
    gets: float,
    puts: float,
    images: int,
    seconds: float,
    devices: int,
) -> list[Limit]:
    """The limits that are known, the nearest first.

    Args:
        constants: have the limits; those that are missing are left out.
        tasks, gets, puts, images: of the job.
        seconds: that it takes.
        devices: that compute it.
    """
    loads = {
        "limit.store_gets": gets,
        "limit.store_puts": puts,
        "limit.list_names": images,
        "limit.ray_tasks": tasks,
        "limit.images": images,
        "limit.ledger_calls": tasks * constants["ledger.calls_per_task"]
        + devices * seconds * constants["ledger.calls_per_second"],
    }
    found = list(_limits(constants, loads, seconds, devices))
    return sorted(found, key=lambda limit: limit.share, reverse=True)


def _limits(
    constants: Constants, loads: dict[str, float], seconds: float, devices: int
) -> Iterator[Limit]:
    for key, (name, remedy) in _LIMITS.items():
        if (known := constants.find(key)) is None or known.value == 0:
            continue
        load, limit = loads[key] / seconds, constants[key]
        yield Limit(name, load, limit, known.unit, max(1, int(devices * limit / load)), remedy)

"""What was started and finished, so that nothing is done twice or retried forever.

When a machine is lost, Ray computes again what it had not handed on. The ledger is an actor on the
driver's machine: an item that was finished is not computed again, and one that crashes its worker
several times is given up.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True)
class Entry:
    """What is known of an item.

    Args:
        existed: whether its result existed before a worker was given the item.
        given: whether a worker was given it before.
        outcome: if it was finished.
    """

    existed: bool
    given: bool = False
    outcome: dict[str, Any] | None = None


class Ledger:
    """The attempts and outcomes of the items that are being processed.

    An entry lives from the start of its item until the driver has its outcome, so the ledger's size
    does not grow with the number of items.
    """

    def __init__(self) -> None:
        self._entries: dict[str, Entry] = {}
        self._attempts: Counter[str] = Counter()
        self._tasks_reported = 0

    def open(self, sources: Sequence[str], existed: Sequence[bool]) -> list[Entry]:
        """Note that a worker was given items; returns what was known of them before.

        Args:
            sources: of the items.
            existed: whether their results exist, which counts for items that are new.
        """
        known = [
            self._entries.get(name, Entry(result_is_there))
            for name, result_is_there in zip(sources, existed, strict=True)
        ]
        for name, entry in zip(sources, known, strict=True):
            self._entries[name] = replace(entry, given=True)
        return known

    def attempt(self, source: str) -> int:
        """Note that an item is computed alone; returns how often that was the case."""
        self._attempts[source] += 1
        return self._attempts[source]

    def finish(self, outcomes: Sequence[dict[str, Any]]) -> None:
        """Note the outcomes of items."""
        for outcome in outcomes:
            name = outcome["source"]
            if (entry := self._entries.get(name)) is not None:  # None: a worker was late
                self._entries[name] = replace(entry, outcome=outcome)

    def forget(self, sources: Sequence[str]) -> None:
        """Remove the items of a task, because the driver has received their outcomes."""
        self._tasks_reported += 1
        for name in sources:
            self._entries.pop(name, None)
            self._attempts.pop(name, None)

    def tasks_reported(self) -> int:
        """How many tasks were forgotten so far."""
        return self._tasks_reported

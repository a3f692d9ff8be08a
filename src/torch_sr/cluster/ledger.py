"""What was started and finished, so that nothing is done twice or retried forever.

When a machine is lost, Ray computes again what it had not handed on. The ledger is an actor on the
driver's machine: an item that was finished is not computed again, and one during which workers
ended several times is given up.
"""

from __future__ import annotations

from typing import Any


class Ledger:
    """The attempts and outcomes of the items that are being processed.

    Args:
        most_attempts: to compute an item whose worker ends.
    """

    def __init__(self, most_attempts: int) -> None:
        self._most = most_attempts
        self._attempts: dict[str, int] = {}
        self._outcomes: dict[str, dict[str, Any]] = {}

    def begin(self, source: str) -> tuple[int, dict[str, Any] | None]:
        """Note that an item is started; returns the number of attempts, and a known outcome."""
        if (outcome := self._outcomes.get(source)) is not None:
            return 0, outcome
        self._attempts[source] = attempts = self._attempts.get(source, 0) + 1
        return attempts, None

    def finish(self, source: str, outcome: dict[str, Any]) -> None:
        """Note the outcome of an item."""
        self._outcomes[source] = outcome
        self._attempts.pop(source, None)

    def clear(self) -> None:
        """Forget all items, when the driver has received all their outcomes."""
        self._attempts.clear()
        self._outcomes.clear()

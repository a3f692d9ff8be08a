"""Start work on tiles before their results are used, so that a device need not wait."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def map_ahead(function: Callable[[T], R], items: Iterable[T], ahead: int) -> Iterator[R]:
    """Apply a function to items, in order, in as many threads as results are computed ahead.

    Args:
        function: may be called by several threads at once.
        items: are taken one after another, by the calling thread.
        ahead: how many results are computed before they are requested; 0 for no threads.

    >>> list(map_ahead(abs, [-1, 2, -3], ahead=2))
    [1, 2, 3]
    """
    if ahead == 0:
        yield from map(function, items)
        return
    waiting: deque[Future[R]] = deque()
    with ThreadPoolExecutor(ahead) as pool:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) > ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()

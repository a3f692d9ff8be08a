"""Send tasks to replicas, and again to another one if a replica ends."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from http import HTTPStatus
from typing import Protocol

from torch_sr.files import atomic_write
from torch_sr.models.loading import ModelChoice
from torch_sr.serving.cluster.messages import Done, Message
from torch_sr.serving.computing import OnProgress
from torch_sr.serving.errors import RequestError
from torch_sr.serving.tasks import Work

_MOST_ATTEMPTS = 5
_ATTEMPTS_TOGETHER = 2  # before a task is suspected
_SECONDS_BETWEEN_CHECKS = 0.5  # whether the task is still wanted
_LONGEST_PAUSE = 5.0

_log = logging.getLogger(__name__)


class ReplicaEndedError(Exception):
    """A replica ended before its answer was complete, or none could be reached."""


class Answer(Protocol):
    """What a replica answers."""

    def __iter__(self) -> Iterator[Message]:
        """The messages, as they arrive.

        Raises:
            ReplicaEndedError: there are no further ones.
        """
        ...

    def cancel(self) -> None:
        """End the computation, if it has not ended."""
        ...


class Replicas(Protocol):
    """The replicas of a cluster."""

    @property
    def tasks_at_once(self) -> int:
        """How many tasks all of them compute at the same time."""
        ...

    def start(self, choice: ModelChoice) -> None:
        """Start them, and load a model."""
        ...

    def send(self, work: Work) -> Answer:
        """Send a task to one of them.

        Raises:
            ReplicaEndedError: there are none any more.
        """
        ...

    def stop(self) -> None:
        """End them."""
        ...


class ClusterComputer:
    """Replicas as a :class:`~torch_sr.serving.computing.Computer`.

    A file may be the reason why a replica ended, for example because it needs too much memory.
    After two failures, a task is only repeated while no other such task runs, so it cannot
    make these fail as well.

    Args:
        replicas: where tasks are computed.
        on_repeat: called when a task is sent again.
    """

    def __init__(self, replicas: Replicas, on_repeat: Callable[[], None] = lambda: None) -> None:
        self._replicas = replicas
        self._on_repeat = on_repeat
        self._suspected = threading.Lock()

    @property
    def tasks_at_once(self) -> int:
        """How many tasks all replicas compute at the same time."""
        return self._replicas.tasks_at_once

    def start(self, choice: ModelChoice) -> None:
        """Start the replicas, and load a model."""
        self._replicas.start(choice)

    def stop(self) -> None:
        """End the replicas."""
        self._replicas.stop()

    def compute(self, work: Work, on_progress: OnProgress) -> tuple[str, ...]:
        """Write the result of a task; see :meth:`Computer.compute`."""
        for attempt in range(1, _MOST_ATTEMPTS + 1):
            suspected = attempt > _ATTEMPTS_TOGETHER
            try:
                with self._alone(on_progress) if suspected else nullcontext():
                    return self._receive(work, on_progress)
            except ReplicaEndedError as error:
                _log.warning("%s: attempt %d: %s", work.job.source.name, attempt, error)
            if attempt < _MOST_ATTEMPTS:
                self._on_repeat()
                _pause(min(0.5 * (attempt - 1), _LONGEST_PAUSE), on_progress)
        raise RequestError(
            f"{_MOST_ATTEMPTS} servers ended while they computed this image",
            status=HTTPStatus.INTERNAL_SERVER_ERROR,
            remedy="convert the image to PNG, or send a smaller one",
        )

    @contextmanager
    def _alone(self, on_progress: OnProgress) -> Iterator[None]:
        while not self._suspected.acquire(timeout=_SECONDS_BETWEEN_CHECKS):
            on_progress(0.0)
        try:
            yield
        finally:
            self._suspected.release()

    def _receive(self, work: Work, on_progress: OnProgress) -> tuple[str, ...]:
        """Let a replica compute a task, and write the result."""
        answer = self._replicas.send(work)
        messages: queue.SimpleQueue[Message | Exception] = queue.SimpleQueue()
        threading.Thread(target=_forward, args=(answer, messages), daemon=True).start()
        part = 0.0
        try:
            with atomic_write(work.job.target) as path, path.open("wb") as file:
                while True:
                    message = _next(messages)
                    if isinstance(message, bytes):
                        file.write(message)
                    elif isinstance(message, Done):
                        return message.notes
                    elif isinstance(message, Exception):
                        raise message
                    else:
                        part = part if message is None else message
                        on_progress(part)  # also if nothing has come, as it checks the task
        finally:
            answer.cancel()


def _forward(answer: Answer, messages: queue.SimpleQueue[Message | Exception]) -> None:
    """Put the messages of an answer into a queue, and the error that ends them."""
    try:
        for message in answer:
            messages.put(message)
        messages.put(ReplicaEndedError("the answer is incomplete"))
    except Exception as error:
        messages.put(error)


def _next(messages: queue.SimpleQueue[Message | Exception]) -> Message | Exception | None:
    """The next message; None if none comes for a while."""
    try:
        return messages.get(timeout=_SECONDS_BETWEEN_CHECKS)
    except queue.Empty:
        return None


def _pause(seconds: float, on_progress: OnProgress) -> None:
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        on_progress(0.0)
        time.sleep(min(left, _SECONDS_BETWEEN_CHECKS))

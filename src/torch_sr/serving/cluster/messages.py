"""What is sent to a replica, and what it answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from torch_sr.inference.files.options import BatchOptions
from torch_sr.models.loading import ModelChoice
from torch_sr.serving.errors import RequestError
from torch_sr.serving.tasks import Work


@dataclass(frozen=True)
class Order:
    """A task without its source, which is sent separately.

    Args:
        source, target: names of the files, without folders.
        pixels: of the source.
        options, choice, tta: see :class:`~torch_sr.serving.tasks.Work`.
    """

    source: str
    target: str
    pixels: int
    options: BatchOptions
    choice: ModelChoice
    tta: bool

    @classmethod
    def of_work(cls, work: Work) -> Order:
        """The order for a task."""
        job = work.job
        return cls(
            job.source.name, job.target.name, job.pixels, work.options, work.choice, work.tta
        )


@dataclass(frozen=True)
class Done:
    """The end of a complete result.

    Args:
        notes: what the result could not keep of the source.
    """

    notes: tuple[str, ...]


Message: TypeAlias = float | bytes | Done | RequestError
"""The part that is computed; then parts of the result and the end, or why there is none."""

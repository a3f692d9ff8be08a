"""The interface of a logger: a method for each event of a run.

A logger opens its files when the first stage starts, so that a run that fails earlier leaves no
files.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from torch import Tensor, nn

from torch_sr.errors import LogError
from torch_sr.files import write_failure

Activity = Literal["train", "validate", "store"]


class Logger:
    """Receives the events of a run; subclasses override the methods that they use."""

    def on_start(self, run: Mapping[str, Any]) -> None:
        """A stage starts or resumes.

        Args:
            run: ``run``, ``stage``, ``num_epochs``, ``num_steps`` (the limits), ``total_steps``,
                ``steps_per_epoch``, ``steps_per_validation`` (None without any), ``batch_size``,
                ``epoch`` and ``step`` (done), ``device`` and ``hparams``.
        """

    def on_networks(self, networks: Mapping[str, tuple[nn.Module, Tensor]]) -> None:
        """The networks of a stage, with an input of each, before its first step."""

    def on_step(self, epoch: int, step: int, losses: Mapping[str, Tensor]) -> None:
        """A mini-batch is done; the device may still be computing the losses."""

    def on_epoch(self, epoch: int, step: int, metrics: Mapping[str, float]) -> None:
        """An epoch is done; metrics are named ``train/content_loss``, ``val/PSNR`` and so on."""

    def on_validation(self, epoch: int, step: int, metrics: Mapping[str, float]) -> None:
        """A validation inside an epoch, or of the start (step 0), is done.

        The validation at the end of an epoch is part of :meth:`on_epoch`.
        """

    def on_activity(self, activity: Activity, done: int, total: int) -> None:
        """The trainer starts or continues an activity; counts images while it validates."""

    def on_stop(self) -> None:
        """A signal requests a stop; called immediately, from another thread."""

    def on_images(self, step: int, images: Mapping[str, Tensor]) -> None:
        """Validation images ``(C, H, W)`` in [0, 1], by name."""

    def on_message(self, text: str) -> None:
        """A message for the user, in one line; never before ``on_start``."""

    def close(self) -> None:
        """The run has ended, successfully or not."""


@contextmanager
def reporting_write_errors(path: Path) -> Iterator[None]:
    """Raise a LogError that names the file if it cannot be written."""
    try:
        yield
    except OSError as error:
        raise LogError(f"{path}: cannot write logs: {write_failure(error, path.parent)}") from error

"""The interface of a logger: what happens in a run, as one method each.

A logger opens its files when the first stage starts: a run that fails before leaves no files.
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
    """Receives everything that happens in a run; subclasses override what they use."""

    def on_start(self, run: Mapping[str, Any]) -> None:
        """A stage starts or resumes.

        Args:
            run: ``run``, ``stage``, ``num_epochs``, ``num_steps`` (the limits), ``total_steps``,
                ``steps_per_epoch``, ``steps_per_validation`` (None without one), ``batch_size``,
                ``epoch`` and ``step`` (done), ``device`` and ``hparams``.
        """

    def on_networks(self, networks: Mapping[str, tuple[nn.Module, Tensor]]) -> None:
        """The networks of a stage, with an input of each, before its first step."""

    def on_step(self, epoch: int, step: int, losses: Mapping[str, Tensor]) -> None:
        """A mini-batch is done; the losses may still be on their way on the device."""

    def on_epoch(self, epoch: int, step: int, metrics: Mapping[str, float]) -> None:
        """An epoch is done; metrics are named ``train/content_loss``, ``val/PSNR`` and so on."""

    def on_validation(self, epoch: int, step: int, metrics: Mapping[str, float]) -> None:
        """A validation inside an epoch, or of the start (step 0), is done.

        That at the end of an epoch is part of :meth:`on_epoch`.
        """

    def on_activity(self, activity: Activity, done: int, total: int) -> None:
        """What the trainer does from now on, and how much of it is done (images validated)."""

    def on_stop(self) -> None:
        """A signal asks to stop; called at once, from another thread."""

    def on_images(self, step: int, images: Mapping[str, Tensor]) -> None:
        """Validation images ``(C, H, W)`` in [0, 1], by name."""

    def on_message(self, text: str) -> None:
        """Something a person should know, in one line; never before ``on_start``."""

    def close(self) -> None:
        """The run is over, well or not."""


@contextmanager
def reporting_write_errors(path: Path) -> Iterator[None]:
    """Raise a LogError that names the file when the system cannot write it."""
    try:
        yield
    except OSError as error:
        raise LogError(f"{path}: cannot write logs: {write_failure(error, path.parent)}") from error

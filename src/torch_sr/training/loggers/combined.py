"""Combine the loggers of a run into one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from torch_sr.training.loggers.base import Activity, Logger


class CombinedLogger(Logger):
    """Pass all events on to several loggers, in order.

    Args:
        loggers: the loggers; may be empty.
    """

    def __init__(self, loggers: Sequence[Logger] = ()) -> None:
        self._loggers = loggers

    def on_start(self, run: Mapping[str, Any]) -> None:
        for logger in self._loggers:
            logger.on_start(run)

    def on_networks(self, networks: Mapping[str, tuple[nn.Module, Tensor]]) -> None:
        for logger in self._loggers:
            logger.on_networks(networks)

    def on_step(self, epoch: int, step: int, losses: Mapping[str, Tensor]) -> None:
        for logger in self._loggers:
            logger.on_step(epoch, step, losses)

    def on_epoch(self, epoch: int, step: int, metrics: Mapping[str, float]) -> None:
        for logger in self._loggers:
            logger.on_epoch(epoch, step, metrics)

    def on_validation(self, epoch: int, step: int, metrics: Mapping[str, float]) -> None:
        for logger in self._loggers:
            logger.on_validation(epoch, step, metrics)

    def on_activity(self, activity: Activity, done: int = 0, total: int = 0) -> None:
        for logger in self._loggers:
            logger.on_activity(activity, done, total)

    def on_stop(self) -> None:
        for logger in self._loggers:
            logger.on_stop()

    def on_images(self, step: int, images: Mapping[str, Tensor]) -> None:
        for logger in self._loggers:
            logger.on_images(step, images)

    def on_message(self, text: str) -> None:
        for logger in self._loggers:
            logger.on_message(text)

    def close(self) -> None:
        for logger in self._loggers:
            logger.close()

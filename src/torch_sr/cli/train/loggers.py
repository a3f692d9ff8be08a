"""The loggers of ``torch-sr train``: the terminal, JSON lines, and the others where wanted."""

from __future__ import annotations

import sys
from pathlib import Path

from torch_sr.cli.train.terminal import ConsoleLogger
from torch_sr.errors import TorchSRError
from torch_sr.training.loggers.base import Logger
from torch_sr.training.loggers.json_lines import JSONLinesLogger
from torch_sr.training.loggers.tensorboard import TensorBoardLogger, load_tensorboard
from torch_sr.training.loggers.wandb import WandbLogger, check_wandb
from torch_sr.training.settings import RunSettings


def make_loggers(settings: RunSettings, run: str) -> list[Logger]:
    """The terminal and JSON lines always, the others where they are wanted.

    Raises:
        MissingExtraError: when wandb is wanted and not installed.
        LogError: when wandb is not logged in, or TensorBoard is not installed.
    """
    logs = settings.logs_dir(run)
    loggers: list[Logger] = [ConsoleLogger(), JSONLinesLogger(logs)]
    if settings.tensorboard:
        load_tensorboard()
        loggers.append(TensorBoardLogger(logs))
    if settings.wandb:
        loggers.append(WandbLogger(logs, run))
    elif settings.wandb_if_available:
        loggers += find_wandb(logs, run)
    return loggers


def find_wandb(logs: Path, run: str) -> list[Logger]:
    """A logger for Weights & Biases where it can be used; say whether it is."""
    try:
        mode = check_wandb()
    except TorchSRError as error:
        print(f"note: not logging to Weights & Biases: {error}", file=sys.stderr)
        return []
    print(f"logging to Weights & Biases ({mode})", file=sys.stderr)
    return [WandbLogger(logs, run, optional=True)]

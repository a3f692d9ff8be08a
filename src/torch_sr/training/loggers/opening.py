"""Open the loggers that the settings of a run select."""

from __future__ import annotations

from torch_sr.errors import TorchSRError
from torch_sr.training.loggers.base import Logger
from torch_sr.training.loggers.json_lines import JSONLinesLogger
from torch_sr.training.loggers.tensorboard import TensorBoardLogger, load_tensorboard
from torch_sr.training.loggers.wandb import WandbLogger, check_wandb
from torch_sr.training.settings import RunSettings


def open_loggers(settings: RunSettings, run: str) -> list[Logger]:
    """Open JSON lines, and the other loggers that the settings select.

    Args:
        settings: the settings of the run.
        run: the name of the run.

    Raises:
        MissingExtraError: wandb is selected, but not installed.
        LogError: wandb is not logged in, or TensorBoard is not installed.
    """
    logs = settings.logs_dir(run)
    loggers: list[Logger] = [JSONLinesLogger(logs)]
    if settings.tensorboard:
        load_tensorboard()
        loggers.append(TensorBoardLogger(logs))
    if settings.wandb or (settings.wandb_if_available and _finds_wandb()):
        loggers.append(WandbLogger(logs, run, optional=not settings.wandb))
    return loggers


def _finds_wandb() -> bool:
    try:
        check_wandb()
    except TorchSRError:
        return False
    return True

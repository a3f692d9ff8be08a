"""What the stages of a run share: name, device, configuration, loggers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lightning_fabric import Fabric

from torch_sr.config import Hyperparameters
from torch_sr.training.loggers.base import Logger
from torch_sr.training.settings import RunFiles, RunSettings
from torch_sr.training.stage_base import Stage


@dataclass(frozen=True)
class RunContext:
    """What all stages of a run share.

    Args:
        name: the name of the run, with which its file names start.
        fabric: device, precision and processes.
        config: the hyper-parameters, which are stored in checkpoints and logs.
        settings: everything else that the user chose.
        loggers: the loggers that receive all events.
    """

    name: str
    fabric: Fabric
    config: Hyperparameters
    settings: RunSettings
    loggers: Sequence[Logger] = ()

    def files(self, stage: Stage) -> RunFiles:
        """Where a stage stores its checkpoints and models."""
        folder, scale_factor = self.settings.models_dir, self.config.scale_factor
        return RunFiles(folder, self.name, stage.label, scale_factor)

"""What the stages of a run share: name, device, configuration, loggers."""

from __future__ import annotations

from dataclasses import dataclass, field

from lightning_fabric import Fabric

from torch_sr.config import Hyperparameters
from torch_sr.training.loggers.combined import CombinedLogger
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
        loggers: receive all events.
    """

    name: str
    fabric: Fabric
    config: Hyperparameters
    settings: RunSettings
    loggers: CombinedLogger = field(default_factory=CombinedLogger)

    def files(self, stage: Stage) -> RunFiles:
        """Where a stage stores its checkpoints and models."""
        folder, scale_factor = self.settings.models_dir, self.config.scale_factor
        return RunFiles(folder, self.name, stage.label, scale_factor)

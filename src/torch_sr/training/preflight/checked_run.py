"""What the checks of a run have opened, which later checks need."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from lightning_fabric import Fabric

from torch_sr.config import Hyperparameters
from torch_sr.data.crops.random_crops import RandomCrops
from torch_sr.data.image_pairs import ImagePairs
from torch_sr.losses import PerceptualLoss
from torch_sr.training.context import RunContext
from torch_sr.training.runs.starting_point import StartingPoint
from torch_sr.training.settings import RunSettings


@dataclass(frozen=True)
class CheckedData:
    """The data of a stage, none of them decoded, and the length of the stage."""

    crops: RandomCrops
    validation: ImagePairs
    steps_per_epoch: int
    total_steps: int


@dataclass
class CheckedRun:
    """A run that is checked; a field is None or empty until a check has opened it.

    Args:
        config: the hyper-parameters.
        settings: everything else.
    """

    config: Hyperparameters
    settings: RunSettings
    start: StartingPoint | None = None
    fabric: Fabric | None = None
    base_memory: int = 0
    """Bytes used on the device before any network was built."""
    data: dict[str, CheckedData] = field(default_factory=dict)
    """By stage."""
    perceptual: PerceptualLoss | None = None

    def __post_init__(self) -> None:
        self.stages = list(self.config.stages)
        """The stages that will run, in order."""

    @property
    def context(self) -> RunContext:
        """The context of the networks, on the device that was opened.

        They are not compiled, which is slow and hardly changes the memory.
        """
        assert self.fabric is not None
        settings = replace(self.settings, compile=False, accumulate=1)
        return RunContext("check", self.fabric, self.config, settings)

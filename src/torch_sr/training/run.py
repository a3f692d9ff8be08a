"""From a configuration and a run's settings to a trained model: puts the parts together."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor
from torch.utils.data import DataLoader

from torch_sr.config import Hyperparameters
from torch_sr.data.cache import Progress as CacheProgress
from torch_sr.data.loaders import EpochSampler, ImagePairs, training_loader
from torch_sr.errors import ConfigError
from torch_sr.losses import PerceptualLoss
from torch_sr.models.rrdb import RRDBNet
from torch_sr.training.building import (
    build_generator,
    build_perceptual_loss,
    build_stage,
    lay_out,
    open_crops,
    open_validation,
)
from torch_sr.training.export import run_notes
from torch_sr.training.launch import launch, leave_in_order
from torch_sr.training.loggers import Logger
from torch_sr.training.planning import describe_no_validation, remark_on_length
from torch_sr.training.resume import StartingPoint, read_start
from torch_sr.training.settings import RunFiles, RunSettings, StageLimits
from torch_sr.training.stages import GANStage, PSNRStage
from torch_sr.training.trainer import Trainer
from torch_sr.training.watch import Watch

_WORKERS = 4  # they cut crops far faster than any GPU trains on them


@dataclass(frozen=True)
class TrainingResult:
    """How a training ended: ``finished`` is False where a signal stopped it before its limits."""

    finished: bool
    checkpoint: Path
    model: Path | None


def train(
    config: Hyperparameters,
    settings: RunSettings,
    *,
    run: str,
    start: StartingPoint | None = None,
    loggers: Sequence[Logger] = (),
    cache_progress: CacheProgress | None = None,
) -> TrainingResult:
    """Run the stages of a configuration: PSNR-driven, then GAN-driven (description, section 8).

    All that can fail is tried before the first step: data, the VGG weights, what to go on from.

    Args:
        config: the hyper-parameters; a stage with ``num_epoch`` 0 is left out.
        settings: everything else. A checkpoint in ``resume`` is gone on with. A model starts the
            GAN stage, or the pre-training where there is no GAN stage.
        run: a name, the first part of all files of the run; see :meth:`StartingPoint.run_name`.
        start: what ``settings.resume`` holds, where it has been read already.
        loggers: told of all that happens; closed by the caller.
        cache_progress: called while images are decoded for the first time.

    Raises:
        ConfigError: when both stages are left out.
        CheckpointError: when the checkpoint to go on from does not fit, or none can be written.
        DataError, ImageError: when the data are missing or unfit.
        DeviceError: when device or precision is not to be had.
        ModelError: when the VGG weights are not to be had, or a model cannot be read.
        TrainingError: when the training goes wrong, see :class:`~torch_sr.config.WatchConfig`.
    """
    with leave_in_order():
        start = start or read_start(
            settings.resume, stage=settings.start_stage, partial=settings.partial
        )
        return _Run(config, settings, run, start, loggers, cache_progress).train()


@dataclass(frozen=True)
class _StageData:
    """What a stage trains and is validated on, and for how long."""

    loader: DataLoader[tuple[Tensor, Tensor]]
    sampler: EpochSampler
    validation: ImagePairs
    notes: dict[str, Any]
    limits: StageLimits

    @property
    def total_steps(self) -> int:
        steps = self.limits.num_epochs * self.sampler.batches
        return steps if self.limits.num_steps is None else min(steps, self.limits.num_steps)


class _Run:
    """The parts of one run, opened in the constructor, used by :meth:`train`."""

    def __init__(
        self,
        config: Hyperparameters,
        settings: RunSettings,
        run: str,
        start: StartingPoint,
        loggers: Sequence[Logger],
        cache_progress: CacheProgress | None,
    ) -> None:
        if not config.stages:
            raise ConfigError("pretraining.num_epoch and training.num_epoch are both 0; raise one")
        self.config = config
        self.settings = settings
        self.start = start
        self.changes = start.check(config)
        self.remarks: list[str] = []
        self.fabric = launch(settings)
        self.run = self.fabric.broadcast(run)  # a name made of the time differs by process
        self.loggers = loggers if self.fabric.is_global_zero else ()
        with self.fabric.rank_zero_first():  # one decodes or fetches, the others find it done
            stages = start.stages(config)
            self.data = {name: self._open_data(name, cache_progress) for name in stages}
            self.perceptual = self._build_perceptual() if config.training.num_epoch else None

    def train(self) -> TrainingResult:
        generator = lay_out(build_generator(self.config), self.settings)
        self.remarks = [*self.start.describe(self.config), *self.start.fill(generator)]
        result = None
        if PSNRStage.name in self.data:
            trainer = self._trainer(PSNRStage.name, generator)
            result = self._fit(trainer)
            if not result.finished:
                return result
            generator.load_state_dict(trainer.stage.evaluated.state_dict())
        if self.config.training.num_epoch:
            result = self._fit(self._trainer(GANStage.name, generator))
        assert result is not None
        return result

    def _trainer(self, name: str, generator: RRDBNet) -> Trainer:
        data = self.data[name]
        stage = build_stage(
            name,
            self.fabric,
            self.config,
            self.settings,
            generator=generator,
            perceptual=self.perceptual,
            total_steps=data.total_steps,
        )
        return Trainer(
            fabric=self.fabric,
            stage=stage,
            loader=data.loader,
            sampler=data.sampler,
            validation=data.validation,
            watch=Watch(self.config.watch),
            limits=data.limits,
            intervals=self.settings.intervals,
            files=RunFiles(
                self.settings.models_dir, self.run, stage.label, self.config.scale_factor
            ),
            loggers=self.loggers,
            hparams=self.config.to_dict(),
            notes=data.notes,
        )

    def _fit(self, trainer: Trainer) -> TrainingResult:
        checkpoint, remarks = self.start.checkpoint, [*self.remarks, *self._remarks_on(trainer)]
        self.remarks = []
        if checkpoint is not None and checkpoint["stage"] == trainer.stage.name:
            trainer.load_state_dict(checkpoint)
            remarks = [f"changed since the checkpoint: {change}" for change in self.changes]
        finished = trainer.fit(remarks)
        model = trainer.model_file if finished else None
        return TrainingResult(finished, trainer.checkpoint_file, model)

    def _remarks_on(self, trainer: Trainer) -> list[str]:
        """What to know about a stage before it starts."""
        name, remarks = trainer.stage.name, []
        if not trainer.validation:
            remarks.append(describe_no_validation(name))
        fresh = self.start.path is None and name == next(iter(self.data))
        if fresh and (remark := remark_on_length(self.config, self.data[name].total_steps)):
            remarks.append(remark)
        return remarks

    def _open_data(self, name: str, progress: CacheProgress | None) -> _StageData:
        crops = open_crops(name, self.config, self.settings, progress)
        validation = open_validation(name, self.config, self.settings, progress)
        section = self.config.stages[name]
        loader, sampler = training_loader(
            crops,
            self.config.batch_size,
            self._count_workers(),
            self.fabric.world_size,
            self.fabric.global_rank,
        )
        limits = StageLimits(section.num_epoch, section.num_steps)
        notes = run_notes(crops.pairs, self.settings.licence)
        return _StageData(loader, sampler, validation, notes, limits)

    def _count_workers(self) -> int:
        if self.settings.num_workers is not None:
            return self.settings.num_workers
        return 0 if self.fabric.device.type == "cpu" else min(_WORKERS, os.cpu_count() or 1)

    def _build_perceptual(self) -> PerceptualLoss:
        loss = build_perceptual_loss(self.config)
        return lay_out(loss, self.settings).to(self.fabric.device)

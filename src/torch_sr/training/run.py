"""From a configuration and a run's settings to a trained model: puts the parts together."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.utils.data import DataLoader

from torch_sr.aliases import Progress
from torch_sr.config import Hyperparameters
from torch_sr.data.crops.random_crops import training_loader
from torch_sr.data.crops.sampler import EpochSampler
from torch_sr.errors import CheckpointError, ConfigError
from torch_sr.evaluation.metric_table import MetricFunction
from torch_sr.losses import PerceptualLoss
from torch_sr.networks.rrdb import RRDBNet
from torch_sr.training.building import (
    build_generator,
    build_perceptual_loss,
    build_stage,
    lay_out,
    open_crops,
    open_validation,
)
from torch_sr.training.divergence import DivergenceDetector
from torch_sr.training.launch import launch, leave_in_order
from torch_sr.training.loggers.base import Logger
from torch_sr.training.preflight.notes import (
    describe_long_warmup,
    describe_no_validation,
    describe_small_batch,
    remark_on_length,
)
from torch_sr.training.runs.export import run_notes
from torch_sr.training.runs.result import StageResult, TrainingResult
from torch_sr.training.runs.starting_point import StartingPoint, read_start
from torch_sr.training.settings import RunFiles, RunSettings, StageLimits
from torch_sr.training.stages import GANStage, PSNRStage
from torch_sr.training.trainer import Trainer
from torch_sr.training.validation import (
    PERCEPTUAL_LOSS,
    Validation,
    build_extra_metrics,
    check_extra_metrics,
)

_NOT_MEASURED = (
    "val/perceptual_loss is not measured, as this stage does not learn from it: "
    "--val-metrics perceptual_loss measures it too"
)
_WORKERS = 4  # they cut crops far faster than any GPU trains on them


def train(
    config: Hyperparameters,
    settings: RunSettings,
    *,
    run: str,
    start: StartingPoint | None = None,
    loggers: Sequence[Logger] = (),
    cache_progress: Progress | None = None,
) -> TrainingResult:
    """Run the stages of a configuration: PSNR-driven, then GAN-driven (description, section 8).

    All that can fail is tried before the first step: data, the weights of the perceptual loss, what
    to start from.

    Args:
        config: the hyper-parameters; a stage with ``num_epoch`` 0 is left out.
        settings: everything else. A checkpoint in ``resume`` is resumed. A model starts the GAN
            stage, or the pre-training where there is no GAN stage.
        run: a name, the first part of all files of the run; see :meth:`StartingPoint.run_name`.
        start: what ``settings.resume`` holds, where it has been read already.
        loggers: receive all that happens; closed by the caller.
        cache_progress: called while images are decoded for the first time.

    Raises:
        ConfigError: when both stages are left out, or a validation metric is unknown.
        CheckpointError: when the checkpoint to go on from does not fit, or none can be written.
        DataError, ImageError: when the data are missing or unfit.
        DeviceError: when device or precision is not available.
        LogError: when the logs cannot be written.
        ModelError: when the weights of the perceptual loss are not available, or a model cannot be
            read.
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
    validation: Validation
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
        cache_progress: Progress | None,
    ) -> None:
        if not config.stages:
            raise ConfigError("pretraining.num_epoch and training.num_epoch are both 0; raise one")
        check_extra_metrics(settings.val_metrics)
        self.config = config
        self.settings = settings
        self.start = start
        self.changes = start.check(config)
        self.remarks: list[str] = []
        self.fabric = launch(settings)
        self.run = self.fabric.broadcast(run)  # a name made of the time differs by process
        self.loggers = loggers if self.fabric.is_global_zero else ()
        self._check_same_start()
        with self.fabric.rank_zero_first():  # one decodes or fetches, the others find it done
            self.extra = self._build_extra_metrics()
            stages = start.stages(config)
            self.data = {name: self._open_data(name, cache_progress) for name in stages}
            self.perceptual = self._build_perceptual() if self._measures_perceptual() else None

    def train(self) -> TrainingResult:
        generator = lay_out(build_generator(self.config), self.settings)
        self.remarks = [*self.start.describe(self.config), *self.start.fill(generator)]
        results: list[StageResult] = []
        trained = self.start.model is not None
        if PSNRStage.name in self.data:
            trainer = self._trainer(PSNRStage.name, generator, trained)
            results.append(self._fit(trainer))
            if not results[-1].finished:
                return TrainingResult(tuple(results))
            generator.load_state_dict(trainer.stage.evaluated.state_dict())
            trained = True
        if self.config.training.num_epoch:
            results.append(self._fit(self._trainer(GANStage.name, generator, trained)))
        return TrainingResult(tuple(results))

    def _check_same_start(self) -> None:
        """All processes have to resume from the same checkpoint, which each has read by itself."""
        checkpoint = self.start.checkpoint
        mine: Any = None
        if checkpoint is not None:
            mine = (checkpoint["run"], checkpoint["stage"], checkpoint["progress"].get("step"))
        first: Any = self.fabric.broadcast(mine)
        if mine != first:
            raise CheckpointError(
                f"process {self.fabric.global_rank} resumes from {mine}, the first one from "
                f"{first}: give all machines the same --out or checkpoint"
            )

    def _measures_perceptual(self) -> bool:
        learnt = any(map(self.config.needs_features, self.data))
        return learnt or PERCEPTUAL_LOSS in self.settings.val_metrics

    def _build_extra_metrics(self) -> dict[str, MetricFunction]:
        """On the first process, which alone validates."""
        if not self.fabric.is_global_zero:
            return {}
        return build_extra_metrics(
            self.settings.val_metrics, self.config.scale_factor, str(self.fabric.device)
        )

    def _trainer(self, name: str, generator: RRDBNet, trained: bool) -> Trainer:
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
            watch=DivergenceDetector(self.config.watch),
            limits=data.limits,
            intervals=self.settings.intervals,
            files=RunFiles(
                self.settings.models_dir, self.run, stage.label, self.config.scale_factor
            ),
            loggers=self.loggers,
            hparams=self.config.to_dict(),
            notes=data.notes,
            measure_start=trained,
        )

    def _fit(self, trainer: Trainer) -> StageResult:
        checkpoint, remarks = self.start.checkpoint, [*self.remarks, *self._remarks_on(trainer)]
        self.remarks = []
        if checkpoint is not None and checkpoint["stage"] == trainer.stage.name:
            self._restore(trainer, checkpoint)
            remarks = [f"changed since the checkpoint: {change}" for change in self.changes]
        return trainer.fit(remarks)

    def _restore(self, trainer: Trainer, checkpoint: Mapping[str, Any]) -> None:
        try:
            trainer.load_state_dict(checkpoint)
        except (AttributeError, KeyError, RuntimeError, TypeError, ValueError) as error:
            reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
            raise CheckpointError(
                f"{self.start.path}: use an earlier checkpoint, or start a new run from a model: "
                f"what this one holds cannot be restored ({reason})"
            ) from error

    def _remarks_on(self, trainer: Trainer) -> list[str]:
        """What to know about a stage before it starts."""
        name = trainer.stage.name
        steps = self.data[name].total_steps
        remarks = [
            describe_no_validation(name) if not trainer.validation else None,
            _NOT_MEASURED if trainer.validation and self.perceptual is None else None,
            describe_small_batch(self.config, name, trainer.sampler.batch_size),
            describe_long_warmup(self.config, name, steps),
        ]
        if self.start.path is None and name == next(iter(self.data)):
            remarks.append(remark_on_length(self.config, steps))
        return [remark for remark in remarks if remark]

    def _open_data(self, name: str, progress: Progress | None) -> _StageData:
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
        notes = run_notes(crops.pairs, self.settings.license)
        measured = Validation(validation, self.extra)
        return _StageData(loader, sampler, measured, notes, limits)

    def _count_workers(self) -> int:
        if self.settings.num_workers is not None:
            return self.settings.num_workers
        return 0 if self.fabric.device.type == "cpu" else min(_WORKERS, os.cpu_count() or 1)

    def _build_perceptual(self) -> PerceptualLoss:
        loss = build_perceptual_loss(self.config)
        return lay_out(loss, self.settings).to(self.fabric.device)

"""From a configuration and a run's settings to a trained model: puts the parts together."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from inspect import signature
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies.ddp import DDPStrategy
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader

from torch_sr.config import Hyperparameters, PretrainingConfig, TrainingConfig
from torch_sr.data.cache import Progress as CacheProgress
from torch_sr.data.datasets import Purpose
from torch_sr.data.loaders import CachedPairs, EpochSampler, RandomCrops, training_loader
from torch_sr.data.open import open_pairs
from torch_sr.devices import FABRIC_PRECISIONS, choose_device, choose_precision
from torch_sr.errors import CheckpointError, ConfigError
from torch_sr.losses import PerceptualLoss
from torch_sr.models.discriminators import UNetDiscriminator, VGGDiscriminator
from torch_sr.models.loading import LoadedGenerator, load_generator
from torch_sr.models.rrdb import RRDBNet
from torch_sr.training.checkpoints import load_newest
from torch_sr.training.loggers import Logger
from torch_sr.training.stages import GANStage, PSNRStage, Stage
from torch_sr.training.trainer import Intervals, RunFiles, StageLimits, Trainer

StageConfig = PretrainingConfig | TrainingConfig
# PyTorch has renamed the option and warns of the old name.
_SYNC_BUFFERS = next(
    name
    for name in ("forward_sync_buffers", "broadcast_buffers")
    if name in signature(DistributedDataParallel).parameters
)


@dataclass(frozen=True)
class RunSettings:
    """The settings of one run: everything that is not a hyper-parameter.

    Args:
        data_root: where the data sets lie.
        out_dir: parent of ``saved_models/`` and ``logs/``.
        resume: a checkpoint to go on from, or a model to start from.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        precision: ``fp32``, ``bf16`` or ``fp16``; mixed, with weights in fp32.
        num_workers: processes that cut crops; 0 does it in the training process.
        intervals: how often to validate and store.
        cache_dir: where decoded images are kept.
    """

    data_root: Path = Path("data")
    out_dir: Path = Path()
    resume: Path | None = None
    device: str = "auto"
    precision: str = "fp32"
    num_workers: int = 0
    intervals: Intervals = field(default_factory=Intervals)
    cache_dir: Path | None = None

    @property
    def models_dir(self) -> Path:
        """Where checkpoints and models are stored."""
        return self.out_dir / "saved_models"

    def logs_dir(self, run: str) -> Path:
        """Where the logs of a run are stored."""
        return self.out_dir / "logs" / run


@dataclass(frozen=True)
class TrainingResult:
    """How a training ended: ``finished`` is False where a signal stopped it before its limits."""

    finished: bool
    checkpoint: Path
    model: Path | None


def new_run_name(models_dir: Path) -> str:
    """A name for a run: the time it started, in seconds; no other run there has it."""
    name = int(time.time())
    while any(models_dir.glob(f"{name}_*")):
        name += 1
    return str(name)


def is_first_process() -> bool:
    """Whether this is the process that logs and prints: the only one, or torchrun's rank 0."""
    return os.environ.get("RANK", "0") == "0"


def run_name(settings: RunSettings) -> str:
    """The name of the run whose checkpoint is gone on with, or a new one."""
    state = load_newest(settings.resume) if settings.resume is not None else None
    return new_run_name(settings.models_dir) if state is None else str(state["run"])


def train(
    config: Hyperparameters,
    settings: RunSettings,
    *,
    run: str,
    loggers: Sequence[Logger] = (),
    cache_progress: CacheProgress | None = None,
) -> TrainingResult:
    """Run the stages of a configuration: PSNR-driven, then GAN-driven (description, section 8).

    All that can fail is tried before the first step: data, the VGG weights, what to go on from.

    Args:
        config: the hyper-parameters; a stage with ``num_epoch`` 0 is left out.
        settings: everything else. A checkpoint in ``resume`` is gone on with. A model starts the
            GAN stage, or the pre-training where there is no GAN stage.
        run: a name, the first part of all files of the run; see :func:`run_name`.
        loggers: told of all that happens; closed by the caller.
        cache_progress: called while images are decoded for the first time.

    Raises:
        ConfigError: when both stages are left out.
        CheckpointError: when the checkpoint to go on from does not fit, or none can be written.
        DataError, ImageError: when the data are missing or unfit.
        DeviceError: when device or precision is not to be had.
        ModelError: when the VGG weights are not to be had, or a model does not fit.
    """
    joined_before = torch.distributed.is_initialized()
    try:
        return _Run(config, settings, run, loggers, cache_progress).train()
    finally:
        # Processes that end without taking leave of each other now and then abort.
        if torch.distributed.is_initialized() and not joined_before:
            torch.distributed.destroy_process_group()


@dataclass(frozen=True)
class _StageData:
    """What a stage trains and is validated on, and for how long."""

    loader: DataLoader[tuple[Tensor, Tensor]]
    sampler: EpochSampler
    validation: CachedPairs
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
        loggers: Sequence[Logger],
        cache_progress: CacheProgress | None,
    ) -> None:
        self.config = config
        self.settings = settings
        self.fabric = _fabric(settings)
        self.run = self.fabric.broadcast(run)  # a name made of the time differs by process
        self.loggers = loggers if self.fabric.is_global_zero else ()
        self.checkpoint, self.model = _read_start(settings.resume, config)
        stages = [stage for stage in (config.pretraining, config.training) if stage.num_epoch]
        if not stages:
            raise ConfigError("pretraining.num_epoch and training.num_epoch are both 0; raise one")
        with self.fabric.rank_zero_first():  # one decodes or fetches, the others find it done
            self.data = {type(stage): self._open_data(stage, cache_progress) for stage in stages}
            self.perceptual = self._build_perceptual() if config.training.num_epoch else None

    def train(self) -> TrainingResult:
        torch.manual_seed(self.config.seed)
        # Convolutions run a quarter faster on channels-last weights, on CPUs and tensor cores.
        generator = RRDBNet(**self.config.generator_kwargs).to(memory_format=torch.channels_last)
        if self.model is not None:
            _take_over(generator, self.model)
        result = None
        if self._pretrains():
            trainer = self._pretraining(generator)
            result = self._fit(trainer)
            if not result.finished:
                return result
            generator.load_state_dict(trainer.stage.evaluated.state_dict())
        if self.config.training.num_epoch:
            result = self._fit(self._gan_training(generator))
        assert result is not None
        return result

    def _pretrains(self) -> bool:
        if not self.config.pretraining.num_epoch:
            return False
        if self.checkpoint is not None:
            return bool(self.checkpoint["stage"] == PSNRStage.name)
        return self.model is None or not self.config.training.num_epoch

    def _pretraining(self, generator: RRDBNet) -> Trainer:
        section = self.config.pretraining
        data = self.data[type(section)]
        stage = PSNRStage(
            self.fabric,
            generator,
            section,
            self.config.content_loss.loss_f,
            data.total_steps,
            self.perceptual,
        )
        return self._trainer(stage, section, data)

    def _gan_training(self, generator: RRDBNet) -> Trainer:
        section = self.config.training
        assert self.perceptual is not None
        torch.manual_seed(self.config.seed + 1)  # the same networks, with or without stage one
        discriminator = self._build_discriminator().to(memory_format=torch.channels_last)
        stage = GANStage(
            self.fabric,
            generator,
            discriminator,
            self.perceptual,
            section,
            self.config.content_loss.loss_f,
        )
        return self._trainer(stage, section, self.data[type(section)])

    def _trainer(self, stage: Stage, section: StageConfig, data: _StageData) -> Trainer:
        return Trainer(
            fabric=self.fabric,
            stage=stage,
            loader=data.loader,
            sampler=data.sampler,
            validation=data.validation,
            limits=data.limits,
            intervals=self.settings.intervals,
            files=RunFiles(
                self.settings.models_dir, self.run, stage.label, self.config.scale_factor
            ),
            loggers=self.loggers,
            hparams=self.config.to_dict(),
            datasets=section.train_datasets,
        )

    def _fit(self, trainer: Trainer) -> TrainingResult:
        if self.checkpoint is not None and self.checkpoint["stage"] == trainer.stage.name:
            trainer.load_state_dict(self.checkpoint)
        finished = trainer.fit()
        model = trainer.model_file if finished else None
        return TrainingResult(finished, trainer.checkpoint_file, model)

    def _open_data(self, section: StageConfig, progress: CacheProgress | None) -> _StageData:
        def opened(specs: Sequence[str], purpose: Purpose) -> CachedPairs:
            return open_pairs(
                specs,
                purpose=purpose,
                data_root=self.settings.data_root,
                scale_factor=self.config.scale_factor,
                channels=self.config.img_channels,
                cache_dir=self.settings.cache_dir,
                progress=progress,
            )

        crops = RandomCrops(
            opened(section.train_datasets, "train"),
            section.cr_patch_size,
            self.config.seed,
            **section.augmentation.model_dump(),
        )
        loader, sampler = training_loader(
            crops,
            self.config.batch_size,
            self.settings.num_workers,
            self.fabric.world_size,
            self.fabric.global_rank,
        )
        limits = StageLimits(section.num_epoch, section.num_steps)
        return _StageData(loader, sampler, opened(section.val_datasets, "val"), limits)

    def _build_perceptual(self) -> PerceptualLoss:
        loss = PerceptualLoss(**self.config.perceptual_loss.model_dump())
        return loss.to(self.fabric.device)

    def _build_discriminator(self) -> nn.Module:
        sizes = self.config.discriminator
        if sizes.kind == "unet":
            return UNetDiscriminator(self.config.img_channels, sizes.unet_channels)
        crop = self.config.training.cr_patch_size
        assert crop is not None  # the configuration has seen to it
        return VGGDiscriminator(crop, self.config.img_channels, sizes.vgg_blk_ch, sizes.fc_features)


def _read_start(
    path: Path | None, config: Hyperparameters
) -> tuple[dict[str, Any] | None, LoadedGenerator | None]:
    """Read what to go on from: a checkpoint of ours, or else a model of any kind."""
    if path is None:
        return None, None
    state = load_newest(path)
    if state is None:
        return None, load_generator(path)
    wanted, found = config.to_dict()["generator"], state["hparams"]["generator"]
    if found != wanted:
        raise CheckpointError(
            f"{path}: its generator is {found}, the configuration's is {wanted}; use the "
            "configuration it was trained with"
        )
    return state, None


def _take_over(generator: nn.Module, model: LoadedGenerator) -> None:
    try:
        generator.load_state_dict(model.network.state_dict())
    except RuntimeError as error:
        raise CheckpointError(
            f"{model.info.path}: holds a {model.info.architecture} with {model.info.hparams}, "
            "which is not the generator of the configuration"
        ) from error


def _fabric(settings: RunSettings) -> Fabric:
    """One process, or one of those that torchrun has started, which it tells by its variables."""
    device = choose_device(settings.device)
    precision = choose_precision(settings.precision, device)
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    here = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    # Buffers are statistics of batch normalisation, which need not be alike everywhere, and may
    # not change between the two passes of a discriminator's step.
    alike: dict[str, Any] = {_SYNC_BUFFERS: False}
    fabric = Fabric(
        accelerator=device.type,
        devices=here if device.index is None else [device.index],  # cuda:1 is one, and that one
        num_nodes=processes // here,
        strategy=DDPStrategy(**alike) if processes > 1 else "auto",
        precision=FABRIC_PRECISIONS[precision],  # type: ignore[arg-type]
    )
    fabric.launch()
    return fabric

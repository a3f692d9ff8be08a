"""Check what would stop a training: ``torch-sr train --check``."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import torch
from lightning_fabric import Fabric

from torch_sr.config import Hyperparameters
from torch_sr.data.cache import default_cache_dir
from torch_sr.data.crops.random_crops import RandomCrops
from torch_sr.data.image_pairs import ImagePairs
from torch_sr.devices import free_memory
from torch_sr.errors import ConfigError, DataError, DeviceError, TorchSRError
from torch_sr.evaluation.tiled_network import TiledNetwork
from torch_sr.losses import PerceptualLoss
from torch_sr.training.building import (
    build_generator,
    build_perceptual_loss,
    build_stage,
    prepare_network,
)
from torch_sr.training.context import RunContext
from torch_sr.training.launch import launch, leave_in_order
from torch_sr.training.notes import notes_on_stage
from torch_sr.training.preflight.crop_sheet import DEGRADATIONS, draw_crops
from torch_sr.training.preflight.degradation import describe_degradation, note_on_degradation
from torch_sr.training.preflight.disk import check_room, stored_bytes
from torch_sr.training.preflight.memory import (
    StepMemory,
    measure_step_memory,
    used_memory,
)
from torch_sr.training.preflight.options import (
    StageLength,
    check_logs,
    check_options,
    note_on_options,
)
from torch_sr.training.runs.starting_point import StartingPoint, read_start
from torch_sr.training.settings import RunSettings
from torch_sr.training.stage_data import open_crops, open_validation
from torch_sr.training.validation import EXTRA_METRICS, PERCEPTUAL_LOSS, build_extra_metrics

_BYTES = 4  # of a weight
_NETWORK_WEIGHTS = {"vgg": "VGG weights", "efficientnet_lite0": "EfficientNet weights"}


@dataclass(frozen=True)
class CheckResult:
    """The outcome of a check, in one line."""

    subject: str
    passed: bool
    text: str
    note: bool = False
    """Whether it reports a probable mistake that is not a failure."""

    @property
    def verdict(self) -> str:
        """``ok``, ``note`` or ``FAIL``."""
        return "FAIL" if not self.passed else "note" if self.note else "ok"


def check_training(config: Hyperparameters, settings: RunSettings) -> Iterator[CheckResult]:
    """Check everything that a training needs, without training.

    Data sets are opened without decoding them, except for a few images, whose crops are drawn as
    the networks will get them: LR enlarged next to HR, and if crops are degraded, rows of several
    degradations of one crop. They are written to ``settings.out_dir`` as
    ``check_pretraining.png`` and ``check_training.png``.

    Yields:
        the results, each as soon as its check is done.
    """
    with leave_in_order():
        yield from _Check(config, settings).run()


class _Check:
    """Runs the checks in order; later checks need what earlier ones opened."""

    def __init__(self, config: Hyperparameters, settings: RunSettings) -> None:
        self.config = config
        self.settings = settings
        self.data: dict[str, tuple[RandomCrops, ImagePairs]] = {}
        self.fabric: Fabric | None = None
        self.perceptual: PerceptualLoss | None = None
        self.base_memory = 0
        self.stages = list(config.stages)
        self.from_scratch = False
        self.start: StartingPoint | None = None
        self.lengths: dict[str, StageLength] = {}

    def run(self) -> Iterator[CheckResult]:
        yield self._try("start", self._check_start)
        yield self._try("options", self._check_options)
        yield self._try("logs", partial(check_logs, self.settings))
        yield self._try("device", self._check_device)
        for name in self.stages:
            yield self._try(f"{name} data", partial(self._check_data, name))
        if self.config.degradation.probability:
            yield from self._check_degradations()
        for note in note_on_options(self.config, self.settings, self.lengths):
            yield CheckResult("options", True, note, note=True)
        if self.data:
            yield self._try("disk", self._check_disk)
        extra = [name for name in self.settings.val_metrics if name in EXTRA_METRICS]
        for name in extra:
            if name != PERCEPTUAL_LOSS:
                yield self._try(f"metric {name}", partial(self._check_metric, name))
        if any(map(self.config.needs_features, self.stages)) or PERCEPTUAL_LOSS in extra:
            subject = _NETWORK_WEIGHTS[self.config.perceptual_loss.backbone]
            yield self._try(subject, self._check_features)
        for name in self.stages:
            has_features = self.perceptual is not None or not self.config.needs_features(name)
            if self.fabric is not None and has_features:
                yield self._try(f"{name} memory", partial(self._check_memory, name))
        for name, (_, validation) in self.data.items():
            if self.fabric is not None and len(validation):
                yield self._try(f"{name} validation", partial(self._check_validation, name))
        for name in self.data:
            yield self._try(f"{name} crops", partial(self._draw, name))

    def _try(self, subject: str, check: Callable[[], str]) -> CheckResult:
        try:
            return CheckResult(subject, True, check())
        except TorchSRError as error:
            return CheckResult(subject, False, " ".join(str(error).split()))

    def _check_start(self) -> str:
        if not self.config.stages:
            raise ConfigError("pretraining.num_epoch and training.num_epoch are both 0; raise one")
        settings = self.settings
        start = read_start(settings.resume, stage=settings.start_stage, partial=settings.partial)
        self.start = start
        changes = start.check(self.config)
        self.stages = start.stages(self.config)
        if start.path is None:
            self.from_scratch = True
            return "; ".join(["from scratch", *start.describe(self.config)])
        taken = start.fill(build_generator(self.config))
        if start.model is not None:
            return "; ".join([*start.describe(self.config), *taken])
        changed = f"; changed since: {', '.join(changes)}" if changes else ""
        return f"from {start.path}, with the stage {start.stage}{changed}"

    def _check_options(self) -> str:
        return check_options(self.settings, self.start or StartingPoint())

    def _check_metric(self, name: str) -> str:
        build_extra_metrics([name], self.config.scale_factor, "cpu")
        return "can be measured"

    def _check_device(self) -> str:
        self.fabric = launch(self.settings)
        self.base_memory = used_memory(self.fabric.device)
        return f"{self.fabric.world_size} x {self.fabric.device}, {self.settings.precision}"

    def _check_data(self, name: str) -> str:
        crops = open_crops(name, self.config, self.settings, decode=False)
        validation = open_validation(name, self.config, self.settings, decode=False)
        processes = 1 if self.fabric is None else self.fabric.world_size
        if len(crops) < processes:
            raise DataError(f"{len(crops)} training images are too few for {processes} processes")
        self.data[name] = crops, validation
        section = self.config.stages[name]
        size = section.cr_patch_size
        what = "whole images" if size is None else f"crops of {size[1]}x{size[0]}"
        steps = max(1, len(crops) // (self.config.batch_size * processes))
        validated = f"{len(validation)} to validate on" if validation else "no validation"
        text = (
            f"{len(crops)} images to train on, {what}, {steps} steps per epoch; {validated}; all "
            "paired, none too small"
        )
        total = int(min(section.num_epoch * steps, section.num_steps or math.inf))
        self.lengths[name] = StageLength(steps, total, len(validation))
        batch = min(self.config.batch_size, len(crops) // processes)
        from_scratch = self.from_scratch and name == self.stages[0]
        notes = notes_on_stage(
            self.config, name, batch_size=batch, steps=total, from_scratch=from_scratch
        )
        return "; ".join([text, *notes])

    def _check_degradations(self) -> Iterator[CheckResult]:
        for name, (crops, validation) in self.data.items():
            subject, pairs = f"{name} degradation", crops.pairs
            if pairs.num_made:
                yield CheckResult(
                    subject, True, describe_degradation(self.config.degradation, pairs)
                )
            note = note_on_degradation(pairs, validation)
            if note is not None:
                yield CheckResult(subject, True, note, note=True)

    def _check_disk(self) -> str:
        cache_dir = self.settings.cache_dir or default_cache_dir()
        # Both stages often have the same data, which are cached only once.
        cache = max(
            sum(pairs.uncached_bytes for pairs in (crops.pairs, validation))
            for crops, validation in self.data.values()
        )
        return "; ".join(
            check_room(folder, what, need)
            for folder, what, need in (
                (cache_dir, "decoded images", cache),
                (self.settings.models_dir, "checkpoints and models", self._stored_bytes()),
            )
        )

    def _stored_bytes(self) -> int:
        """Size of the checkpoints and models that a run stores, including models of epochs."""
        interval = self.settings.intervals.store_model
        extra_models = {
            name: length.total_steps // interval.in_steps(length.steps_per_epoch) if interval else 0
            for name, length in self.lengths.items()
        }
        return stored_bytes(self.config, extra_models, self.settings.intervals.keep_checkpoints)

    def _check_features(self) -> str:
        loss = build_perceptual_loss(self.config)
        self.perceptual = prepare_network(loss, self._uncompiled())
        section = self.config.perceptual_loss
        return f"{section.network}, layers {', '.join(section.single_layer_weights)}"

    def _uncompiled(self) -> RunSettings:
        """The settings without compilation, which is slow and hardly changes the memory."""
        return RunSettings(**{**vars(self.settings), "compile": False, "accumulate": 1})

    def _check_memory(self, name: str) -> str:
        assert self.fabric is not None
        device, batch = self.fabric.device, self.config.batch_size
        memory = self._measure_memory(name)
        crops = math.ceil(batch / self.settings.accumulate)
        need, free = memory.needed(crops), free_memory(device)
        said = f"a step of {crops} crops at once takes {_gigabytes(need)}"
        if device.type == "cpu":  # which all processes share
            free //= self.fabric.world_size
        said += f" of {_gigabytes(free)} free on {device}"
        fits = memory.largest_batch(free)
        if crops <= fits:
            return f"{said}; up to {fits} would fit"
        if not fits:
            raise DeviceError(f"{said}; not even one fits: lower cr_patch_size")
        raise DeviceError(
            f"{said}; {fits} would fit: use --accumulate {math.ceil(batch / fits)}, or "
            f"batch_size {fits}"
        )

    def _measure_memory(self, name: str) -> StepMemory:
        assert self.fabric is not None
        device, settings = self.fabric.device, self._uncompiled()
        if self.perceptual is not None:
            self.perceptual.to(device)
        stage = build_stage(
            name,
            RunContext("check", self.fabric, self.config, settings),
            generator=prepare_network(build_generator(self.config), settings),
            perceptual=self.perceptual,
            total_steps=1,
        )
        height, width = self._lr_size(name)
        scale, channels = self.config.scale_factor, self.config.img_channels

        def step(crops: int) -> None:
            lr = torch.rand(crops, channels, height, width, device=device)
            hr = torch.rand(crops, channels, scale * height, scale * width, device=device)
            stage.train_step(lr, hr)

        return measure_step_memory(step, device, self.base_memory)

    def _check_validation(self, name: str) -> str:
        """Check that the largest validation image fits into the memory."""
        assert self.fabric is not None
        pairs, device = self.data[name][1], self.fabric.device
        largest = max(range(len(pairs)), key=lambda index: math.prod(pairs.lr_size(index)))
        height, width = pairs.lr_size(largest)
        generator = (
            prepare_network(build_generator(self.config), self._uncompiled()).to(device).eval()
        )
        tiled = TiledNetwork(generator, self.config.scale_factor, self.config.img_channels)
        need, free = tiled.needed_bytes(height, width), free_memory(device)
        scale = self.config.scale_factor
        how = "whole" if tiled.fits(height, width) else "in tiles"
        said = (
            f"{pairs.names[largest]}, the largest image, {width * scale}x{height * scale}, {how} "
            f"takes about {_gigabytes(need)} of {_gigabytes(free)} free on {device}"
        )
        if need > free:
            raise DeviceError(f"{said}: leave it out of val_datasets, or cut it into smaller ones")
        return said

    def _lr_size(self, name: str) -> tuple[int, int]:
        """Height and width of the LR crops, or of the largest image."""
        size = self.config.stages[name].cr_patch_size
        if size is not None:
            scale = self.config.scale_factor
            return size[0] // scale, size[1] // scale
        if name not in self.data:
            raise DataError("unknown, because the data cannot be opened")
        pairs = self.data[name][0].pairs
        return max((pairs.lr_size(index) for index in range(len(pairs))), key=math.prod)

    def _draw(self, name: str) -> str:
        path = self.settings.out_dir / f"check_{name}.png"
        drawn = draw_crops(path, self.data[name][0], self.config.seed)
        text = f"{path}: {drawn.crops} crops as the networks will get them, LR next to HR"
        if drawn.degraded:
            text += f"; below, {DEGRADATIONS} degradations of {drawn.degraded} crops each, with HR"
        return text


def _gigabytes(count: int) -> str:
    return f"{count / 1e9:.2f} GB"

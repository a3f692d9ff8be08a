"""The loop around a stage: epochs, validation, checkpoints, stored models, logs.

The trainer knows no losses; :mod:`torch_sr.training.stages` shows what one step does.
"""

from __future__ import annotations

import math
import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor
from torch.utils.data import DataLoader

from torch_sr.data.loaders import CachedPairs, EpochSampler, to_float
from torch_sr.evaluation.evaluate import evaluate_pair
from torch_sr.models.rrdb import RRDBNet
from torch_sr.models.saving import save_generator
from torch_sr.training.checkpoints import save_checkpoint
from torch_sr.training.loggers import Logger
from torch_sr.training.stages import Stage

_SHOWN_IMAGES = 4
_STEPS_BETWEEN_AGREEMENTS = 20


@dataclass(frozen=True)
class StageLimits:
    """When a stage ends: whichever of the two comes first."""

    num_epochs: int
    num_steps: int | None = None


@dataclass(frozen=True)
class Intervals:
    """How often, in epochs, the trainer does what is not training.

    Args:
        checkpoint: store the checkpoint.
        validate: measure on the validation images.
        store_model: store the model of that epoch under its own name; None never does.
        best_warmup: epochs before a best model is stored.
        keep_checkpoints: how many older checkpoints are kept beside the newest.
    """

    checkpoint: int = 1
    validate: int = 1
    store_model: int | None = None
    best_warmup: int = 0
    keep_checkpoints: int = 1


@dataclass(frozen=True)
class RunFiles:
    """The names under which a run stores its work, as the description has them."""

    folder: Path
    run: str
    label: str
    scale_factor: int

    def path(self, what: str) -> Path:
        """For example ``saved_models/1657192860_RRDB_PSNR_x4_best_model.safetensors``."""
        return self.folder / f"{self.run}_RRDB_{self.label}_x{self.scale_factor}_{what}"


@dataclass
class Progress:
    """Where a stage stands; what a checkpoint holds beside the stage itself."""

    epoch: int = 0
    """Epochs done."""
    batch: int = 0
    """Mini-batches done in the epoch begun."""
    step: int = 0
    """Mini-batches done in all."""
    best_psnr: float = float("-inf")
    best_ssim: float = float("-inf")


class Trainer:
    """Bring a stage to its end, from wherever it stands.

    Args:
        fabric: device and precision.
        stage: does the steps.
        loader, sampler: the training batches, see :func:`torch_sr.data.loaders.training_loader`.
        validation: whole images to measure on; may be empty.
        limits: the length of the stage.
        intervals: how often to validate and to store.
        files: where to store.
        loggers: told of everything.
        hparams: the configuration, carried in checkpoints and logs.
        datasets: the training data, by the names the configuration gives, for the model's
            metadata.
    """

    def __init__(
        self,
        *,
        fabric: Fabric,
        stage: Stage,
        loader: DataLoader[tuple[Tensor, Tensor]],
        sampler: EpochSampler,
        validation: CachedPairs | None,
        limits: StageLimits,
        intervals: Intervals,
        files: RunFiles,
        loggers: Sequence[Logger],
        hparams: Mapping[str, Any],
        datasets: Sequence[str],
    ) -> None:
        self.fabric = fabric
        self.stage = stage
        self.loader = loader
        self.sampler = sampler
        self.validation = validation
        self.limits = limits
        self.intervals = intervals
        self.files = files
        self.loggers = loggers
        self.hparams = dict(hparams)
        self.datasets = list(datasets)
        self.progress = Progress()
        self._totals: dict[str, Tensor] = {}
        self._last_metrics: dict[str, float] = {}

    @property
    def checkpoint_file(self) -> Path:
        """The newest checkpoint of this stage."""
        return self.files.path("checkpoint.pth")

    @property
    def model_file(self) -> Path:
        """The model as it is at the end of the stage."""
        return self.files.path("model.safetensors")

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a checkpoint of this stage."""
        self.stage.load_state_dict(state["stage_state"])
        self.progress = Progress(**state["progress"])
        self._totals = {name: value.clone() for name, value in state["totals"].items()}

    def fit(self) -> bool:
        """Train until the limits; return False when a signal asked to stop before that.

        Raises:
            CheckpointError: when a checkpoint cannot be written.
            ModelError: when a model cannot be written.
        """
        self._tell_start()
        with _stop_on_signal() as stop:
            while not self._finished():
                if not self._run_epoch(stop):
                    self._store_checkpoint("checkpoint.pth", self.intervals.keep_checkpoints)
                    return False
        self._store_model("model.safetensors")
        return True

    def _finished(self) -> bool:
        at_steps = self.limits.num_steps is not None and self.progress.step >= self.limits.num_steps
        return at_steps or self.progress.epoch >= self.limits.num_epochs

    def _run_epoch(self, stop: threading.Event) -> bool:
        """Train one epoch, or what is left of it; False when asked to stop inside it."""
        self.sampler.epoch = self.progress.epoch
        self.sampler.skip_batches = self.progress.batch
        for lr, hr in self.loader:
            self._train_batch(lr, hr)
            if self._finished():
                break
            if self.progress.batch < self.sampler.batches and self._agree_to_stop(stop):
                return False
        self._end_epoch()
        return not self._agree_to_stop(stop, always=True)

    def _agree_to_stop(self, stop: threading.Event, *, always: bool = False) -> bool:
        """Whether any process was asked to stop; several ask each other now and then only."""
        if self.fabric.world_size == 1:
            return stop.is_set()
        if not always and self.progress.step % _STEPS_BETWEEN_AGREEMENTS:
            return False
        asked = torch.tensor(float(stop.is_set()), device=self.fabric.device)
        answer: Any = self.fabric.all_reduce(asked, reduce_op="sum")
        return float(answer) > 0

    def _train_batch(self, lr: Tensor, hr: Tensor) -> None:
        device = self.fabric.device
        losses = self.stage.train_step(
            to_float(lr.to(device, non_blocking=True)), to_float(hr.to(device, non_blocking=True))
        )
        for name, loss in losses.items():
            self._totals[name] = self._totals.get(name, torch.zeros((), device=device)) + loss
        self.progress.step += 1
        self.progress.batch += 1
        for logger in self.loggers:
            logger.on_step(self.progress.epoch, self.progress.step, losses)

    def _end_epoch(self) -> None:
        totals: Any = self._totals
        if self.fabric.world_size > 1:
            totals = self.fabric.all_reduce(totals, reduce_op="mean")
        metrics = {
            f"train/{name}": float(total) / self.progress.batch for name, total in totals.items()
        }
        metrics |= {f"train/{name}": rate for name, rate in self.stage.learning_rates().items()}
        self._totals = {}
        self.progress.epoch += 1
        self.progress.batch = 0
        if self._due(self.intervals.validate):
            # One process validates, the others wait: a best model must be best for all of them.
            found = self._validate() if self.fabric.is_global_zero else {}
            metrics |= self.fabric.broadcast(found)
        self._last_metrics = metrics
        for logger in self.loggers:
            logger.on_epoch(self.progress.epoch, self.progress.step, metrics)
        self._store(metrics)

    def _due(self, interval: int | None) -> bool:
        return interval is not None and (self.progress.epoch % interval == 0 or self._finished())

    def _validate(self) -> dict[str, float]:
        if not self.validation:
            return {}
        totals: dict[str, float] = {}
        shown: dict[str, Tensor] = {}
        for index, name in enumerate(self.validation.names):
            result = evaluate_pair(
                self.stage.evaluated, *self.validation[index], self.validation.scale_factor
            )
            losses = self.stage.validation_losses(result.sr, result.hr)
            values = {name: float(loss) for name, loss in losses.items()}
            values |= {"PSNR": result.metrics["psnr"], "SSIM": result.metrics["ssim"]}
            for key, value in values.items():
                totals[key] = totals.get(key, 0.0) + value
            if index < _SHOWN_IMAGES:
                images = (("lr", result.lr), ("sr", result.sr), ("hr", result.hr))
                shown |= {f"val/{name}/{kind}": image[0] for kind, image in images}
        for logger in self.loggers:
            logger.on_images(self.progress.step, shown)
        return {f"val/{key}": total / len(self.validation) for key, total in totals.items()}

    def _store(self, metrics: Mapping[str, float]) -> None:
        if self.progress.epoch > self.intervals.best_warmup and self._is_best(metrics):
            self.progress.best_psnr = metrics["val/PSNR"]
            self.progress.best_ssim = metrics["val/SSIM"]
            self._store_model("best_model.safetensors")
            self._store_checkpoint("best_checkpoint.pth")
        if self._due(self.intervals.checkpoint):
            self._store_checkpoint("checkpoint.pth", keep=self.intervals.keep_checkpoints)
        if self._due(self.intervals.store_model):
            self._store_model(f"epoch_{self.progress.epoch}_model.safetensors")

    def _is_best(self, metrics: Mapping[str, float]) -> bool:
        """Better in both measures, as the description has it."""
        return (
            metrics.get("val/PSNR", -math.inf) > self.progress.best_psnr
            and metrics["val/SSIM"] > self.progress.best_ssim
        )

    def _store_checkpoint(self, what: str, keep: int = 0) -> None:
        state = {
            "run": self.files.run,
            "stage": self.stage.name,
            "epoch_i": self.progress.epoch,
            "hparams": self.hparams,
            "model_state_dict": self.stage.generator.state_dict(),
            "params_ema": self.stage.evaluated.state_dict(),
            "stage_state": self.stage.state_dict(),
            "progress": vars(self.progress),
            "totals": self._totals,
        }
        if self.fabric.is_global_zero:
            save_checkpoint(self.files.path(what), state, keep)

    def _store_model(self, what: str) -> None:
        network = self.stage.evaluated
        assert isinstance(network, RRDBNet)
        if not self.fabric.is_global_zero:
            return
        self.files.folder.mkdir(parents=True, exist_ok=True)
        metadata = {
            "dataset": ", ".join(self.datasets),
            "epoch": self.progress.epoch,
            "step": self.progress.step,
            "metrics": {k: round(v, 5) for k, v in self._last_metrics.items() if "val/" in k},
            "configuration": self.hparams,
        }
        save_generator(self.files.path(what), network, stage=self.stage.name, metadata=metadata)

    def _tell_start(self) -> None:
        run = {
            "run": self.files.run,
            "stage": self.stage.name,
            "num_epochs": self.limits.num_epochs,
            "num_steps": self.limits.num_steps,
            "steps_per_epoch": self.sampler.batches,
            "batch_size": self.sampler.batch_size * self.fabric.world_size,
            "epoch": self.progress.epoch,
            "step": self.progress.step,
            "device": str(self.fabric.device),
            "hparams": self.hparams,
        }
        for logger in self.loggers:
            logger.on_start(run)


@contextmanager
def _stop_on_signal() -> Iterator[threading.Event]:
    """Turn the first Ctrl-C or SIGTERM into an event; a second one interrupts at once."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop  # only the main thread may set handlers
        return

    def request(number: int, frame: FrameType | None) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    previous = {
        number: signal.signal(number, request) for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield stop
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)

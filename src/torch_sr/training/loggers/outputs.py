"""Where a run's numbers and pictures go. Each logger is one small class; any number may listen.

A logger opens its files when the first stage starts: a run that fails before leaves none behind.
"""

from __future__ import annotations

import copy
import json
import logging
import math
import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from torch_sr.errors import LogError
from torch_sr.files import write_failure
from torch_sr.training.loggers.wandb import check_wandb, start_wandb

Activity = Literal["train", "validate", "store"]
_log = logging.getLogger(__name__)


class Logger:
    """Receives everything that happens in a run; subclasses override what they use."""

    def on_start(self, run: Mapping[str, Any]) -> None:
        """A stage starts or resumes.

        Args:
            run: ``run``, ``stage``, ``num_epochs``, ``num_steps`` (the limits), ``total_steps``,
                ``steps_per_epoch``, ``steps_per_validation`` (None without one), ``batch_size``,
                ``epoch`` and ``step`` (done), ``device`` and ``hparams``.
        """

    def on_networks(self, networks: Mapping[str, tuple[nn.Module, Tensor]]) -> None:
        """The networks of a stage, with an input of each, before its first step."""

    def on_step(self, epoch: int, step: int, losses: Mapping[str, Tensor]) -> None:
        """A mini-batch is done; the losses may still be on their way on the device."""

    def on_epoch(self, epoch: int, step: int, metrics: Mapping[str, float]) -> None:
        """An epoch is done; metrics are named ``train/content_loss``, ``val/PSNR`` and so on."""

    def on_validation(self, epoch: int, step: int, metrics: Mapping[str, float]) -> None:
        """A validation inside an epoch, or of the start (step 0), is done.

        That at the end of an epoch is part of :meth:`on_epoch`.
        """

    def on_activity(self, activity: Activity, done: int, total: int) -> None:
        """What the trainer does from now on, and how much of it is done (images validated)."""

    def on_stop(self) -> None:
        """A signal asks to stop; called at once, from another thread."""

    def on_images(self, step: int, images: Mapping[str, Tensor]) -> None:
        """Validation images ``(C, H, W)`` in [0, 1], by name."""

    def on_message(self, text: str) -> None:
        """Something a person should know, in one line; never before ``on_start``."""

    def close(self) -> None:
        """The run is over, well or not."""


class JSONLinesLogger(Logger):
    """Every epoch, validation and message as one line of JSON, appended to ``metrics.jsonl``.

    Numbers that are not finite, which JSON cannot hold, are null there.

    Raises:
        LogError: by any method that writes, when the file cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / "metrics.jsonl"
        self._stage = ""

    def on_start(self, run: Mapping[str, Any]) -> None:
        self._stage = run["stage"]
        with _writing(self._path):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("ab"):
                pass

    def on_epoch(self, epoch: int, step: int, metrics: Mapping[str, float]) -> None:
        numbers = {name: x if math.isfinite(x) else None for name, x in metrics.items()}
        self._write({"epoch": epoch, "step": step, **numbers})

    def on_validation(self, epoch: int, step: int, metrics: Mapping[str, float]) -> None:
        self.on_epoch(epoch, step, metrics)

    def on_message(self, text: str) -> None:
        self._write({"message": text})

    def _write(self, values: Mapping[str, Any]) -> None:
        line = json.dumps({"stage": self._stage, **values}) + "\n"
        with _writing(self._path), self._path.open("ab+") as file:
            end = file.seek(0, os.SEEK_END)
            file.seek(max(end - 1, 0))
            if file.read(1) not in (b"", b"\n"):  # a line that a full disk or a kill cut short
                line = "\n" + line
            try:
                file.write(line.encode())
                file.flush()
            except OSError:
                os.truncate(self._path, end)
                raise


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise LogError(f"{path}: cannot write logs: {write_failure(error, path.parent)}") from error


def load_tensorboard() -> Any:
    """PyTorch's writer for TensorBoard.

    Raises:
        LogError: when TensorBoard is not installed.
    """
    try:
        from torch.utils.tensorboard.writer import SummaryWriter
    except ImportError as error:
        raise LogError(
            f"tensorboard cannot be imported ({error}); run pip install tensorboard, or use "
            "--no-tensorboard"
        ) from error
    return SummaryWriter


class TensorBoardLogger(Logger):
    """Scalars, images, graphs and hyper-parameters for TensorBoard, a sub-folder a stage.

    A graph has a sub-folder of its own, for TensorBoard shows one of each.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stage = ""
        self._step = 0
        self._writer: Any = None

    def on_start(self, run: Mapping[str, Any]) -> None:
        self.close()
        self._stage, self._step = run["stage"], run["step"]
        # What a killed run has logged beyond this step, TensorBoard is told to forget.
        self._writer = self._open(self._stage, purge_step=self._step + 1 if self._step else None)
        text = json.dumps(run["hparams"], indent=2)
        self._writer.add_text("hyper-parameters", f"```json\n{text}\n```", self._step)

    def on_networks(self, networks: Mapping[str, tuple[nn.Module, Tensor]]) -> None:
        for name, (network, x) in networks.items():
            with self._open(f"{self._stage}/{name}") as writer, _tracing(name, network) as traced:
                writer.add_graph(traced, x.cpu())

    def on_step(self, epoch: int, step: int, losses: Mapping[str, Tensor]) -> None:
        self._step = step

    def on_epoch(self, epoch: int, step: int, metrics: Mapping[str, float]) -> None:
        self._writer.add_scalar("epoch", epoch, step)
        self.on_validation(epoch, step, metrics)

    def on_validation(self, epoch: int, step: int, metrics: Mapping[str, float]) -> None:
        for name, value in metrics.items():
            self._writer.add_scalar(name, value, step)

    def on_images(self, step: int, images: Mapping[str, Tensor]) -> None:
        for name, image in images.items():
            self._writer.add_image(name, image.clamp(0, 1), step)

    def on_message(self, text: str) -> None:
        self._writer.add_text("messages", text, self._step)

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()

    def _open(self, name: str, purge_step: int | None = None) -> Any:
        SummaryWriter = load_tensorboard()  # noqa: N806
        with _writing(self._folder / name):
            return SummaryWriter(str(self._folder / name), purge_step=purge_step)


class WandbLogger(Logger):
    """The same for Weights & Biases; ``WANDB_MODE=offline`` needs no account.

    Both stages are one run, told apart by the beginning of the metrics' names.

    Args:
        folder: where wandb keeps its files.
        run: the run's name; a resumed run continues its curves.
        project: under which wandb lists it.
        optional: log a warning, and nothing else, when the service cannot be reached.

    Raises:
        MissingExtraError: when wandb is not installed.
        LogError: when it is not logged in, or (at the start) cannot be reached.
    """

    def __init__(
        self, folder: Path, run: str, project: str = "torch-sr", *, optional: bool = False
    ) -> None:
        check_wandb()
        self._folder, self._name, self._project = folder, run, project
        self._stage = ""
        self._run: Any = None
        self._optional = optional
        self._given_up = False

    def on_start(self, run: Mapping[str, Any]) -> None:
        self._stage = run["stage"]
        if not self._starts():
            return
        self._run.config.update(run["hparams"], allow_val_change=True)
        # Each stage counts its steps from 0, which wandb's own counter could not follow.
        self._run.define_metric(f"{self._stage}/step")
        self._run.define_metric(f"{self._stage}/*", step_metric=f"{self._stage}/step")

    def on_networks(self, networks: Mapping[str, tuple[nn.Module, Tensor]]) -> None:
        if self._run is None:
            return
        for name, (network, x) in networks.items():
            with _tracing(name, network) as traced, torch.no_grad():
                # Its `watch` gives the graphs of all networks one and the same name.
                from wandb.integration.torch.wandb_torch import TorchGraph

                graph: Any = TorchGraph.hook_torch(traced)  # type: ignore[no-untyped-call]
                traced(x.cpu())
                self._run.summary[f"{self._stage}/{name}"] = graph

    def on_epoch(self, epoch: int, step: int, metrics: Mapping[str, float]) -> None:
        self._log({"epoch": epoch, "step": step, **metrics})

    def _starts(self) -> bool:
        if self._run is None and not self._given_up:
            try:
                self._run = start_wandb(self._folder, self._name, self._project)
            except LogError as error:
                if not self._optional:
                    raise
                self._given_up = True
                _log.warning("%s; the training is logged without it", error)
        return self._run is not None

    def on_validation(self, epoch: int, step: int, metrics: Mapping[str, float]) -> None:
        self._log({"step": step, **metrics})

    def on_images(self, step: int, images: Mapping[str, Tensor]) -> None:
        if self._run is None:
            return
        import wandb

        pictures = {
            name: wandb.Image(image.clamp(0, 1).permute(1, 2, 0).cpu().numpy())
            for name, image in images.items()
        }
        self._log({"step": step, **pictures})

    def on_message(self, text: str) -> None:
        if self._run is not None:
            self._run.alert(title=self._stage, text=text)

    def _log(self, values: Mapping[str, Any]) -> None:
        if self._run is not None:
            self._run.log({f"{self._stage}/{name}": value for name, value in values.items()})

    def close(self) -> None:
        if self._run is not None:
            self._run.finish()


@contextmanager
def _tracing(name: str, network: nn.Module) -> Iterator[nn.Module]:
    """A copy to draw a graph of; one that cannot be drawn is no reason to stop a training."""
    try:
        # Drawing runs the network, which would move the averages of its batch normalisation.
        with warnings.catch_warnings():
            # PyTorch draws by what it deprecates, and warns of constants in what it drew.
            warnings.simplefilter("ignore")
            yield copy.deepcopy(network).cpu().eval()
    except (ImportError, RuntimeError, TypeError, ValueError) as error:
        _log.warning("no graph of the %s: %s", name, str(error).partition("\n")[0])

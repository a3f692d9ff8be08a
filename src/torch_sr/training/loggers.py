"""Where a run's numbers and pictures go. Each logger is one small class; any number may listen."""

from __future__ import annotations

import copy
import json
import logging
import math
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from torch_sr.errors import CheckpointError, MissingExtraError

_log = logging.getLogger(__name__)


class Logger:
    """Hears of everything in a run; each subclass overrides what it cares for."""

    def on_start(self, run: Mapping[str, Any]) -> None:
        """A stage begins or goes on: its name, epochs, steps, device and hyper-parameters."""

    def on_networks(self, networks: Mapping[str, tuple[nn.Module, Tensor]]) -> None:
        """The networks of a stage, with an input of each, before its first step."""

    def on_step(self, epoch: int, step: int, losses: Mapping[str, Tensor]) -> None:
        """A mini-batch is done; the losses may still be on their way on the device."""

    def on_epoch(self, epoch: int, step: int, metrics: Mapping[str, float]) -> None:
        """An epoch is done; metrics are named ``train/content_loss``, ``val/PSNR`` and so on."""

    def on_images(self, step: int, images: Mapping[str, Tensor]) -> None:
        """Validation images ``(C, H, W)`` in [0, 1], by name."""

    def on_message(self, text: str) -> None:
        """Something a person should know, in one line; never before ``on_start``."""

    def close(self) -> None:
        """The run is over, well or not."""


class JSONLinesLogger(Logger):
    """Every epoch and every message as one line of JSON, appended to ``metrics.jsonl``.

    Numbers that are not finite, which JSON has no words for, are null there.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / "metrics.jsonl"
        self._stage = ""
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._file = self._path.open("a", encoding="utf-8", buffering=1)
        except OSError as error:
            raise CheckpointError(f"{self._path}: cannot write logs: {error.strerror}") from error

    def on_start(self, run: Mapping[str, Any]) -> None:
        self._stage = run["stage"]

    def on_epoch(self, epoch: int, step: int, metrics: Mapping[str, float]) -> None:
        numbers = {name: x if math.isfinite(x) else None for name, x in metrics.items()}
        self._write({"epoch": epoch, "step": step, **numbers})

    def on_message(self, text: str) -> None:
        self._write({"message": text})

    def _write(self, values: Mapping[str, Any]) -> None:
        self._file.write(json.dumps({"stage": self._stage, **values}) + "\n")

    def close(self) -> None:
        self._file.close()


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
        from torch.utils.tensorboard.writer import SummaryWriter

        return SummaryWriter(str(self._folder / name), purge_step=purge_step)


class WandbLogger(Logger):
    """The same for Weights & Biases; ``WANDB_MODE=offline`` needs no account.

    Both stages are one run, told apart by the beginning of the metrics' names.

    Args:
        folder: where wandb keeps its files.
        run: the run's name; going on with a run goes on with its curves.
        project: under which wandb lists it.

    Raises:
        MissingExtraError: when wandb is not installed.
    """

    def __init__(self, folder: Path, run: str, project: str = "torch-sr") -> None:
        try:
            import wandb
        except ImportError:
            raise MissingExtraError("wandb", "wandb") from None
        folder.mkdir(parents=True, exist_ok=True)
        self._wandb = wandb
        self._stage = ""
        self._run: Any = wandb.init(project=project, id=run, name=run, dir=folder, resume="allow")

    def on_start(self, run: Mapping[str, Any]) -> None:
        self._stage = run["stage"]
        self._run.config.update(run["hparams"], allow_val_change=True)
        # Each stage counts its steps from 0, which wandb's own counter could not follow.
        self._run.define_metric(f"{self._stage}/step")
        self._run.define_metric(f"{self._stage}/*", step_metric=f"{self._stage}/step")

    def on_networks(self, networks: Mapping[str, tuple[nn.Module, Tensor]]) -> None:
        for name, (network, x) in networks.items():
            with _tracing(name, network) as traced, torch.no_grad():
                # Its `watch` gives the graphs of all networks one and the same name.
                from wandb.integration.torch.wandb_torch import TorchGraph

                graph: Any = TorchGraph.hook_torch(traced)  # type: ignore[no-untyped-call]
                traced(x.cpu())
                self._run.summary[f"{self._stage}/{name}"] = graph

    def on_epoch(self, epoch: int, step: int, metrics: Mapping[str, float]) -> None:
        self._log({"epoch": epoch, "step": step, **metrics})

    def on_images(self, step: int, images: Mapping[str, Tensor]) -> None:
        pictures = {
            name: self._wandb.Image(image.clamp(0, 1).permute(1, 2, 0).cpu().numpy())
            for name, image in images.items()
        }
        self._log({"step": step, **pictures})

    def on_message(self, text: str) -> None:
        self._run.alert(title=self._stage, text=text)

    def _log(self, values: Mapping[str, Any]) -> None:
        self._run.log({f"{self._stage}/{name}": value for name, value in values.items()})

    def close(self) -> None:
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

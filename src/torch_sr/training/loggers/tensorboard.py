"""Log to TensorBoard: scalars, images, graphs and hyper-parameters."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from torch_sr.errors import LogError
from torch_sr.training.loggers.base import Logger, reporting_write_errors
from torch_sr.training.loggers.graphs import traceable_copy


def load_tensorboard() -> Any:
    """PyTorch's writer for TensorBoard.

    Raises:
        LogError: TensorBoard is not installed.
    """
    try:
        from torch.utils.tensorboard.writer import SummaryWriter
    except ImportError as error:
        raise LogError(
            f"run pip install tensorboard, or use --no-tensorboard: tensorboard cannot be imported "
            f"({error})"
        ) from error
    return SummaryWriter


class TensorBoardLogger(Logger):
    """Log scalars, images, graphs and hyper-parameters, in a sub-folder for each stage.

    Every graph has its own sub-folder, because TensorBoard shows only one graph per folder.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stage = ""
        self._step = 0
        self._writer: Any = None

    def on_start(self, run: Mapping[str, Any]) -> None:
        self.close()
        self._stage, self._step = run["stage"], run["step"]
        # Discard what a killed run logged after this step.
        self._writer = self._open(self._stage, purge_step=self._step + 1 if self._step else None)
        text = json.dumps(run["hparams"], indent=2)
        self._writer.add_text("hyper-parameters", f"```json\n{text}\n```", self._step)

    def on_networks(self, networks: Mapping[str, tuple[nn.Module, Tensor]]) -> None:
        for name, (network, x) in networks.items():
            with (
                self._open(f"{self._stage}/{name}") as writer,
                traceable_copy(name, network) as traced,
            ):
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
        with reporting_write_errors(self._folder / name):
            return SummaryWriter(str(self._folder / name), purge_step=purge_step)

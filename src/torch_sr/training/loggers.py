"""Where a run's numbers and pictures go. Each logger is one small class; any number may listen."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from torch_sr.errors import CheckpointError


class Logger:
    """Hears of everything in a run; each subclass overrides what it cares for."""

    def on_start(self, run: Mapping[str, Any]) -> None:
        """A stage begins or goes on: its name, epochs, steps, device and hyper-parameters."""

    def on_step(self, epoch: int, step: int, losses: Mapping[str, Tensor]) -> None:
        """A mini-batch is done; the losses may still be on their way on the device."""

    def on_epoch(self, epoch: int, step: int, metrics: Mapping[str, float]) -> None:
        """An epoch is done; metrics are named ``train/content_loss``, ``val/PSNR`` and so on."""

    def on_images(self, step: int, images: Mapping[str, Tensor]) -> None:
        """Validation images ``(C, H, W)`` in [0, 1], by name."""

    def on_message(self, text: str) -> None:
        """Something a person should know, in one line."""

    def close(self) -> None:
        """The run is over, well or not."""


class JSONLinesLogger(Logger):
    """Every epoch as one line of JSON, appended to ``metrics.jsonl``."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "metrics.jsonl"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._file = self._path.open("a", encoding="utf-8", buffering=1)
        except OSError as error:
            raise CheckpointError(f"{self._path}: cannot write logs: {error.strerror}") from error

    def on_epoch(self, epoch: int, step: int, metrics: Mapping[str, float]) -> None:
        self._file.write(json.dumps({"epoch": epoch, "step": step, **metrics}) + "\n")

    def close(self) -> None:
        self._file.close()


class TensorBoardLogger(Logger):
    """Scalars, validation images and hyper-parameters for TensorBoard."""

    def __init__(self, folder: Path) -> None:
        from torch.utils.tensorboard.writer import SummaryWriter

        self._writer: Any = SummaryWriter(str(folder))

    def on_start(self, run: Mapping[str, Any]) -> None:
        text = json.dumps(run["hparams"], indent=2)
        self._writer.add_text("hyper-parameters", f"```json\n{text}\n```")

    def on_epoch(self, epoch: int, step: int, metrics: Mapping[str, float]) -> None:
        self._writer.add_scalar("epoch", epoch, step)
        for name, value in metrics.items():
            self._writer.add_scalar(name, value, step)

    def on_images(self, step: int, images: Mapping[str, Tensor]) -> None:
        for name, image in images.items():
            self._writer.add_image(name, image.clamp(0, 1), step)

    def close(self) -> None:
        self._writer.close()

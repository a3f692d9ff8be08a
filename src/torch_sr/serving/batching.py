"""Share a device between threads: one call at a time, and equal tiles together.

While a device computes, the tiles of other tasks wait. The next call takes those of them that have
the same model and the same shape, as many as fit. A tile never waits for others to arrive, so an
idle service is as quick as the engine itself.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np

from torch_sr.aliases import Array, Floats
from torch_sr.inference.engines import Engine

OnBatch = Callable[[int], None]
"""Called with the number of tiles that were computed together."""


class Device:
    """Lets the engines of one device compute one call at a time."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.busy = False


class _Call:
    """Tiles that wait for their result."""

    def __init__(self, lr: Floats) -> None:
        self.lr = lr
        self.sr: Array | None = None
        self.error: Exception | None = None

    @property
    def is_done(self) -> bool:
        return self.sr is not None or self.error is not None


class SharedEngine:
    """An engine for several threads.

    Args:
        engine: computes the tiles, called by one thread at a time.
        device: shared by the engines of one device.
        on_batch: see :data:`OnBatch`.
    """

    def __init__(self, engine: Engine, device: Device, on_batch: OnBatch | None = None) -> None:
        self.scale_factor = engine.scale_factor
        self.img_channels = engine.img_channels
        self.input_size: tuple[int, int] | None = getattr(engine, "input_size", None)
        self._engine = engine
        self._device = device
        self._on_batch = on_batch
        self._waiting: list[_Call] = []

    @property
    def tile_area(self) -> int:
        """That of the engine."""
        return self._engine.tile_area

    @property
    def tiles_redone(self) -> int:
        """That of the engine."""
        return self._engine.tiles_redone

    def __call__(self, lr: Floats) -> Array:
        """Compute tiles as the engine does, possibly together with those of other threads."""
        call = _Call(lr)
        device = self._device
        with device.changed:
            self._waiting.append(call)
            device.changed.wait_for(lambda: call.is_done or not device.busy)
            if not call.is_done:
                device.busy = True
                batch = self._take(call)
        if not call.is_done:
            try:
                self._compute(batch)
            finally:
                with device.changed:
                    device.busy = False
                    device.changed.notify_all()
        if call.error is not None:
            raise call.error
        assert call.sr is not None
        return call.sr

    def _take(self, first: _Call) -> list[_Call]:
        """A call and those of the same shape that wait, as many as fit together."""
        same = [call for call in self._waiting if call.lr.shape[1:] == first.lr.shape[1:]]
        same.sort(key=lambda call: call is not first)
        batch = [first]
        if len(same) > 1:
            number, area = len(first.lr), first.lr.shape[2] * first.lr.shape[3]
            most = self._engine.tile_area // area
            for call in same[1:]:
                number += len(call.lr)
                if number > most:
                    break
                batch.append(call)
        self._waiting = [call for call in self._waiting if call not in batch]
        return batch

    def _compute(self, batch: list[_Call]) -> None:
        """Compute calls together; if that fails, one by one, so that none fails for another."""
        if len(batch) > 1 and self._compute_together(batch):
            return
        for call in batch:
            try:
                call.sr = self._engine(call.lr)
            except Exception as error:
                call.error = error
            else:
                self._report(len(call.lr))

    def _compute_together(self, batch: list[_Call]) -> bool:
        lr = np.concatenate([call.lr for call in batch])
        try:
            sr = self._engine(lr)
        except Exception:
            return False
        ends = np.cumsum([len(call.lr) for call in batch])[:-1]
        for call, part in zip(batch, np.split(sr, ends), strict=True):
            call.sr = part
        self._report(len(lr))
        return True

    def _report(self, tiles: int) -> None:
        if self._on_batch is not None:
            self._on_batch(tiles)

"""Order the training images by a function of (seed, epoch)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from torch.utils.data import Sampler

from torch_sr.errors import DataError

SampleKey = tuple[int, int]
"""Epoch and index of a sample."""


class EpochSampler(Sampler[SampleKey]):
    """The order of the samples of one epoch, which depends only on (seed, epoch).

    Several processes share each mini-batch: together they see the samples that one process with
    their total batch size would see.

    Args:
        length: images in the data set.
        seed: the seed of the whole run.
        batch_size: samples per process; a last, incomplete batch is dropped, unless it is the only
            one.
        processes: number of processes that share the data.
        rank: the rank of this process.

    Raises:
        DataError: there are fewer images than processes.
    """

    def __init__(
        self, length: int, seed: int, batch_size: int, processes: int = 1, rank: int = 0
    ) -> None:
        if length < processes:
            raise DataError(
                f"start fewer processes: {length} training images are too few for {processes}"
            )
        self.length = length
        self.seed = seed
        self.epoch = 0
        self.skip_batches = 0
        self.batch_size = min(batch_size, length // processes)
        self._processes = processes
        self._rank = rank

    @property
    def recipe(self) -> dict[str, int]:
        """Everything that determines the order of the samples."""
        return {
            "images": self.length,
            "seed": self.seed,
            "batch_size": self.batch_size,
            "processes": self._processes,
        }

    @property
    def batches(self) -> int:
        """Number of mini-batches in a whole epoch."""
        return self.length // (self.batch_size * self._processes)

    def __len__(self) -> int:
        return (self.batches - self.skip_batches) * self.batch_size

    def __iter__(self) -> Iterator[SampleKey]:
        order = np.random.default_rng((self.seed, self.epoch)).permutation(self.length)
        used = order[: self.batches * self._processes * self.batch_size]
        mine = used.reshape(self.batches, self._processes, self.batch_size)[:, self._rank]
        return ((self.epoch, int(index)) for index in mine[self.skip_batches :].flat)

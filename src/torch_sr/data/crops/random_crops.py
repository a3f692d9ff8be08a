"""Load mini-batches of random crops, functions of (seed, epoch, index).

There is no random state in the data set or in a worker: the sampler yields the epoch and index of
every sample, which seed the random generator of that sample. The pixels of a step therefore do not
depend on the number of workers, and a run can be resumed in the middle of an epoch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from torch_sr.aliases import Array
from torch_sr.data.crops.augmentation import HardTransforms, Spatial
from torch_sr.data.crops.geometry import Place, draw_place
from torch_sr.data.crops.sampler import EpochSampler, SampleKey
from torch_sr.data.image_pairs import ImagePairs
from torch_sr.errors import DataError
from torch_sr.images import convert

if TYPE_CHECKING:  # imports OpenCV, which not all training needs
    from torch_sr.data.degradation import Degradation

_DEGRADING = 1
"""Appended to (seed, epoch, index) for a separate stream of random numbers for degradations."""


class RandomCrops(Dataset[tuple[Tensor, Tensor]]):
    """Aligned random crops, randomly flipped and transposed; LR is randomly augmented or degraded.

    All crops have the depth of the deepest image. Augmented and degraded LR is rounded to 8 bits.

    Args:
        pairs: the images.
        crop_size: height and width of the HR crop; None takes whole images, neither flipped nor
            transposed.
        seed: the seed of the whole run.
        spatial: how crops are flipped and transposed, see
            :func:`~torch_sr.data.crops.augmentation.draw_orientation`.
        compression, coarse_dropout, pipeline: augmentation of the LR crops, see
            :class:`~torch_sr.data.crops.augmentation.HardTransforms`.
        degradation: makes the LR of some crops, with the ``probability`` of its configuration, if
            LR is bicubic; the augmentation is applied afterwards.

    Raises:
        DataError: an image is smaller than the crop.
        ConfigError: the pipeline cannot be read, or does not fit the crops.
    """

    def __init__(
        self,
        pairs: ImagePairs,
        crop_size: tuple[int, int] | None,
        seed: int = 0,
        *,
        spatial: Spatial = "dihedral",
        compression: float = 0.0,
        coarse_dropout: float = 0.0,
        pipeline: str | None = None,
        degradation: Degradation | None = None,
    ) -> None:
        self.pairs = pairs
        self.crop_size = crop_size
        self.seed = seed
        self.spatial = spatial
        self.degradation = degradation
        self._dtype = np.uint16 if pairs.depth == 16 else np.uint8
        if crop_size is not None:
            self._check_sizes(crop_size)
        self._hard = HardTransforms(compression, coarse_dropout, pipeline)
        if pipeline is not None:
            lr, _ = pairs[0]
            lr = self._draw_place(lr, np.random.default_rng(0)).cut(lr)
            self._hard.dry_run(convert(lr, np.uint8))

    def _check_sizes(self, crop_size: tuple[int, int]) -> None:
        pairs = self.pairs
        height, width = (size // pairs.scale_factor for size in crop_size)
        if self.spatial != "none":  # on both sides, because a crop may be transposed
            height = width = max(height, width)
        for index, name in enumerate(pairs.names):
            h, w = pairs.lr_size(index)
            if h < height or w < width:
                raise DataError(f"{name}: {self._describe_size(index, crop_size)}")

    def _describe_size(self, index: int, crop_size: tuple[int, int]) -> str:
        """Why an image is too small, with its size, and what to change."""
        height, width = self.pairs.hr_size(index)
        crop, side = f"{crop_size[1]}x{crop_size[0]}", max(crop_size)
        if self.spatial == "none" or crop_size[0] == crop_size[1]:
            return (
                f"{width}x{height} pixels are fewer than the crop {crop}; lower cr_patch_size or "
                "leave the image out"
            )
        return (
            f"{width}x{height} pixels are fewer than the {side}x{side} that a crop of {crop} needs "
            "to be transposed; lower cr_patch_size, set augmentation.spatial to none, or leave the "
            "image out"
        )

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, key: SampleKey) -> tuple[Tensor, Tensor]:
        """LR ``(C, h, w)`` and HR ``(C, h * s, w * s)``, uint8 or uint16."""
        epoch, index = key
        rng = np.random.default_rng((self.seed, epoch, index))
        lr, hr = self.pairs[index]
        place = self._draw_place(lr, rng)
        if (degrading := self._draw_degrading(epoch, index)) is not None:
            lr, hr = self._degrade(hr, lr.shape[:2], place, degrading)
        else:
            lr, hr = place.cut(lr), place.cut(hr, self.pairs.scale_factor)
        if self._hard:
            lr = self._hard(convert(lr, np.uint8), rng)
        return _to_tensor(convert(lr, self._dtype)), _to_tensor(convert(hr, self._dtype))

    def _draw_place(self, lr: Array, rng: np.random.Generator) -> Place:
        if self.crop_size is None:
            return Place(0, 0, *lr.shape[:2])
        height, width = (size // self.pairs.scale_factor for size in self.crop_size)
        return draw_place(lr.shape[:2], (height, width), self.spatial, rng)

    def _draw_degrading(self, epoch: int, index: int) -> np.random.Generator | None:
        """The random generator that degrades a sample; None if it is not degraded."""
        if self.degradation is None or not self.pairs.lr_is_made(index):
            return None
        rng = np.random.default_rng((self.seed, epoch, index, _DEGRADING))
        return rng if rng.random() < self.degradation.config.probability else None

    def _degrade(
        self, hr: Array, lr_size: tuple[int, int], place: Place, rng: np.random.Generator
    ) -> tuple[Array, Array]:
        """Degrade the crop with its surroundings, and cut it out of both resolutions."""
        assert self.degradation is not None
        scale = self.pairs.scale_factor
        larger, inner = place.widen(lr_size, rng)
        target = self.degradation.target(larger.cut(hr, scale))
        lr = self.degradation(target, rng)
        return inner.cut_oriented(lr), inner.cut_oriented(target, scale)


def training_loader(
    crops: RandomCrops, batch_size: int, num_workers: int = 0, processes: int = 1, rank: int = 0
) -> tuple[DataLoader[tuple[Tensor, Tensor]], EpochSampler]:
    """Mini-batches ``(N, C, h, w)`` and ``(N, C, h * s, w * s)``, uint8 or uint16.

    Returns:
        the loader, and its sampler; set ``epoch`` (and ``skip_batches``) of the sampler before each
        epoch.
    """
    sampler = EpochSampler(len(crops), crops.seed, batch_size, processes, rank)
    loader = DataLoader(
        crops,
        batch_size=sampler.batch_size,
        sampler=sampler,
        num_workers=num_workers,
        pin_memory=torch.cuda.is_available(),
        multiprocessing_context="spawn" if num_workers else None,
        worker_init_fn=_use_one_thread if crops.degradation else None,
        persistent_workers=num_workers > 0,  # starting them takes seconds, and they have no state
        generator=torch.Generator(),  # otherwise every epoch would advance the global one
    )
    return loader, sampler


def _use_one_thread(_: int) -> None:
    """Keep OpenCV from starting a thread per core in each worker."""
    import cv2

    cv2.setNumThreads(1)


def to_float(image: Tensor) -> Tensor:
    """Convert uint8 or uint16 to float in [0, 1]; call it on the device, to transfer less."""
    return image.float() / torch.iinfo(image.dtype).max


def _to_tensor(image: Array) -> Tensor:
    return torch.from_numpy(image.transpose(2, 0, 1).copy())  # the cache is read-only

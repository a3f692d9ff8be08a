"""Mini-batches of aligned random crops, each a pure function of (seed, epoch, index).

No random state lives in the data set or in a worker: the sampler names epoch and index of every
sample, and the sample's own generator is seeded from them. So the same step sees the same pixels
whatever the number of workers, and a run can go on from the middle of an epoch.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from torch_sr.aliases import Array
from torch_sr.data.crops.augmentation import HardTransforms, Spatial
from torch_sr.data.crops.geometry import Place, draw_place
from torch_sr.data.crops.sampler import EpochSampler, SampleKey
from torch_sr.data.inspection.pair import least_side
from torch_sr.data.resize import crop_to_multiple
from torch_sr.data.sources import Images
from torch_sr.errors import DataError
from torch_sr.images import convert

if TYPE_CHECKING:  # imports OpenCV, which not all training needs
    from torch_sr.data.degradation import Degradation

_DEGRADING = 1
"""Behind (seed, epoch, index): the stream of numbers for degradations, apart from all others."""


class ImagePairs:
    """Low and high resolution images side by side, HR cropped to a multiple of the scale.

    Args:
        lr: low-resolution images, decoded or not, one set for each in ``hr``.
        hr: high-resolution images.
        scale_factor: whole factor between the two.
        names: one for each image, for messages and reports.
        made: for each image, whether its LR is known to be its HR shrunk by the bicubic filter,
            here or by who published it; by default of none.

    Raises:
        DataError: when an LR image has not ``1 / scale_factor`` of its HR image's size.
    """

    def __init__(
        self,
        lr: Sequence[Images],
        hr: Sequence[Images],
        scale_factor: int,
        names: Sequence[str],
        made: Sequence[bool] | None = None,
    ) -> None:
        self.scale_factor = scale_factor
        self.names = list(names)
        self._lr, self._hr = list(lr), list(hr)
        self._made = [False] * len(self.names) if made is None else list(made)
        self._where = [(part, i) for part, cache in enumerate(self._hr) for i in range(len(cache))]
        for index, (part, i) in enumerate(self._where):
            lr_size = self._lr[part].layout(i).shape[:2]
            hr_size = self._hr[part].layout(i).shape[:2]
            if lr_size != (hr_size[0] // scale_factor, hr_size[1] // scale_factor):
                raise DataError(
                    f"{self.names[index]}: LR is {lr_size[1]}x{lr_size[0]} and HR "
                    f"{hr_size[1]}x{hr_size[0]} pixels, which is not a factor of {scale_factor}; "
                    f"{_remedy(lr_size, hr_size)}"
                )

    def __len__(self) -> int:
        return len(self._where)

    def __getitem__(self, index: int) -> tuple[Array, Array]:
        """Views ``(H, W, C)`` and ``(H * s, W * s, C)``, each uint8 or uint16 as it is stored."""
        part, i = self._where[index]
        lr, hr = self._lr[part][i], crop_to_multiple(self._hr[part][i], self.scale_factor)
        if lr.shape[2] != hr.shape[2]:  # a gray image may have a partner stored as RGB
            channels = max(lr.shape[2], hr.shape[2])
            lr, hr = (np.broadcast_to(image, (*image.shape[:2], channels)) for image in (lr, hr))
        return lr, hr

    def hr(self, index: int) -> Array:
        """High resolution alone, ``(H * s, W * s, C)``, as it is stored."""
        part, i = self._where[index]
        return crop_to_multiple(self._hr[part][i], self.scale_factor)

    @property
    def depth(self) -> int:
        """Bits a sample of the deepest image: 8 or 16."""
        sets = (*self._lr, *self._hr)
        return max(images.layout(i).depth for images in sets for i in range(len(images)))

    def fingerprint(self) -> str:
        """One hash of all image files, whatever their names and order."""
        sets = (*self._lr, *self._hr)
        digests = {images.digest(i) for images in sets for i in range(len(images))}
        return hashlib.sha256("\n".join(sorted(digests)).encode()).hexdigest()

    @property
    def uncached_bytes(self) -> int:
        """What the images that are read from their files would take in the cache."""
        sets = (*self._lr, *self._hr)
        return sum(images.uncached_bytes for images in sets)

    def lr_is_made(self, index: int) -> bool:
        """Whether low resolution is bicubic, so that degradations may take its place."""
        return self._made[index]

    @property
    def num_made(self) -> int:
        """Images whose low resolution is bicubic."""
        return sum(self._made)

    def hr_size(self, index: int) -> tuple[int, int]:
        """Height and width of a high-resolution image as stored, without touching its pixels."""
        part, i = self._where[index]
        height, width, _ = self._hr[part].layout(i).shape
        return height, width

    def lr_size(self, index: int) -> tuple[int, int]:
        """Height and width of a low-resolution image, without touching its pixels."""
        part, i = self._where[index]
        height, width, _ = self._lr[part].layout(i).shape
        return height, width


def _remedy(lr_size: Sequence[int], hr_size: Sequence[int]) -> str:
    """What to do about low resolution of a wrong size."""
    factor = round(hr_size[0] / lr_size[0])
    if lr_size[0] > hr_size[0]:
        return "exchange the folders of high and low resolution"
    if factor and all(hr // factor == lr for hr, lr in zip(hr_size, lr_size, strict=True)):
        return f"use scale factor {factor}, or other low resolution"
    return "replace or remove the low-resolution image"


def refuse_small(pairs: ImagePairs, *, crop_border: bool = True) -> None:
    """Refuse images that SSIM cannot measure.

    Args:
        pairs: the images.
        crop_border: whether a border of ``scale_factor`` pixels is cut off first.

    Raises:
        DataError: when one is too small, with its name.
    """
    scale = pairs.scale_factor
    least = least_side(scale, crop_border=crop_border)
    small = [n for n in range(len(pairs)) if min(pairs.lr_size(n)) * scale < least]
    if small:
        height, width = (size * scale for size in pairs.lr_size(small[0]))
        more = f", and {len(small) - 1} more" if len(small) > 1 else ""
        raise DataError(
            f"{pairs.names[small[0]]}: leave the image out of the data set{more}; SSIM at x{scale} "
            f"needs {least}x{least} pixels, and it has {width}x{height}"
        )


class RandomCrops(Dataset[tuple[Tensor, Tensor]]):
    """Aligned random crops, flipped, transposed and with LR augmented or degraded at random.

    All have the depth of the deepest image. Augmented and degraded LR has passed through 8 bits.

    Args:
        pairs: the images.
        crop_size: height and width of the HR crop; None takes whole images and leaves them as
            they lie.
        seed: of the whole run.
        spatial: how crops are turned, see
            :func:`~torch_sr.data.crops.augmentation.draw_orientation`.
        compression: of the LR crops, like the next two, see
            :class:`~torch_sr.data.crops.augmentation.HardTransforms`.
        degradation: makes the LR of some crops, by its configuration's ``probability``, unless the
            image has LR of its own; it comes before the three above.

    Raises:
        DataError: when an image is smaller than the crop.
        ConfigError: when the pipeline cannot be read, or does not fit the crops.
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
            self._hard.try_on(convert(lr, np.uint8))

    def _check_sizes(self, crop_size: tuple[int, int]) -> None:
        pairs = self.pairs
        height, width = (size // pairs.scale_factor for size in crop_size)
        if self.spatial != "none":  # either side, for a crop may be transposed
            height = width = max(height, width)
        for index, name in enumerate(pairs.names):
            h, w = pairs.lr_size(index)
            if h < height or w < width:
                raise DataError(f"{name}: {self._describe_size(index, crop_size)}")

    def _describe_size(self, index: int, crop_size: tuple[int, int]) -> str:
        """Why an image is too small, with its true size, and what to change."""
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
        """The random numbers that degrade a sample; None for one that is not degraded."""
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
        return inner.cut_turned(lr), inner.cut_turned(target, scale)


def training_loader(
    crops: RandomCrops, batch_size: int, num_workers: int = 0, processes: int = 1, rank: int = 0
) -> tuple[DataLoader[tuple[Tensor, Tensor]], EpochSampler]:
    """Mini-batches ``(N, C, h, w)`` and ``(N, C, h * s, w * s)``, uint8 or uint16.

    Returns:
        the loader, and the sampler on which to set ``epoch`` (and ``skip_batches``) before each
        pass.
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
        persistent_workers=num_workers > 0,  # starting them takes seconds, and they hold no state
        generator=torch.Generator(),  # or else every pass would advance the global one
    )
    return loader, sampler


def _use_one_thread(_: int) -> None:
    """Keep OpenCV from starting a thread for every core in each of the workers."""
    import cv2

    cv2.setNumThreads(1)


def to_float(image: Tensor) -> Tensor:
    """uint8 or uint16 to float in [0, 1], after the transfer to a device: less to carry."""
    return image.float() / torch.iinfo(image.dtype).max


def _to_tensor(image: Array) -> Tensor:
    return torch.from_numpy(image.transpose(2, 0, 1).copy())  # the cache is read-only

"""Compare an exported file with PyTorch on a photograph; what is tolerated.

In fp32, programs add the same products in another order; for trained networks that makes about
1e-5. The tolerance is ten times as much, and a fortieth of a level of 8 bits, so that it changes
no image visibly. In half precision, numbers have 11 bits: single pixels may differ by more than a
level, which the largest difference allows, but the whole image must not, which the PSNR ensures.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib.resources import files

import numpy as np

from torch_sr.aliases import Doubles, Floats
from torch_sr.images import read_image

Run = Callable[[Floats], Floats]
"""A network: ``(N, C, H, W)`` float32 to ``(N, C, H * s, W * s)`` float32."""
_SIZES = ((1, 48, 64), (1, 61, 37), (2, 40, 40))
"""Number, height and width of the images that a network for any size is checked with."""
_SMALL_SIZES = ((1, 16, 24), (1, 23, 13), (2, 16, 16))


@dataclass(frozen=True)
class Tolerance:
    """What an exported file may differ from PyTorch in fp32.

    Args:
        largest_difference: of any number, for images in [0, 1].
        psnr: the least peak signal-to-noise ratio, in decibels.
    """

    largest_difference: float
    psnr: float

    def __str__(self) -> str:
        psnr = "" if self.psnr == -np.inf else f" and a PSNR of {self.psnr:g} dB"
        return f"{self.largest_difference:g}{psnr}"


FP32 = Tolerance(1e-4, 90.0)
HALF = Tolerance(0.05, 50.0)


@dataclass(frozen=True)
class Agreement:
    """How an exported file differs from PyTorch.

    Args:
        largest_difference: of any number, for images in [0, 1].
        psnr: peak signal-to-noise ratio in decibels; infinite if there is no difference.
        shapes: of the images that were compared.
    """

    largest_difference: float
    psnr: float
    shapes: tuple[tuple[int, ...], ...]

    def within(self, tolerance: Tolerance) -> bool:
        """Whether the difference is tolerated; NaN is not."""
        largest, psnr = tolerance.largest_difference, tolerance.psnr
        return self.largest_difference <= largest and self.psnr >= psnr


def compare(reference: Run, exported: Run, images: Iterable[Floats]) -> Agreement:
    """Run both networks on images.

    Args:
        reference: PyTorch's, in fp32.
        exported: of the file.
        images: batches ``(N, C, H, W)`` in [0, 1].
    """
    shapes: list[tuple[int, ...]] = []
    differences: list[Doubles] = []
    for lr in images:
        shapes.append(lr.shape)
        expected, found = reference(lr), exported(lr)
        if found.shape != expected.shape:
            return Agreement(np.inf, 0.0, tuple(shapes))
        differences.append(np.abs(expected.astype(np.float64) - found).ravel())
    difference = np.concatenate(differences)
    error = float(np.mean(difference**2))
    psnr = np.inf if error == 0 else -10 * np.log10(error)
    return Agreement(float(difference.max()), float(psnr), tuple(shapes))


def photographs(
    channels: int,
    size: tuple[int, int] | None,
    *,
    least: int = 1,
    multiple: int = 1,
    small: bool = False,
) -> list[Floats]:
    """Parts of a photograph: one of a fixed size, or several and a batch of two.

    Args:
        channels: 1, 3 or 4.
        size: the only height and width; None for any size.
        least: the least height and width.
        multiple: height and width are multiples of this.
        small: for slow programs.
    """
    if size is not None:
        return [_part(channels, 1, *size)]
    return [
        _part(channels, number, *(max(-(-side // multiple) * multiple, least) for side in sides))
        for number, *sides in (_SMALL_SIZES if small else _SIZES)
    ]


def _part(channels: int, number: int, height: int, width: int) -> Floats:
    """The top of the photograph, ``(N, C, H, W)``; mirrored where it ends."""
    photo = files("torch_sr") / "serving" / "page" / "examples" / "astronaut.jpg"
    image = read_image(str(photo)).to_array().astype(np.float32) / 255  # (H, W, 3)
    below, right = (
        max(0, need - have)
        for need, have in zip((height * number, width), image.shape, strict=False)
    )
    image = np.pad(image, ((0, below), (0, right), (0, 0)), mode="symmetric")
    layers = image[: height * number, :width].transpose(2, 0, 1)
    layers = {1: layers[:1], 3: layers}.get(channels, np.concatenate([layers, layers[:1]]))
    rows = layers.reshape(channels, number, height, width)
    return np.ascontiguousarray(rows.transpose(1, 0, 2, 3))

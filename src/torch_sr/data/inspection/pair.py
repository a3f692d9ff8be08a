"""Inspect an image pair: its files, and whether LR and HR match."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from torch_sr.aliases import Array, Progress
from torch_sr.data.inspection.findings import CheckedSet
from torch_sr.data.inspection.origin import camera_and_time, jpeg_quality, unusual_profile
from torch_sr.data.inspection.perceptual_hashes import (
    LIMIT,
    block_means,
    luma,
    perceptual_hash,
    turned_hashes,
)
from torch_sr.data.inspection.registration import REGION, find_shift, match_colors, undo_shift
from torch_sr.data.resize import downscale
from torch_sr.data.sets.file_pairs import FilePair
from torch_sr.data.ssim_size import smallest_side
from torch_sr.errors import ImageError
from torch_sr.images import Image, ImageReader, convert, read_header, read_image, to_unit
from torch_sr.machine import usable_cpus

FLAT = 3.0
"""Contrast below which an image is nearly blank; see :class:`InspectedPair`."""
_EDGE = 8
_SMALLEST_HASHED = 32  # pixels per side of LR that a perceptual hash needs
_UNRELATED = 100  # differing signs from which two images differ; unrelated ones have 127 on average


class Fault(NamedTuple):
    """A fault of one image: the check that found it, and what is wrong."""

    check: str
    message: str


@dataclass
class InspectedPair:
    """An image pair and its measured properties.

    Args:
        dataset: the data set that contains the pair.
        pair: its files.
        hashes: perceptual hashes of HR; ``(8, 255)`` with all flips and rotations for training,
            otherwise ``(1, 255)``; None if HR cannot be read.
        size: height and width of HR.
        kind: what is unusual about HR: ``gray with alpha of 16 bits``.
        frames: number of frames of an animation or pages of a document; 1 for a single image.
        quality: the quality of a JPEG file on libjpeg's scale; None for other files.
        camera, moment: the camera and the time of a photograph in seconds; ``""`` and None if EXIF
            has no time.
        contrast: standard deviation of the luma of the downscaled HR image, on the scale of 0 to
            255.
        profile: name of the color profile, unless it is sRGB.
        notes: what the reader left out, see :class:`~torch_sr.images.ImageReader`.
        faults: what is wrong.
        shift: how far LR is shifted relative to HR, down and right, in LR pixels.
        color_difference, color_cause: see
            :class:`~torch_sr.data.inspection.registration.ColorMatch`.
    """

    dataset: CheckedSet
    pair: FilePair
    hashes: Array | None = None
    size: tuple[int, int] = (0, 0)
    kind: str = ""
    frames: int = 1
    quality: float | None = None
    camera: str = ""
    moment: float | None = None
    contrast: float = 0.0
    profile: str = ""
    notes: tuple[str, ...] = ()
    faults: list[Fault] = field(default_factory=list)
    shift: tuple[float, float] | None = None
    color_difference: float | None = None
    color_cause: str = ""


def inspect_all(
    datasets: Sequence[CheckedSet],
    scale_factor: int,
    crop_size: tuple[int, int] | None,
    *,
    workers: int | None = None,
    progress: Progress | None = None,
) -> list[InspectedPair]:
    """Inspect all pairs of some data sets, in parallel and in order.

    Args:
        datasets: the data sets whose pairs are inspected.
        scale_factor, crop_size: see :func:`inspect_pair`.
        workers: threads; all cores by default.
        progress: called with the number of images inspected and their total number.
    """
    jobs = [(dataset, pair) for dataset in datasets for pair in dataset.pairs]
    inspected = []
    with ThreadPoolExecutor(workers or usable_cpus()) as pool:
        for image in pool.map(
            lambda job: inspect_pair(job[0], job[1], scale_factor, crop_size), jobs
        ):
            inspected.append(image)
            if progress is not None:
                progress(len(inspected), len(jobs))
    return inspected


def inspect_pair(
    dataset: CheckedSet, pair: FilePair, scale_factor: int, crop_size: tuple[int, int] | None
) -> InspectedPair:
    """Decode a pair and measure it. Errors are recorded as faults, never raised.

    Args:
        dataset: the data set that contains the pair.
        pair: its files.
        scale_factor: between the two resolutions.
        crop_size: height and width that an image for training needs.
    """
    image = InspectedPair(dataset, pair)
    try:
        _inspect(image, scale_factor, crop_size)
    except ImageError as error:
        image.faults.append(Fault("corrupt", str(error)))
    except MemoryError:
        image.faults.append(
            Fault("corrupt", f"{pair.hr} is too large for the memory of this machine")
        )
    return image


def _inspect(image: InspectedPair, scale_factor: int, crop_size: tuple[int, int] | None) -> None:
    pair, trains = image.pair, image.dataset.purpose == "train"
    read = _read(image)
    small = block_means(convert(read.color, np.uint8))
    image.contrast = float(luma(small).std())
    image.hashes = turned_hashes(small) if trains else perceptual_hash(small)[None]
    if crop_size is not None and trains:
        _check_crop(image, scale_factor, crop_size)
    if not trains:
        _check_measurable(image, scale_factor)
    if pair.lr is not None:
        lr = read_image(pair.lr).color
        _compare(image, to_unit(read.color), to_unit(lr), scale_factor)
        _check_turn(image, small, lr)


def _read(image: InspectedPair) -> Image:
    """Read HR; record the properties of its file in ``image``."""
    path = image.pair.hr
    image.frames = read_header(path, pages=True).pages
    with ImageReader(path) as reader:
        header, metadata = reader.header, reader.metadata
        read = Image.from_array(reader.read(header.height))
        image.notes = tuple(reader.notes)
    image.size = header.height, header.width
    image.kind = _kind(header.channels, header.depth, header.alpha)
    image.profile = unusual_profile(metadata.icc)
    image.camera, image.moment = camera_and_time(metadata.exif)
    image.quality = jpeg_quality(path)
    return read


def _kind(channels: int, depth: int, alpha: bool) -> str:
    kind = ("gray" if channels == 1 else "") + (" with alpha" if alpha else "")
    return (kind + ("" if depth == 8 else f" of {depth} bits")).strip()


def _check_crop(image: InspectedPair, scale_factor: int, crop_size: tuple[int, int]) -> None:
    height, width = (size // scale_factor * scale_factor for size in image.size)
    needed = max(crop_size)  # on both sides, because a crop may be transposed
    if min(height, width) < needed:
        text = (
            f"lower cr_patch_size or leave {image.pair.hr} out: a crop needs {needed}x{needed} "
            f"pixels, and it has {width}x{height}"
        )
        image.faults.append(Fault("size", text))


def _check_measurable(image: InspectedPair, scale_factor: int) -> None:
    height, width = (size // scale_factor * scale_factor for size in image.size)
    least = smallest_side(scale_factor)
    if min(height, width) < least:
        text = f"leave {image.pair.hr} out: SSIM at x{scale_factor} needs {least}x{least} pixels"
        image.faults.append(Fault("size", f"{text}, and it has {width}x{height}"))


def _check_turn(image: InspectedPair, hr: Array, lr: Array) -> None:
    """Find LR that shows another image, or is rotated, for example by a lost EXIF orientation.

    Args:
        image: the pair.
        hr, lr: ``(H, W, C)``; HR may be downscaled.
    """
    if min(lr.shape[:2]) < _SMALLEST_HASHED or image.contrast < FLAT:
        return
    own = perceptual_hash(convert(lr, np.uint8))
    upright, *turned = (int((own != other).sum()) for other in turned_hashes(hr))
    name, original = image.pair.lr, image.pair.hr
    if upright > LIMIT and min(turned) <= LIMIT:
        text = f"turn or flip {name}: its orientation differs from that of {original}; was its EXIF"
        image.faults.append(Fault("pairing", f"{text} orientation lost?"))
    elif upright >= _UNRELATED and not image.faults:
        text = f"replace {name}: it does not show the same image as {original}"
        image.faults.append(Fault("pairing", text))


def _compare(image: InspectedPair, hr: Array, lr: Array, scale_factor: int) -> None:
    """Compare size, position and colors of a pair, ``(H, W, C)`` in [0, 1]."""
    wanted = tuple(size // scale_factor for size in hr.shape[:2])
    if lr.shape[:2] != wanted:
        text = (
            f"{image.pair.lr}: {lr.shape[1]}x{lr.shape[0]} pixels; at x{scale_factor}, HR of "
            f"{hr.shape[1]}x{hr.shape[0]} pixels needs LR of {wanted[1]}x{wanted[0]}"
        )
        image.faults.append(Fault("scale", text))
        return
    if 0 in wanted:
        return
    channels = max(lr.shape[2], hr.shape[2])
    lr, hr = (np.broadcast_to(part, (*part.shape[:2], channels)) for part in (lr, hr))
    lr, expected = _middle(lr, hr, scale_factor)
    image.shift = find_shift(lr, expected)
    match = match_colors(*undo_shift(lr, expected, image.shift))
    image.color_difference, image.color_cause = match.difference, match.cause


def _middle(lr: Array, hr: Array, scale_factor: int) -> tuple[Array, Array]:
    """The middle of LR, and the same part of HR downscaled by MATLAB's bicubic.

    Downscaling the whole of a large image would be slow.
    """
    height, width = lr.shape[:2]
    side = REGION + 2 * _EDGE
    top, left = (max(0, (size - side) // 2) for size in (height, width))
    bottom, right = min(top + side, height), min(left + side, width)
    s = scale_factor
    expected = np.clip(downscale(hr[s * top : s * bottom, s * left : s * right], s), 0, 1)
    inner = tuple(
        slice(_EDGE if start else 0, -_EDGE if stop < size else None)
        for start, stop, size in ((top, bottom, height), (left, right, width))
    )  # next to a cut, the filter was applied at an edge that the image does not have
    return lr[top:bottom, left:right][inner], expected[inner]

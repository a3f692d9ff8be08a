"""One image pair under the doctor's eyes: what it is, and how its two halves fit."""

from __future__ import annotations

import io
import re
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path

import numpy as np

from torch_sr.aliases import Array
from torch_sr.config import SSIM_WINDOW
from torch_sr.data.inspection.findings import CheckedSet
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
from torch_sr.errors import ImageError
from torch_sr.images import Image as Picture
from torch_sr.images import ImageReader, convert, read_header, read_image, to_unit

FLAT = 3.0
"""Contrast below which an image is nearly blank; see :class:`InspectedPair`."""
_EDGE = 8
_JPEG_LUMA_SUM = 3688  # of the table in annex K.1 of ITU-T T.81
_LEAST_TURNED = 32  # pixels a side of LR that a perceptual_hash needs
_UNALIKE = 100  # differing signs of two pictures as they are; unrelated ones have 127 on average
_SRGB = re.compile(r"srgb|61966-2|^c2$|^urgb$", re.IGNORECASE)  # c2, uRGB: compact forms of it


@dataclass
class InspectedPair:
    """What one pair was found to be.

    Args:
        dataset, pair: what was looked at.
        hashes: of the image, ``(8, 255)`` with all its turns where it is to learn from, otherwise
            ``(1, 255)``; None where it could not be read.
        size: height and width of HR.
        kind: what is unusual about it: ``gray with alpha of 16 bits``.
        frames: of an animation, or pages of a document; 1 for a single image.
        quality: of a JPEG file, as libjpeg counts it; None of others.
        camera, moment: what took it, and when, in seconds; None where EXIF does not say.
        contrast: standard deviation of luma, in levels of 255, of the shrunk image.
        profile: name of its colour profile, where that is not sRGB.
        notes: what the reader left out, see :class:`~torch_sr.images.ImageReader`.
        faults: names of checks, and what is wrong.
        shift: of LR against HR, in low-resolution pixels.
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
    faults: list[tuple[str, str]] = field(default_factory=list)
    shift: tuple[float, float] | None = None
    color_difference: float | None = None
    color_cause: str = ""


def smallest_side(scale_factor: int, *, crop_border: bool = True) -> int:
    """The shortest side that SSIM can measure, in HR pixels: a multiple of the factor.

    Args:
        scale_factor: between the two resolutions.
        crop_border: whether as many pixels are cut off at each border first.
    """
    side = SSIM_WINDOW + 2 * scale_factor * crop_border
    return -(-side // scale_factor) * scale_factor


def inspect_pair(
    dataset: CheckedSet, pair: FilePair, scale_factor: int, crop_size: tuple[int, int] | None
) -> InspectedPair:
    """Decode a pair and compare what is to be compared; nothing is raised.

    Args:
        dataset, pair: what to look at.
        scale_factor: between the two resolutions.
        crop_size: height and width that an image to learn from has to hold.
    """
    image = InspectedPair(dataset, pair)
    try:
        read = _read(image)
        turned = dataset.purpose == "train"
        small = block_means(convert(read.color, np.uint8))
        image.contrast = float(luma(small).std())
        image.hashes = turned_hashes(small) if turned else perceptual_hash(small)[None]
        if crop_size is not None and turned:
            _check_size(image, scale_factor, crop_size)
        if not turned:
            _check_measurable(image, scale_factor)
        if pair.lr is not None:
            lr = read_image(pair.lr).color
            _compare(image, to_unit(read.color), to_unit(lr), scale_factor)
            _check_turn(image, small, lr)
    except ImageError as error:
        image.faults.append(("corrupt", str(error)))
    except MemoryError:
        image.faults.append(("corrupt", f"{pair.hr}: is too large to be decoded here"))
    return image


def _read(image: InspectedPair) -> Picture:
    """The HR image; what it says of itself is noted in ``image``."""
    path = image.pair.hr
    image.frames = read_header(path, pages=True).pages
    with ImageReader(path) as reader:
        header, metadata = reader.header, reader.metadata
        read = Picture.from_array(reader.read(header.height))
        image.notes = tuple(reader.notes)
    image.size = header.height, header.width
    image.kind = _kind(header.channels, header.depth, header.alpha)
    image.profile = _foreign_profile(metadata.icc)
    image.camera, image.moment = _taken(metadata.exif)
    image.quality = _jpeg_quality(path)
    return read


def _jpeg_quality(path: Path) -> float | None:
    """What libjpeg's ``jpeg_quality_scaling`` makes the first quantisation table of."""
    if path.suffix.lower() not in (".jpg", ".jpeg", ".jpe", ".jfif"):
        return None
    from PIL import Image as PillowImage
    from PIL.JpegImagePlugin import JpegImageFile

    with suppress(Exception), PillowImage.open(path) as file:  # only its header is read
        if isinstance(file, JpegImageFile):
            scale = 100 * float(sum(file.quantization[0])) / _JPEG_LUMA_SUM
            return (200 - scale) / 2 if scale <= 100 else 5000 / scale
    return None


def _taken(exif: bytes | None) -> tuple[str, float | None]:
    """The camera and the time of a photograph (EXIF 2.3: Model, DateTimeOriginal, SubSecTime)."""
    if exif is None:
        return "", None
    from PIL import Image as PillowImage

    with suppress(Exception):  # EXIF blocks are damaged in every way
        tags = PillowImage.Exif()
        tags.load(exif)
        inner = tags.get_ifd(0x8769)
        moment = datetime.strptime(str(inner[0x9003]).strip("\0 "), "%Y:%m:%d %H:%M:%S")
        fraction = float("0." + (re.sub(r"\D", "", str(inner.get(0x9291, ""))) or "0"))
        return str(tags.get(0x0110, "")), moment.replace(tzinfo=timezone.utc).timestamp() + fraction
    return "", None


def _foreign_profile(icc: bytes | None) -> str:
    """The name of an RGB profile that is not sRGB; empty for sRGB, gray, and what is damaged."""
    if icc is None or icc[16:20] != b"RGB ":
        return ""
    from PIL import ImageCms

    with suppress(ImageCms.PyCMSError, OSError):
        profile = ImageCms.ImageCmsProfile(io.BytesIO(icc))
        name = ImageCms.getProfileDescription(profile).strip()
        return "" if _SRGB.search(name) else name
    return ""


def _kind(channels: int, depth: int, alpha: bool) -> str:
    kind = ("gray" if channels == 1 else "") + (" with alpha" if alpha else "")
    return (kind + ("" if depth == 8 else f" of {depth} bits")).strip()


def _check_size(image: InspectedPair, scale_factor: int, crop_size: tuple[int, int]) -> None:
    height, width = (size // scale_factor * scale_factor for size in image.size)
    needed = max(crop_size)  # either side, for a crop may be transposed
    if min(height, width) < needed:
        image.faults.append(
            (
                "size",
                f"{image.pair.hr}: {width}x{height} pixels hold no crop of {needed}x{needed}; "
                "lower cr_patch_size or leave the image out",
            )
        )


def _check_measurable(image: InspectedPair, scale_factor: int) -> None:
    height, width = (size // scale_factor * scale_factor for size in image.size)
    least = smallest_side(scale_factor)
    if min(height, width) < least:
        text = f"leave {image.pair.hr} out: SSIM at x{scale_factor} needs {least}x{least} pixels"
        image.faults.append(("size", f"{text}, and it has {width}x{height}"))


def _check_turn(image: InspectedPair, hr: Array, lr: Array) -> None:
    """LR that is turned, as where one of the two has lost its EXIF orientation, or another image.

    Args:
        image: the pair.
        hr, lr: ``(H, W, C)``, of which the first may be shrunk.
    """
    if min(lr.shape[:2]) < _LEAST_TURNED or image.contrast < FLAT:
        return
    own = perceptual_hash(convert(lr, np.uint8))
    as_it_is, *turned = (int((own != other).sum()) for other in turned_hashes(hr))
    name, original = image.pair.lr, image.pair.hr
    if as_it_is > LIMIT and min(turned) <= LIMIT:
        text = f"turn or flip {name}: it lies another way than {original}; has it lost its EXIF"
        image.faults.append(("pairing", f"{text} orientation?"))
    elif as_it_is >= _UNALIKE and not image.faults:
        text = f"replace {name}: it shows another picture than {original}"
        image.faults.append(("pairing", text))


def _compare(image: InspectedPair, hr: Array, lr: Array, scale_factor: int) -> None:
    """Size, shift and colours of a pair."""
    wanted = tuple(size // scale_factor for size in hr.shape[:2])
    if lr.shape[:2] != wanted:
        image.faults.append(
            (
                "scale",
                f"{image.pair.lr}: {lr.shape[1]}x{lr.shape[0]} pixels; of {hr.shape[1]}x"
                f"{hr.shape[0]} it should be {wanted[1]}x{wanted[0]} at x{scale_factor}",
            )
        )
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
    """The middle of LR, and what it should be: all of a large image would take long to shrink."""
    height, width = lr.shape[:2]
    side = REGION + 2 * _EDGE
    top, left = (max(0, (size - side) // 2) for size in (height, width))
    bottom, right = min(top + side, height), min(left + side, width)
    s = scale_factor
    expected = np.clip(downscale(hr[s * top : s * bottom, s * left : s * right], s), 0, 1)
    inner = tuple(
        slice(_EDGE if start else 0, -_EDGE if stop < size else None)
        for start, stop, size in ((top, bottom, height), (left, right, width))
    )  # where a cut was made, the filter saw another edge
    return lr[top:bottom, left:right][inner], expected[inner]

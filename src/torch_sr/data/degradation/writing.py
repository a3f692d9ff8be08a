"""Write a data set of degraded pairs to a folder: ``torch-sr data degrade``.

The PNG files in ``OUT/HR`` and ``OUT/LR`` have the same names, so that the folder is a data set of
pairs, and ``OUT/degradation.json`` records how they were made. The random numbers of a pair depend
only on the seed, the name of the image and the number of the copy. The same call therefore writes
the same bytes, and adding or removing images does not change the other pairs.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from torch_sr.aliases import Array, Progress
from torch_sr.config import DegradationConfig
from torch_sr.data.cached_images import cancelling_pool
from torch_sr.data.crops.geometry import Place, draw_place
from torch_sr.data.degradation import Degradation
from torch_sr.data.degradation.jpeg import compress_levels
from torch_sr.data.degradation.levels import to_levels, to_unit
from torch_sr.data.degradation.noise import add_gaussian_noise
from torch_sr.data.image_pairs import ImagePairs, open_pairs
from torch_sr.data.sets.image_files import list_images
from torch_sr.data.sets.resolve import resolve
from torch_sr.data.sets.table import Purpose
from torch_sr.errors import DataError
from torch_sr.files import atomic_write, explain
from torch_sr.images import Image, convert, write_image
from torch_sr.machine import usable_cpus

RECORD = "degradation.json"
HR, LR = "HR", "LR"
_MOST_THREADS = 4  # each needs copies of an image in float32

Rng = np.random.Generator
_Job = tuple[int, str, Rng]
"""Index of an image, name of the files, random generator."""
_Maker = Callable[[int, Rng], tuple[Array, Array]]
"""Makes LR and HR from the index of an image and a random generator."""
_Degrade = Callable[[int, Place, Rng], tuple[Array, Array]]
"""The same for a part of the image."""


@dataclass(frozen=True)
class NoiseAndJPEG:
    """A plain degradation of LR: Gaussian noise, then JPEG compression.

    Args:
        noise: standard deviation on the scale of 0 to 255; 0 for no noise.
        jpeg: quality of the compression, 1 to 100; None for no compression.
    """

    noise: float = 0.0
    jpeg: int | None = None

    def __call__(self, lr: Array, rng: Rng) -> Array:
        """Degrade ``(H, W, C)`` uint8, gray or RGB."""
        if self.noise:
            lr = to_levels(add_gaussian_noise(to_unit(lr), self.noise, rng))
        return lr if self.jpeg is None else compress_levels(lr, self.jpeg)


def degrade_set(
    spec: str,
    out: Path,
    how: DegradationConfig | NoiseAndJPEG,
    *,
    data_root: Path,
    scale_factor: int = 4,
    purpose: Purpose = "test",
    channels: int | None = None,
    crop: int | None = None,
    per_image: int = 1,
    seed: int = 0,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> int:
    """Write degraded pairs of a data set; each file is written completely or not at all.

    Args:
        spec: high-resolution images, such as ``bsds500:val`` or a folder.
        out: the new folder.
        how: a configuration degrades the HR of every image, regardless of its ``probability``;
            :class:`NoiseAndJPEG` degrades the LR of the data set, or bicubic LR if it has none.
        data_root: folder of the data sets.
        scale_factor: between HR and LR.
        purpose, channels: see :func:`~torch_sr.data.image_pairs.open_pairs`.
        crop: side of random crops of HR, in pixels; None takes whole images.
        per_image: number of pairs for each image, drawn independently.
        seed: the seed of all random numbers.
        overwrite: replace the images of an earlier call in ``out``.
        progress: called with the number of pairs written and their total number.

    Returns:
        the number of pairs that were written.

    Raises:
        DataError: the data set is missing or unusable, an image is smaller than the crop, or the
            folder cannot be written to or contains other files.
        ImageError: an image cannot be read or written.
    """
    sources = [pair.hr for pair in resolve(spec, data_root, scale_factor, purpose)]
    _check_folder(out, sources, overwrite=overwrite)
    pairs = open_pairs(
        [spec],
        data_root=data_root,
        scale_factor=scale_factor,
        purpose=purpose,
        channels=channels,
        decode=False,
    )
    if crop is not None:
        _check_crop(pairs, crop)
    jobs = _list_jobs(pairs.names, per_image, seed)
    drawn = {"crop": crop, "per_image": per_image, "seed": seed}
    record = {"source": spec, "scale_factor": scale_factor, **drawn, **_describe(how)}
    record["pairs"] = len(jobs)
    _prepare(out, {**record, "complete": False})
    work = _writer(out, _build_maker(pairs, how, crop))
    with cancelling_pool(min(_MOST_THREADS, usable_cpus())) as pool:
        for done, _ in enumerate(pool.map(work, jobs), start=1):
            if progress is not None:
                progress(done, len(jobs))
    _write_record(out, {**record, "complete": True})
    return len(jobs)


def _build_maker(
    pairs: ImagePairs, how: DegradationConfig | NoiseAndJPEG, crop: int | None
) -> _Maker:
    """A function that makes LR ``(H, W, C)`` uint8 and its HR; crops are degraded with a margin."""
    scale = pairs.scale_factor
    if isinstance(how, DegradationConfig):
        degrade = _degrade_hr(pairs, how)
    else:
        degrade = _degrade_lr(pairs, how)

    def make(index: int, rng: Rng) -> tuple[Array, Array]:
        size = pairs.lr_size(index)
        place = Place(0, 0, *size)
        if crop is not None:
            place = draw_place(size, (crop // scale, crop // scale), "none", rng)
        larger, inner = place.widen(size, rng)
        lr, hr = degrade(index, larger, rng)
        return inner.cut(lr), inner.cut(hr, scale)

    return make


def _degrade_hr(pairs: ImagePairs, config: DegradationConfig) -> _Degrade:
    degradation = Degradation(config, pairs.scale_factor)

    def degrade(index: int, place: Place, rng: Rng) -> tuple[Array, Array]:
        target = degradation.target(place.cut(pairs.hr(index), pairs.scale_factor))
        return degradation(target, rng), target

    return degrade


def _degrade_lr(pairs: ImagePairs, how: NoiseAndJPEG) -> _Degrade:
    def degrade(index: int, place: Place, rng: Rng) -> tuple[Array, Array]:
        lr, hr = pairs[index]
        return how(convert(place.cut(lr), np.uint8), rng), place.cut(hr, pairs.scale_factor)

    return degrade


def _writer(out: Path, make: _Maker) -> Callable[[_Job], None]:
    def write(job: _Job) -> None:
        index, file_name, rng = job
        try:
            lr, hr = make(index, rng)
        except DataError as error:  # for example too many pixels for JPEG
            raise DataError(f"{Path(file_name).stem}: {error}") from error
        for folder, image in ((HR, hr), (LR, lr)):
            write_image(out / folder / file_name, Image.from_array(image))

    return write


def _list_jobs(names: Sequence[str], copies: int, seed: int) -> list[_Job]:
    """All pairs to be written, in order."""
    return [
        (index, file_name, _generator(seed, name, copy))
        for index, name in enumerate(_file_names(names))
        for copy, file_name in enumerate(_copies(name, copies))
    ]


def _generator(seed: int, name: str, copy: int) -> Rng:
    """The random generator of one pair."""
    digest = hashlib.sha256(name.encode(errors="surrogateescape")).digest()
    return np.random.default_rng((seed, int.from_bytes(digest[:8], "little"), copy))


def _file_names(names: Sequence[str]) -> list[str]:
    """Distinct names of files without their suffix: ``label/a/1`` becomes ``a_1``."""
    taken: set[str] = set()
    found = []
    for name in names:
        plain = name.partition("/")[2].replace("/", "_")
        number, unique = 1, plain
        while unique.casefold() in taken:
            number += 1
            unique = f"{plain}-{number}"
        taken.add(unique.casefold())
        found.append(unique)
    return found


def _copies(name: str, copies: int) -> list[str]:
    """``a.png``, or ``a_01.png`` to ``a_10.png``."""
    if copies == 1:
        return [f"{name}.png"]
    digits = len(str(copies))
    return [f"{name}_{number:0{digits}d}.png" for number in range(1, copies + 1)]


def _check_crop(pairs: ImagePairs, crop: int) -> None:
    scale = pairs.scale_factor
    if crop % scale:
        nearest = max(scale, (crop + scale // 2) // scale * scale)
        raise DataError(
            f"crop {crop}: choose a multiple of the scale factor {scale}, such as {nearest}"
        )
    for index, name in enumerate(pairs.names):
        height, width = (scale * side for side in pairs.lr_size(index))
        if min(height, width) < crop:
            raise DataError(
                f"{name}: choose a smaller crop, or leave the image out; {width}x{height} pixels "
                f"are fewer than {crop}x{crop}"
            )


def _check_folder(out: Path, sources: Iterable[Path], *, overwrite: bool) -> None:
    """Refuse a folder that contains the originals, or files that an earlier call did not write."""
    place = Path(os.path.realpath(out))
    for source in sources:
        if place in Path(os.path.realpath(source)).parents:
            raise DataError(f"{out}: choose another folder; the original {source} is in it")
    try:
        there = out.exists() and any(out.iterdir())
    except OSError as error:
        raise DataError(f"{out}: {explain(error)}") from error
    if there and not (out / RECORD).is_file():
        raise DataError(f"{out}: choose another folder; it contains other files")
    if there and not overwrite:
        raise DataError(f"{out} exists; --overwrite replaces it, or choose another folder")


def _prepare(out: Path, record: Mapping[str, Any]) -> None:
    """Create the folders and their record, and remove the images of an earlier call."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        _write_record(out, record)  # first, so that the folder is marked if this run is killed
        for folder in (out / HR, out / LR):
            folder.mkdir(exist_ok=True)
            for file in list_images(folder):
                file.unlink()
    except OSError as error:
        raise DataError(f"{out}: {explain(error)}") from error


def _write_record(out: Path, record: Mapping[str, Any]) -> None:
    with atomic_write(out / RECORD) as temporary:
        temporary.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def _describe(how: DegradationConfig | NoiseAndJPEG) -> dict[str, Any]:
    """How LR is made, as JSON."""
    if isinstance(how, NoiseAndJPEG):
        return asdict(how)
    return {"degradation": how.model_dump(mode="json", exclude={"probability"})}

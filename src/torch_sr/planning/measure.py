"""Measure the constants of this machine: speed of a model, and of reading and writing images.

Everything runs once before it is timed; the best of a few rounds counts. Except for networks on a
GPU, the times are those that processor cores were busy, so other programs hardly affect them.
"""

from __future__ import annotations

import datetime
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from torch_sr.aliases import Array, Floats
from torch_sr.images import Image, read_image, write_image
from torch_sr.inference.upscaler import Upscaler
from torch_sr.models.model import Model
from torch_sr.planning.constants import Constant
from torch_sr.planning.costs import computed_pixels
from torch_sr.planning.workload import FORMATS, NetworkCost

_ROUNDS = 3
_SIZE = (256, 384)  # height and width of the made image
_TILE_PIXELS = 1e9  # the images are small enough for one tile


@dataclass(frozen=True)
class Photo:
    """An image to measure with.

    Args:
        source: its pixels, as they are read.
        result: super-resolved.
    """

    source: Image
    result: Image


class Enlarge:
    """An engine that repeats pixels: what remains is the time of everything but the network."""

    img_channels = 3
    tile_area = 1 << 30
    tiles_redone = 0

    def __init__(self, scale_factor: int) -> None:
        self.scale_factor = scale_factor

    def __call__(self, lr: Floats) -> Array:
        """Repeat each pixel."""
        return lr.repeat(self.scale_factor, 2).repeat(self.scale_factor, 3)


def measure_device(
    model: Model, device: str, where: str, name: str | None = None
) -> dict[str, Constant]:
    """The speed of a model, in effective operations: two for each multiply-add.

    Args:
        model: what to compute.
        name: of the model, if not its own.
        device: ``cpu`` for one core, or as :class:`~torch_sr.Upscaler` takes it.
        where: what was measured on, for the source.

    Raises:
        DeviceError: the device is not available.
    """
    threads = 1 if device == "cpu" else None
    upscaler = Upscaler(model, device=device, threads=threads)
    cost = NetworkCost.of(model, name)
    lr = made_image(*_SIZE).color
    clock = time.process_time if device == "cpu" else time.perf_counter
    seconds = _best(lambda: upscaler.upscale(lr), clock)
    pixels = computed_pixels(*_SIZE, upscaler.border, _TILE_PIXELS)
    rate = 2 * cost.macs * pixels / (seconds - _convert_seconds(lr, cost.scale_factor)) / 1e9
    source = f"Upscaler with {cost.name}, {_SIZE[1]}x{_SIZE[0]} pixels, {where}"
    return {f"speed.{device}.{cost.name}": _constant(rate, "GFLOP/s", source)}


def measure_files(photos: Sequence[Photo], where: str) -> dict[str, Constant]:
    """Seconds of a core, and bytes, for a megapixel of each format; and of conversions.

    Args:
        photos: to read and write; times and sizes are sums over them.
        where: what was measured on, for the source.
    """
    found = {}
    scale = photos[0].result.width // photos[0].source.width
    sources, results = ([getattr(photo, name) for photo in photos] for name in ("source", "result"))
    convert = sum(_convert_seconds(image.color, scale) for image in sources)
    found["convert"] = _constant(convert / _megapixels(results), "s/MP", where)
    with TemporaryDirectory(prefix="torch-sr-") as folder:
        for suffix in FORMATS:
            written = list(_write_all(sources, Path(folder, f"source.{suffix}")))
            encoded = list(_write_all(results, Path(folder, f"result.{suffix}")))
            rows = {
                "source_bytes": (_sum(written, 1) / _megapixels(sources) / 1e6, "bytes/pixel"),
                "result_bytes": (_sum(encoded, 1) / _megapixels(results) / 1e6, "bytes/pixel"),
                "decode": (_sum(written, 2) / _megapixels(sources), "s/MP"),
                "encode": (_sum(encoded, 0) / _megapixels(results), "s/MP"),
            }
            for name, (value, unit) in rows.items():
                found[f"format.{suffix}.{name}"] = _constant(value, unit, where)
    return found


def made_photo(scale_factor: int) -> Photo:
    """An image with the structure of photographs, and an enlarged one."""
    source = made_image(*_SIZE)
    height, width = (side * scale_factor for side in _SIZE)
    return Photo(source, made_image(height, width))


def made_image(height: int, width: int) -> Image:
    """Random shapes of all sizes: the power falls with the frequency, as in photographs.

    >>> made_image(4, 6).color.shape
    (4, 6, 3)
    """
    rng = np.random.default_rng(0)
    spectrum = np.fft.rfft2(rng.standard_normal((3, height, width)))
    down, across = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None]
    frequency = np.maximum(np.hypot(down, across), 1 / max(height, width))
    waves = np.fft.irfft2(spectrum / frequency**1.5, s=(height, width))
    low, high = np.percentile(waves, [1, 99])
    pixels = np.clip((waves - low) / max(high - low, 1e-9) * 255, 0, 255)
    return Image.from_array(pixels.transpose(1, 2, 0).astype(np.uint8))


def _write_all(images: Sequence[Image], path: Path) -> Iterator[tuple[float, int, float]]:
    """For each image: seconds to write it, its bytes, and seconds to read it."""
    for image in images:
        encode = _best(lambda image=image: write_image(path, image))  # type: ignore[misc]
        size = path.stat().st_size
        yield encode, size, _best(lambda: read_image(path))


def _convert_seconds(lr: Array, scale_factor: int) -> float:
    """Seconds for everything in an upscaler but its network."""
    upscaler = Upscaler(Enlarge(scale_factor), overlap=12)
    return _best(lambda: upscaler.upscale(lr))


def _best(function: Callable[[], object], clock: Callable[[], float] = time.process_time) -> float:
    function()
    seconds = []
    for _ in range(_ROUNDS):
        start = clock()
        function()
        seconds.append(clock() - start)
    return min(seconds)


def _megapixels(images: Sequence[Image]) -> float:
    return sum(image.height * image.width for image in images) / 1e6


def _sum(rows: Sequence[tuple[float, ...]], column: int) -> float:
    return sum(row[column] for row in rows)


def _constant(value: float, unit: str, source: str) -> Constant:
    today = datetime.date.today().isoformat()
    return Constant(float(f"{value:.4g}"), unit, "measured", source, today)

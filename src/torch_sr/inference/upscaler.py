"""START HERE: how an image becomes a super-resolved image.

read -> tiles -> ``backend(lr) -> sr`` -> blend -> write. The result is made as a sequence of row
bands, each final when it is yielded, so memory holds one row of tiles whatever the height.

Nothing here prints, and one :class:`Upscaler` may be used by several threads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from torch_sr.errors import ConfigError
from torch_sr.images import Image, check_writable, from_unit, read_image, to_nchw, write_image
from torch_sr.inference.backends import Backend
from torch_sr.inference.backends.pytorch import PyTorchBackend
from torch_sr.models.loading import GeneratorInfo, load_generator
from torch_sr.models.weights import model_path
from torch_sr.tiling import Span, spans

Array = npt.NDArray[Any]
Progress = Callable[[int, int], None]
"""Called with the tiles done and the tiles in all."""

DEFAULT_MODEL = "compact-x4"
DEFAULT_OVERLAP = 16


class Upscaler:
    """Super-resolve images with one model.

    Args:
        model: the name of a shipped model, the path of a weights file, or an engine of your own,
            to which ``device`` and ``precision`` then do not apply.
        device: ``auto`` (cuda, mps, cpu: the first there is), or one of them.
        precision: ``auto``, ``fp32``, ``bf16`` or ``fp16``.
        tile_size: the largest square, in low-resolution pixels, that the network sees at once;
            by default what suits the device. Smaller needs less memory.
        overlap: context, in low-resolution pixels, on each inner side of a tile. 16 makes seams
            invisible with the networks measured.

    Raises:
        ModelError: when the model is unknown or unreadable.
        DeviceError: when device or precision is not available.
        ConfigError: for a tile size below 1 or an overlap below 0.
    """

    def __init__(
        self,
        model: str | Path | Backend = DEFAULT_MODEL,
        *,
        device: str = "auto",
        precision: str = "auto",
        tile_size: int | None = None,
        overlap: int = DEFAULT_OVERLAP,
    ) -> None:
        if (tile_size is not None and tile_size < 1) or overlap < 0:
            raise ConfigError(
                f"tile_size is {tile_size} and overlap {overlap}; tiles have at least 1 pixel and "
                "overlap at least 0"
            )
        self.info: GeneratorInfo | None = None
        if isinstance(model, (str, Path)):
            loaded = load_generator(model_path(model))
            self.info = loaded.info
            model = PyTorchBackend(
                loaded.network,
                loaded.info.scale_factor,
                loaded.info.img_channels,
                device,
                precision,
            )
        self._backend = model
        self.scale_factor = model.scale_factor
        self.overlap = overlap
        self.tile_size = tile_size or model.tile_size

    def upscale(self, image: Array | str | Path, progress: Progress | None = None) -> Array:
        """Super-resolve pixels, or the file of that name.

        Args:
            image: ``(H, W)`` gray, ``(H, W, 1)``, ``(H, W, 3)`` RGB or ``(H, W, 2 or 4)`` with a
                straight alpha channel last; uint8, uint16 or float32 in [0, 1]. Or a path.
            progress: called after each tile.

        Returns:
            An array of the same axes, channels and dtype, ``scale_factor`` times as high and wide.

        Raises:
            ImageError: when the file cannot be read, or the array is no image.
        """
        if isinstance(image, (str, Path)):
            return self.upscale_image(read_image(image), progress).to_array()
        result = self.upscale_image(Image.from_array(image), progress).to_array()
        return result[..., 0] if image.ndim == 2 else result

    def upscale_file(
        self, source: str | Path, target: str | Path, progress: Progress | None = None
    ) -> Path:
        """Super-resolve a file into another, whose suffix chooses the format.

        Raises:
            ImageError: when the source cannot be read or the target cannot be written.
        """
        image = read_image(source)
        # What cannot be written is better known before the work than after it.
        check_writable(target, image.height * self.scale_factor, image.width * self.scale_factor)
        return write_image(target, self.upscale_image(image, progress))

    def upscale_image(self, image: Image, progress: Progress | None = None) -> Image:
        """Super-resolve colour and alpha; depth, gray and colour profile stay what they are."""
        alpha = image.alpha
        # An alpha channel that is opaque everywhere stays so: no need to compute it.
        computed = alpha is not None and bool((alpha != image.max_value).any())
        tell = _count_on(progress, 2 if computed else 1)
        color = self._upscale_pixels(image.color, tell)
        if alpha is not None and computed:
            alpha = self._upscale_pixels(alpha[..., None], tell)[..., 0]
        elif alpha is not None:
            alpha = np.full(color.shape[:2], image.max_value, dtype=alpha.dtype)
        return replace(image, color=color, alpha=alpha)

    def _upscale_pixels(self, pixels: Array, progress: Progress) -> Array:
        height, width, channels = pixels.shape
        scale = self.scale_factor
        out = np.empty((height * scale, width * scale, channels), dtype=pixels.dtype)
        top = 0
        for band in self.bands(pixels, progress):
            out[top : top + len(band)] = band
            top += len(band)
        return out

    def bands(self, pixels: Array, progress: Progress | None = None) -> Iterator[Array]:
        """Super-resolve ``(H, W, 1 or 3)`` and yield the result from top to bottom, in bands.

        Args:
            pixels: uint8, uint16 or float32 in [0, 1].
            progress: called after each tile.

        Yields:
            ``(h, W * scale_factor, C)`` of the dtype and channels of ``pixels``.
        """
        scale = self.scale_factor
        rows = spans(pixels.shape[0], self.tile_size, self.overlap)
        columns = spans(pixels.shape[1], self.tile_size, self.overlap)
        counter = count(1)

        def tile_done() -> None:
            if progress is not None:
                progress(next(counter), len(rows) * len(columns))

        carried: npt.NDArray[np.float32] | None = None
        for number, row in enumerate(rows):
            below = rows[number + 1].start if row is not rows[-1] else row.stop
            band = self._row_of_tiles(pixels[row.start : row.stop], columns, tile_done)
            band *= row.weights(scale)[:, None, None]
            if carried is not None:
                band[: len(carried)] += carried
            final = (below - row.start) * scale
            carried = band[final:].copy()
            yield from_unit(band[:final], pixels.dtype)

    def _row_of_tiles(
        self, strip: Array, columns: list[Span], tile_done: Callable[[], None]
    ) -> npt.NDArray[np.float32]:
        """Super-resolve a strip as high as a tile: ``(h * s, W * s, C)`` float32, unclamped."""
        scale = self.scale_factor
        band = np.zeros(
            (strip.shape[0] * scale, strip.shape[1] * scale, strip.shape[2]), dtype=np.float32
        )
        for column in columns:
            tile = self._super_resolve(strip[:, column.start : column.stop])
            tile *= column.weights(scale)[:, None]
            band[:, column.start * scale : column.stop * scale] += tile
            tile_done()
        return band

    def _super_resolve(self, tile: Array) -> npt.NDArray[np.float32]:
        """One tile ``(h, w, 1 or 3)`` of any depth to ``(h * s, w * s, 1 or 3)`` float32."""
        sr = self._backend(_fit_channels(to_nchw(tile), self._backend.img_channels))
        if self._backend.img_channels == 1:
            sr = sr.transpose(1, 0, 2, 3)  # the channels went as images of a batch
        sr = sr[0, :3]
        if tile.shape[2] == 1:
            sr = sr.mean(axis=0, keepdims=True)
        return np.ascontiguousarray(sr.transpose(1, 2, 0))


def _fit_channels(lr: Array, img_channels: int) -> npt.NDArray[np.float32]:
    """Make ``(1, 1 or 3, H, W)`` what a network of 1, 3 or 4 channels takes."""
    if img_channels == 1:  # it knows no colour: each channel is an image of its own
        return np.ascontiguousarray(lr.transpose(1, 0, 2, 3))
    if lr.shape[1] == 1:
        lr = np.repeat(lr, 3, axis=1)
    if img_channels == 4:
        lr = np.concatenate([lr, np.ones_like(lr[:, :1])], axis=1)
    return lr


def _count_on(progress: Progress | None, passes: int) -> Progress:
    """One count over several passes of equal length."""
    finished = 0

    def tell(done: int, total: int) -> None:
        nonlocal finished
        if progress is not None:
            progress(finished * total + done, passes * total)
        finished += done == total

    return tell

"""START HERE: how an image becomes a super-resolved image.

read -> tiles -> ``backend(lr) -> sr`` -> blend -> write. The result is made as a sequence of row
bands, each final when it is yielded, so memory holds one row of tiles whatever the height.

Nothing here prints, and one :class:`Upscaler` may be used by several threads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from torch_sr.images import Image, from_nchw, read_image, to_nchw, write_image
from torch_sr.inference.backends import Backend
from torch_sr.inference.backends.pytorch import PyTorchBackend
from torch_sr.models.loading import load_generator
from torch_sr.models.weights import model_path
from torch_sr.tiling import Span, spans

Array = npt.NDArray[Any]
Progress = Callable[[int, int], None]
"""Called with the tiles done and the tiles in all."""

DEFAULT_MODEL = "compact-x4"
DEFAULT_OVERLAP = 16
_TILE_SIZES = {"cpu": 192, "mps": 256, "cuda": 512}


class Upscaler:
    """Super-resolve images with one model.

    Args:
        model: the name of a shipped model or the path of a weights file.
        device: ``auto`` (cuda, mps, cpu: the first there is), or one of them.
        precision: ``auto``, ``fp32``, ``bf16`` or ``fp16``.
        tile_size: the largest square, in low-resolution pixels, that the network sees at once;
            by default what suits the device. Smaller needs less memory.
        overlap: context, in low-resolution pixels, on each inner side of a tile. 16 makes seams
            invisible with the networks measured.

    Raises:
        ModelError: when the model is unknown or unreadable.
        DeviceError: when device or precision is not available.
    """

    def __init__(
        self,
        model: str | Path = DEFAULT_MODEL,
        *,
        device: str = "auto",
        precision: str = "auto",
        tile_size: int | None = None,
        overlap: int = DEFAULT_OVERLAP,
    ) -> None:
        loaded = load_generator(model_path(model))
        self.info = loaded.info
        backend = PyTorchBackend(
            loaded.network, loaded.info.scale_factor, loaded.info.img_channels, device, precision
        )
        self.device = str(backend.device)
        self.precision = backend.precision
        self.scale_factor = backend.scale_factor
        self.tile_size = tile_size or _TILE_SIZES[backend.device.type]
        self.overlap = overlap
        self._backend: Backend = backend

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
        return write_image(target, self.upscale_image(read_image(source), progress))

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
        return np.concatenate(list(self.bands(pixels, progress)), axis=0)

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
        tell = progress or (lambda done, total: None)
        carried: npt.NDArray[np.float32] | None = None
        for number, row in enumerate(rows):
            band = self._row_of_tiles(
                pixels[row.start : row.stop],
                columns,
                lambda done, base=number * len(columns): tell(  # type: ignore[misc]
                    base + done, len(rows) * len(columns)
                ),
            )
            band *= row.weights(scale)[:, None, None]
            if carried is not None:
                band[: len(carried)] += carried
            final = (row.stop - row.start - row.shared_after) * scale
            carried = band[final:].copy()
            yield from_nchw(band[:final].transpose(2, 0, 1)[None], pixels.dtype)

    def _row_of_tiles(
        self, strip: Array, columns: list[Span], tell: Callable[[int], None]
    ) -> npt.NDArray[np.float32]:
        """Super-resolve a strip as high as a tile: ``(h * s, W * s, C)`` float32, unclamped."""
        scale = self.scale_factor
        band = np.zeros(
            (strip.shape[0] * scale, strip.shape[1] * scale, strip.shape[2]), dtype=np.float32
        )
        for done, column in enumerate(columns, start=1):
            tile = self._super_resolve(strip[:, column.start : column.stop])
            band[:, column.start * scale : column.stop * scale] += (
                tile * column.weights(scale)[None, :, None]
            )
            tell(done)
        return band

    def _super_resolve(self, tile: Array) -> npt.NDArray[np.float32]:
        """One tile ``(h, w, C)`` of any dtype to ``(h * s, w * s, C)`` float32."""
        lr = to_nchw(tile)
        wanted, channels = lr.shape[1], self._backend.img_channels
        if wanted == 1 and channels > 1:
            lr = np.repeat(lr, channels, axis=1)
        elif wanted == 3 and channels == 1:
            # A gray network knows no colour: each channel is an image of its own.
            return np.concatenate(
                [self._super_resolve(tile[..., c : c + 1]) for c in range(3)], axis=-1
            )
        elif wanted == 3 and channels == 4:
            lr = np.concatenate([lr, np.ones_like(lr[:, :1])], axis=1)
        sr = self._backend(np.ascontiguousarray(lr))[0, : max(wanted, min(channels, 3))]
        if wanted == 1:
            sr = sr.mean(axis=0, keepdims=True)
        return np.ascontiguousarray(sr.transpose(1, 2, 0))


def _count_on(progress: Progress | None, passes: int) -> Progress:
    """One count over several passes of equal length."""
    if progress is None:
        return lambda done, total: None
    finished = 0

    def tell(done: int, total: int) -> None:
        nonlocal finished
        progress(finished * total + done, passes * total)
        finished += done == total

    return tell

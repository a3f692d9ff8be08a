"""START HERE: how an image becomes a super-resolved image.

read -> tiles -> ``engine(lr) -> sr`` -> blend -> write. Rows come from the top and go out from
the top: at any time memory holds one row of tiles, whatever the height of the picture.

::

    arrays.py          arrays, tensors, Pillow images and bytes <-> batches of pixels
    file_upscaling.py  a file -> a file, page by page
    borders.py         a picture continued beyond its borders
    tiles.py           the tiles of a picture, computed and joined
    transparency.py    colours under and around what is transparent
    ensemble.py        the mean over flips and turns

Nothing here prints, and one :class:`Upscaler` may be used by several threads.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from torch_sr.aliases import Array, OnNote, Progress
from torch_sr.devices import choose_device, choose_precision
from torch_sr.errors import ConfigError, DeviceError, ImageError, ModelError
from torch_sr.images import (
    MAX_PIXELS,
    Header,
    Image,
    WriteOptions,
    display_name,
    read_image,
    refuse_existing,
)
from torch_sr.inference.arrays import as_file, to_batch
from torch_sr.inference.borders import MirroredRows, ReadRows, cut_borders
from torch_sr.inference.engines import Engine
from torch_sr.inference.engines.pytorch import PyTorchEngine
from torch_sr.inference.ensemble import SelfEnsemble
from torch_sr.inference.files.upscaling import TargetSize, convert_file
from torch_sr.inference.tiles import Strips, Tiles
from torch_sr.models.loading import GeneratorInfo
from torch_sr.models.strength import choose_model, load

_log = logging.getLogger(__name__)


class Upscaler:
    """Super-resolve images with one model.

    Args:
        model: the name of a model that ships or is fetched on first use, the path of a weights
            file, or an engine of your own, to which ``device``, ``precision`` and ``strength`` do
            not apply. By default the shipped pair of models, at its default strength.
        strength: of the two models of a pair, 0 for the faithful one, 1 for the one that restores
            photographs, or between them: their weights are interpolated, once. A model that is
            named without it is taken as it is.
        device: ``auto`` (cuda, mps, cpu: the first there is), or one of them.
        precision: ``auto``, ``fp32``, ``bf16`` or ``fp16``.
        tile_size: the largest square, in low-resolution pixels, that the network sees at once;
            by default what suits device and free memory.
        overlap: context, in low-resolution pixels, on each inner side of a tile; by default what
            the network needs, which is measured on first use.
        border: pixels by which a picture is mirrored beyond its borders before the network sees it;
            by default as many as ``overlap``. 0 gives the network the bare picture, whose borders
            it then changes, as it is done where papers measure.
        tta: take the mean over the eight flips and quarter turns; eight times slower.

    Raises:
        ModelError: when the model is unknown or unreadable, ``strength`` is outside [0, 1], or
            the model has no partner.
        DownloadError: when it cannot be fetched.
        DeviceError: when device or precision is not available.
        ConfigError: for a tile size below 1, or an overlap or border below 0.

    >>> upscaler = Upscaler("compact-x4", device="cpu")
    >>> upscaler.upscale(np.zeros((8, 9, 3), dtype=np.uint8)).shape
    (32, 36, 3)
    >>> Upscaler("compact-x4", strength=0.7, device="cpu").info.strength
    0.7
    """

    def __init__(
        self,
        model: str | Path | Engine | None = None,
        *,
        strength: float | None = None,
        device: str = "auto",
        precision: str = "auto",
        tile_size: int | None = None,
        overlap: int | None = None,
        border: int | None = None,
        tta: bool = False,
    ) -> None:
        for name, value, least in (
            ("tile_size", tile_size, 1),
            ("overlap", overlap, 0),
            ("border", border, 0),
        ):
            if value is not None and value < least:
                raise ConfigError(f"{name} must be at least {least}, not {value}")
        self.info: GeneratorInfo | None = None
        if model is None or isinstance(model, (str, Path)):
            choice = choose_model(model, strength)
            loaded = load(choice.model, strength=choice.strength)
            self.info = loaded.info
            model = PyTorchEngine(
                loaded.network,
                loaded.info.scale_factor,
                loaded.info.img_channels,
                device,
                _permitted(precision, device, loaded.info),
                large_tiles=loaded.info.tiling != "free",
            )
        elif strength is not None:
            raise ModelError(f"strength {strength:g}: leave it out, an engine has no partner")
        self._engine: Engine = SelfEnsemble(model) if tta else model
        # What is measured sees one orientation, and so it is done quickly.
        self._tiles = Tiles(self._engine, model, self._tiling, overlap)
        self._precision = precision
        self.scale_factor = model.scale_factor
        self.tile_size = tile_size
        self._border = border

    def _tiling(self) -> str:
        return self.info.tiling if self.info is not None else "free"

    @property
    def overlap(self) -> int:
        """Context on each inner side of a tile, in low-resolution pixels."""
        return self._tiles.overlap

    @property
    def border(self) -> int:
        """Low-resolution pixels by which a picture is mirrored beyond its borders.

        0 for networks that cut and pad their input by themselves.
        """
        if self.info is not None and self.info.tiling == "never":
            return 0
        return self.overlap if self._border is None else self._border

    @property
    def fingerprint(self) -> str:
        """What results depend on beside the picture; empty for an engine of one's own."""
        if self.info is None:
            return ""
        found = [f"{file.resolve()} {_version_of(file)}" for file in self.info.files]
        if self.info.mixed_with is not None:
            found.append(f"strength {self.info.strength!r}")
        settings = (type(self._engine).__name__, self._precision, self.tile_size, self._border)
        return " ".join([*found, str(settings)])

    @property
    def tiles_redone(self) -> int:
        """How many tiles were not finite in half precision and were computed again in full."""
        return self._engine.tiles_redone

    def upscale(self, image: Any, progress: Progress | None = None) -> Any:
        """Super-resolve a picture, or several.

        Args:
            image: one of these; a last channel of 2 or 4 is straight alpha.

                - NumPy ``(H, W)``, ``(H, W, 1 to 4)``, or a batch ``(N, H, W, 1 to 4)``: uint8,
                  uint16, or floats in [0, 1]; what is slightly outside is clipped
                - PyTorch ``(1 to 4, H, W)`` or ``(N, 1 to 4, H, W)``, of these types
                - a Pillow image
                - a path, the bytes of an image file, or a binary file object, each of which gives
                  an array ``(H, W, 1 to 4)`` of the file's own depth
                - a list or tuple of these, which gives a list
            progress: called after each tile.

        Returns:
            The same kind of picture, ``scale_factor`` times as high and wide.

        Raises:
            ImageError: when the file cannot be read, it is not an image, or its values are NaN,
                infinite or far outside [0, 1].
            DeviceMemoryError: when not even the smallest tile fits.

        >>> import torch
        >>> upscaler = Upscaler("compact-x4", device="cpu")
        >>> upscaler.upscale(torch.rand(2, 3, 8, 8)).shape
        torch.Size([2, 3, 32, 32])
        """
        if isinstance(image, (list, tuple)):
            return [self.upscale(each, progress) for each in image]
        if isinstance(image, (str, Path)):
            sr = self.upscale_image(read_image(image, strictly=True), progress)
            pixels = sr.to_array()
            return pixels if sr.values is None else sr.values.restore(pixels, sr.channels)
        if isinstance(image, (bytes, bytearray, memoryview)) or hasattr(image, "read"):
            with as_file(image) as path:
                return self.upscale(path, progress)
        batch, restore = to_batch(image)
        return restore(self._upscale_batch(batch, progress))

    def upscale_image(self, image: Image, progress: Progress | None = None) -> Image:
        """Super-resolve colour and alpha; depth, gray and metadata stay what they are."""
        sr = Image.from_array(self._upscale_batch(image.to_array()[None], progress)[0])
        return replace(image, color=sr.color, alpha=sr.alpha)

    def upscale_file(
        self,
        source: str | Path,
        target: str | Path,
        progress: Progress | None = None,
        *,
        options: WriteOptions | None = None,
        size: TargetSize | None = None,
        max_pixels: int | None = MAX_PIXELS,
        overwrite: bool = False,
        on_note: OnNote | None = None,
        damaged: str = "refuse",
    ) -> Path:
        """Super-resolve a file into another, neither of which has to fit in memory.

        Animations and documents of several pages stay so where the target's format can hold them;
        of others the first page is taken.

        Args:
            source, target: the target's suffix chooses the format.
            progress: called after each tile.
            options: format and quality.
            size: resample afterwards to the height and width it tells.
            max_pixels: refuse larger pages; ``None`` for no limit.
            overwrite: replace ``target`` if it exists; the source is never replaced.
            on_note: called, once the target is written, with each thing that the result could not
                keep; by default these are logged as warnings.
            damaged: ``refuse`` a damaged source, or ``keep`` what can be read of it: the rest is
                gray, and a note says how much it is.

        Raises:
            ImageError: when the source cannot be read, or the target exists or cannot be written;
                the target is checked before any pixel is computed.
        """
        _check_target(Path(source), Path(target), overwrite)
        notes = convert_file(
            source,
            target,
            self.bands,
            self.scale_factor,
            progress=progress,
            options=options or WriteOptions(),
            size=size,
            max_pixels=max_pixels,
            damaged=damaged,
        )
        for note in notes:
            if on_note is None:
                _log.warning("%s: %s", source, note)
            else:
                on_note(note)
        return Path(target)

    def bands(
        self,
        header: Header,
        read: ReadRows,
        progress: Progress | None = None,
        *,
        num_images: int = 1,
    ) -> Iterator[Array]:
        """Super-resolve rows as they come, and yield the result in bands from top to bottom.

        Args:
            header: what the rows are; of one page.
            read: gives the next rows ``(N, h, W, layers)``, uint8, uint16 or float32 in [0, 1].
            progress: called after each tile.
            num_images: N.

        Yields:
            ``(N, h, W * scale_factor, layers)`` of the same type.
        """
        mirrored = MirroredRows(header, read, self.border)
        rows, columns = self._tiles.plan(mirrored.header, num_images, self.tile_size)
        strips = Strips(mirrored.header, mirrored.read)
        counter, total = count(1), len(rows) * len(columns)

        def tile_done() -> None:
            if progress is not None:
                progress(next(counter), total)

        bands = self._tiles.join(strips.take, rows, columns, header.dtype, tile_done)
        scale = self.scale_factor
        border, height, width = (n * scale for n in (self.border, header.height, header.width))
        return cut_borders(bands, border, height, width)

    def _upscale_batch(self, batch: Array, progress: Progress | None) -> Array:
        number, height, width, layers = batch.shape
        scale = self.scale_factor
        colors = 1 if layers < 3 else 3
        header = Header(height, width, colors, batch.itemsize * 8, layers > colors)
        rows_read = 0

        def read(rows: int) -> Array:
            nonlocal rows_read
            rows_read += rows
            return batch[:, rows_read - rows : rows_read]

        out = np.empty((number, height * scale, width * scale, layers), dtype=batch.dtype)
        top = 0
        for band in self.bands(header, read, progress, num_images=number):
            out[:, top : top + band.shape[1]] = band
            top += band.shape[1]
        return out


def _version_of(file: Path) -> str:
    """Size and time of a file, which another version of it changes."""
    status = file.stat()
    return f"{status.st_size} {status.st_mtime_ns}"


def _check_target(source: Path, target: Path, overwrite: bool) -> None:
    if os.path.realpath(source) == os.path.realpath(target):
        raise ImageError(f"{display_name(target)} is the source; choose another name")
    refuse_existing(target, overwrite=overwrite)


def _permitted(precision: str, device: str, info: GeneratorInfo) -> str:
    """The precision asked for, or by ``auto`` one in which the network does not overflow.

    Raises:
        DeviceError: it would.
    """
    chosen = choose_precision(precision, choose_device(device))
    if chosen in info.precisions:
        return chosen
    if precision == "auto":
        return "bf16" if "bf16" in info.precisions else "fp32"
    raise DeviceError(
        f"{info.name} is a {info.architecture}, which does not compute in {precision}; use "
        f"{' or '.join(info.precisions)}"
    )

"""START HERE: how an image becomes a super-resolved image.

read -> tiles -> ``engine(lr) -> sr`` -> blend -> write. Rows are read and written from top to
bottom, so memory holds one row of tiles at a time, regardless of the height of the image.

::

    engine_setup.py     a name, file or network -> the engine that computes it
    arrays.py           arrays, tensors, Pillow images and bytes <-> batches of pixels
    files/upscaling.py  a file -> a file, page by page
    borders.py          mirror an image beyond its borders
    tiles.py            compute and join the tiles of an image
    transparency.py     colors of transparent pixels
    ensemble.py         the mean over flips and turns

Nothing here prints, and one :class:`Upscaler` may be used by several threads.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeAlias, TypeVar, overload

import numpy as np

from torch_sr.aliases import Array, OnNote, Progress
from torch_sr.errors import ConfigError, ImageError
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
from torch_sr.inference.engine_setup import find_engine, open_model, recorded_overlap, start_engine
from torch_sr.inference.engines import Engine
from torch_sr.inference.ensemble import SelfEnsemble
from torch_sr.inference.files.sizes import TargetSize
from torch_sr.inference.files.upscaling import convert_file
from torch_sr.inference.tiles import Strips, Tiles
from torch_sr.models.info import ModelInfo
from torch_sr.models.model import Model

if TYPE_CHECKING:
    import PIL.Image
    from torch import Tensor, nn

ImageFile: TypeAlias = str | Path | bytes | bytearray | memoryview | IO[bytes]
"""A path, the bytes of a file, or a binary file object."""
ImageT = TypeVar("ImageT", "Array", "Tensor", "PIL.Image.Image", "Image")

_log = logging.getLogger(__name__)


class Upscaler:
    """Super-resolve images with one model.

    Args:
        model: the name of a model, which is downloaded on first use if it does not ship; the path
            of a weights file; a :class:`Model`, or a bare network, which are copied and not moved;
            or an :class:`Engine`, to which ``device``, ``precision`` and ``strength`` do not
            apply. By default the shipped pair of models, at its default strength.
        scale_factor: of a bare network that is not an :class:`RRDBNet`; it takes and returns RGB.
            For other channels, pass ``Model.from_network(network, img_channels=...)``.
        strength: 0 for the faithful model of a pair, 1 for the one that restores photographs;
            in between, their weights are interpolated once. By default the named model
            itself.
        device: ``auto`` (the first available of cuda, mps, cpu), or one of them.
        precision: ``auto``, ``fp32``, ``bf16`` or ``fp16``.
        engine: ``native`` for torch-sr's own code, which computes RRDBNet and SRVGGNetCompact in
            fp32 on a CPU, faster and without PyTorch; ``torch`` for PyTorch; ``auto`` for the first
            that can. Their results differ by rounding, by about 1e-5 at most. ``ncnn`` (GPUs with
            Vulkan) and ``cuda`` (NVIDIA's, experimental) are never chosen by ``auto``; ``onnx`` is
            for ONNX files, which have no other.
        threads: processors to compute with on a CPU, by default all that may be used; of PyTorch,
            this sets the number for the whole process.
        tile_size: the largest square, in low-resolution pixels, that the network sees at once;
            by default what suits device and free memory.
        overlap: context, in low-resolution pixels, on each inner side of a tile; by default what
            the network needs, which is measured on first use.
        border: low-resolution pixels by which an image is mirrored beyond its borders before the
            network sees it; by default as many as ``overlap``. 0 gives the network the bare image,
            whose borders it then changes; papers measure in this way.
        tta: take the mean over the eight flips and quarter turns; eight times slower.
        wrap_engine: called with the engine that computes the model; returns the engine to use in
            its place, for programs that share a device.

    Raises:
        ModelError: the model is unknown or unreadable, ``strength`` is outside [0, 1], the model
            has no partner, or the scale factor of a network is missing.
        DownloadError: the model cannot be downloaded.
        DeviceError: device, precision or engine is not available.
        ConfigError: a tile size or number of threads below 1, or an overlap or border below 0.

    >>> upscaler = Upscaler("compact-x4", device="cpu")
    >>> upscaler.upscale(np.zeros((8, 9, 3), dtype=np.uint8)).shape
    (32, 36, 3)
    >>> import torch_sr
    >>> model = torch_sr.interpolate("compact-x4", "compact-x4-real", 0.8)
    >>> Upscaler(model, device="cpu").info.metadata["alpha"]
    '0.8'
    """

    def __init__(
        self,
        model: str | Path | Model | nn.Module | Engine | None = None,
        *,
        scale_factor: int | None = None,
        strength: float | None = None,
        device: str = "auto",
        precision: str = "auto",
        engine: str = "auto",
        threads: int | None = None,
        tile_size: int | None = None,
        overlap: int | None = None,
        border: int | None = None,
        tta: bool = False,
        wrap_engine: Callable[[Engine], Engine] | None = None,
    ) -> None:
        _check_settings(tile_size=tile_size, threads=threads, overlap=overlap, border=border)
        self._given = (precision, tile_size, overlap, border)
        self._model: Model | None = None
        started = find_engine(model, scale_factor, strength)
        if started is None:
            self._model = open_model(model, scale_factor, strength)
            started = start_engine(self._model, device, precision, engine, threads)
            if overlap is None:
                overlap = recorded_overlap(model, self._model, started)
        if wrap_engine is not None:
            started = wrap_engine(started)
        self.info: ModelInfo | None = None if self._model is None else self._model.info
        self._engine: Engine = SelfEnsemble(started) if tta else started
        # The overlap is measured without the ensemble, which would take eight times as long.
        self._tiles = Tiles(self._engine, started, self._tiling, overlap)
        self.scale_factor = started.scale_factor
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
        """Low-resolution pixels by which an image is mirrored beyond its borders.

        0 for networks that cut and pad their input themselves.
        """
        if self.info is not None and self.info.tiling == "never":
            return 0
        return self.overlap if self._border is None else self._border

    @property
    def fingerprint(self) -> str:
        """Identifies the model and the settings that results depend on; empty for an engine."""
        if self._model is None:
            return ""
        info = self._model.info
        network = (info.architecture, info.scale_factor, info.config)
        engine = type(self._engine).__name__
        return f"{self._model.weights_sha256} {network} {engine} {self._given}"

    @property
    def tiles_redone(self) -> int:
        """How many tiles were not finite in half precision and were recomputed in fp32."""
        return self._engine.tiles_redone

    @overload
    def upscale(self, image: ImageFile, progress: Progress | None = None) -> Image: ...

    @overload
    def upscale(self, image: ImageT, progress: Progress | None = None) -> ImageT: ...

    @overload
    def upscale(
        self,
        image: list[ImageFile] | list[str] | list[Path] | tuple[ImageFile, ...],
        progress: Progress | None = None,
    ) -> list[Image]: ...

    @overload
    def upscale(
        self, image: list[ImageT] | tuple[ImageT, ...], progress: Progress | None = None
    ) -> list[ImageT]: ...

    def upscale(self, image: Any, progress: Progress | None = None) -> Any:
        """Super-resolve an image, or several.

        Args:
            image: one of these; a last channel of 2 or 4 is straight alpha.

                - NumPy ``(H, W)``, ``(H, W, 1 to 4)``, or a batch ``(N, H, W, 1 to 4)``: uint8,
                  uint16, or floats in [0, 1]; slightly larger or smaller values are clipped
                - PyTorch ``(1 to 4, H, W)`` or ``(N, 1 to 4, H, W)``, of these types
                - a Pillow image
                - an :class:`Image`, whose EXIF, color profile and other metadata are kept
                - a path, the bytes of an image file, or a binary file object, each of which gives
                  an :class:`Image` of the depth of the file, with its metadata
                - a list or tuple of these, which gives a list
            progress: called after each tile.

        Returns:
            The same kind of image, ``scale_factor`` times as high and wide.

        Raises:
            ImageError: the file cannot be read, it is not an image, or its values are NaN,
                infinite or far outside [0, 1].
            DeviceMemoryError: not even the smallest tile fits.

        >>> import torch
        >>> upscaler = Upscaler("compact-x4", device="cpu")
        >>> upscaler.upscale(torch.rand(2, 3, 8, 8)).shape
        torch.Size([2, 3, 32, 32])
        """
        if isinstance(image, (list, tuple)):
            return [self.upscale(each, progress) for each in image]
        if isinstance(image, (str, Path)):
            return self._upscale_image(read_image(image, strictly=True), progress)
        if isinstance(image, Image):
            return self._upscale_image(image, progress)
        if isinstance(image, (bytes, bytearray, memoryview)) or hasattr(image, "read"):
            with as_file(image) as path:
                return self.upscale(path, progress)
        batch, restore = to_batch(image)
        return restore(self._upscale_batch(batch, progress))

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

        All frames or pages are converted if the target's format can hold them, otherwise the first.

        Args:
            source, target: the target's suffix chooses the format.
            progress: called after each tile.
            options: format and quality.
            size: returns the height and width that the result is resampled to.
            max_pixels: refuse larger pages; ``None`` for no limit.
            overwrite: replace ``target`` if it exists; the source is never replaced.
            on_note: called after the target is written, with a note on each thing that the result
                could not keep; by default these are logged as warnings.
            damaged: ``refuse`` a damaged source, or ``keep`` what can be read of it: the rest is
                gray, and a note says how much is missing.

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
        """Super-resolve rows as they are read, and yield the result in bands from top to bottom.

        Args:
            header: of the page whose rows are read.
            read: returns the next rows ``(N, h, W, layers)``, uint8, uint16 or float32 in [0, 1].
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

    def _upscale_image(self, image: Image, progress: Progress | None) -> Image:
        """Super-resolve color and alpha; depth, gray and metadata stay what they are."""
        sr = Image.from_array(self._upscale_batch(image.to_array()[None], progress)[0])
        return replace(image, color=sr.color, alpha=sr.alpha)

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


def _check_settings(**settings: int | None) -> None:
    for name, value in settings.items():
        least = 1 if name in ("tile_size", "threads") else 0
        if value is not None and value < least:
            raise ConfigError(f"{name} must be at least {least}, not {value}")


def _check_target(source: Path, target: Path, overwrite: bool) -> None:
    if os.path.realpath(source) == os.path.realpath(target):
        raise ImageError(f"{display_name(target)} is the source; choose another name")
    refuse_existing(target, overwrite=overwrite)

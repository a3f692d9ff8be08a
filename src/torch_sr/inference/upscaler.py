"""START HERE: how an image becomes a super-resolved image.

read -> tiles -> ``backend(lr) -> sr`` -> blend -> write. Rows come from the top and go out from
the top: at any time memory holds one row of tiles, whatever the height of the picture.

Nothing here prints, and one :class:`Upscaler` may be used by several threads.
"""

from __future__ import annotations

import logging
import math
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from torch_sr.devices import choose_device, choose_precision
from torch_sr.errors import ConfigError, DeviceError, DeviceMemoryError, ImageError
from torch_sr.images import (
    MAX_PIXELS,
    Header,
    Image,
    ImageReader,
    ImageWriter,
    WriteOptions,
    can_differ,
    display_name,
    from_unit,
    holds_pages,
    open_document,
    open_writer,
    read_image,
    refuse_existing,
    to_unit,
)
from torch_sr.images.documents import DocumentWriter
from torch_sr.images.pixels import max_value
from torch_sr.inference.arrays import as_file, to_batch
from torch_sr.inference.backends import Backend
from torch_sr.inference.backends.pytorch import PyTorchBackend
from torch_sr.inference.borders import MirroredRows, ReadRows, cut_borders
from torch_sr.inference.ensemble import SelfEnsemble
from torch_sr.inference.receptive_field import measure_overlap
from torch_sr.inference.transparency import REACH, bleed, without_halo
from torch_sr.models.loading import GeneratorInfo, load_generator
from torch_sr.models.zoo import find_model
from torch_sr.tiling import Joiner, Span, plan, spans

Array = npt.NDArray[Any]
Unit = npt.NDArray[np.float32]
Progress = Callable[[int, int], None]
"""Called with the tiles done and the tiles in all."""
TargetSize = Callable[[int, int], tuple[int, int]]
"""Height and width of a picture -> of its result, by which it is resampled after the network."""
OnNote = Callable[[str], None]
"""Called with a sentence on something that the source holds and the result does not."""

DEFAULT_MODEL = "compact-x4"
_DRAWN_ROWS = 256
_log = logging.getLogger(__name__)
_BAND_BYTES = 128 * 2**20  # of the result, that a row of tiles may fill; some copies lie about


class Upscaler:
    """Super-resolve images with one model.

    Args:
        model: the name of a model that ships or is fetched on first use, the path of a weights
            file, or an engine of your own, to which ``device`` and ``precision`` do not apply.
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
        ModelError: when the model is unknown or unreadable.
        DownloadError: when it cannot be fetched.
        DeviceError: when device or precision is not available.
        ConfigError: for a tile size below 1, or an overlap or border below 0.

    >>> upscaler = Upscaler("compact-x4", device="cpu")
    >>> upscaler.upscale(np.zeros((8, 9, 3), dtype=np.uint8)).shape
    (32, 36, 3)
    """

    def __init__(
        self,
        model: str | Path | Backend = DEFAULT_MODEL,
        *,
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
        if isinstance(model, (str, Path)):
            loaded = load_generator(find_model(model))
            self.info = loaded.info
            model = PyTorchBackend(
                loaded.network,
                loaded.info.scale_factor,
                loaded.info.img_channels,
                device,
                _permitted(precision, device, loaded.info),
                large_tiles=loaded.info.tiling != "free",
            )
        self._network = model  # which sees one orientation, and so can be measured quickly
        self._backend: Backend = SelfEnsemble(model) if tta else model
        self._precision = precision
        self.scale_factor = model.scale_factor
        self.tile_size = tile_size
        self._overlap = overlap
        self._border = border
        self._measuring = threading.Lock()
        self._most: float = np.inf  # pixels of a tile, once a device has said that more do not fit

    @property
    def overlap(self) -> int:
        """Context on each inner side of a tile, in low-resolution pixels."""
        with self._measuring:
            if self._overlap is None:
                self._overlap = measure_overlap(self._network)
            return self._overlap

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
        status = self.info.path.stat()
        settings = (type(self._backend).__name__, self._precision, self.tile_size, self._border)
        return f"{self.info.path.resolve()} {status.st_size} {status.st_mtime_ns} {settings}"

    @property
    def tiles_redone(self) -> int:
        """How many tiles were not finite in half precision and were computed again in full."""
        return self._backend.tiles_redone

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
        options = options or WriteOptions()
        pages = holds_pages(target, options.format)
        scale = self.scale_factor
        drawn = size or (lambda height, width: (height * scale, width * scale))
        with ImageReader(
            source, max_pixels, pages=pages, damaged=damaged, drawing_size=drawn
        ) as reader:
            headers = _writable_pages(reader, target, options)
            writing = self._open_writer(reader, headers, target, options, size)
            with writing as writer:
                tell = _count_on(progress, len(headers))
                for header in headers:
                    for band in self._bands_of(reader, header, tell):
                        writer.write(band[0])
            notes = [*reader.notes, *writer.notes]
        for note in dict.fromkeys(notes):
            if on_note is None:
                _log.warning("%s: %s", source, note)
            else:
                on_note(note)
        return Path(target)

    def _open_writer(
        self,
        reader: ImageReader,
        headers: Sequence[Header],
        target: str | Path,
        options: WriteOptions,
        size: TargetSize | None,
    ) -> AbstractContextManager[ImageWriter | DocumentWriter]:
        """For all pages at once where they are alike, or else for one after the other."""
        if reader.drawing_size is not None:  # rendered at its size already
            return open_writer(
                target, headers[0], reader.metadata, options=options, size=reader.drawing_size
            )
        scale = self.scale_factor
        enlarged = [replace(h, height=h.height * scale, width=h.width * scale) for h in headers]
        sizes = [size(h.height, h.width) for h in headers] if size else None
        own_values = len(headers) > 1 and headers[0].depth == 32 and can_differ(target)
        if len(set(headers)) > 1 or own_values:
            return open_document(
                target, enlarged, lambda: reader.metadata, options=options, sizes=sizes
            )
        return open_writer(
            target, enlarged[0], reader.metadata, options=options, size=sizes[0] if sizes else None
        )

    def _bands_of(self, reader: ImageReader, header: Header, progress: Progress) -> Iterator[Array]:
        """The result of a page."""
        if reader.drawing_size is None:
            yield from self.bands(header, lambda n: reader.read(n)[None], progress)
            return
        for _ in range(0, header.height, _DRAWN_ROWS):
            yield reader.read(_DRAWN_ROWS)[None]
        progress(1, 1)

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
        rows, columns = self._plan(mirrored.header, num_images)
        strips = _Strips(mirrored.header, mirrored.read)
        counter, total = count(1), len(rows) * len(columns)

        def tile_done() -> None:
            if progress is not None:
                progress(next(counter), total)

        bands = self._join(strips.take, rows, columns, header.dtype, tile_done)
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

    def _plan(self, header: Header, num_images: int) -> tuple[list[Span], list[Span]]:
        """Rows and columns of tiles; the overlap is only asked for where there are several."""
        height, width = header.height, header.width
        tiling = self.info.tiling if self.info is not None else "free"
        if tiling == "never":
            return [Span(0, height)], [Span(0, width)]
        area = self._most if self.tile_size else min(self._backend.tile_area, self._most)
        area = int(min(area, self.tile_size**2 if self.tile_size else area) // num_images)
        row_bytes = num_images * width * self.scale_factor**2 * header.layers * header.depth // 8
        highest = height if tiling == "avoided" else max(1, _BAND_BYTES // row_bytes)
        side = self.tile_size or max(height, width)
        if max(height, width) <= side and height * width <= area and height <= highest:
            return [Span(0, height)], [Span(0, width)]
        if self.tile_size is None:
            return plan(height, width, self.overlap, area, highest)
        side = min(side, math.isqrt(area))
        return spans(height, side, self.overlap), spans(width, side, self.overlap)

    def _join(
        self,
        strip_of: Callable[[Span], Array],
        rows: list[Span],
        columns: list[Span],
        dtype: npt.DTypeLike,
        tile_done: Callable[[], None],
    ) -> Iterator[Array]:
        """Super-resolve tile by tile, blend them, and yield what is final after each row."""
        scale = self.scale_factor
        down = [Joiner(1, scale) for _ in columns]
        for row in rows:
            strip = strip_of(row)
            across = Joiner(2, scale)
            parts = []
            for column, joiner in zip(columns, down, strict=True):
                sr = self._super_resolve(strip[:, :, column.start : column.stop])
                parts.append(from_unit(joiner.add(row, across.add(column, sr)), dtype))
                tile_done()
            yield np.concatenate(parts, axis=2) if len(parts) > 1 else parts[0]

    def _super_resolve(self, tile: Array) -> Unit:
        """One tile ``(N, h, w, 1 to 4)`` of any depth to ``(N, h * s, w * s, …)``, unclamped."""
        layers = tile.shape[3]
        if layers in (1, 3):
            return self._run(tile)
        alpha = tile[..., -1:]
        color = self._run(tile[..., :-1])
        # Where all is opaque, or nothing to be seen, it stays so: no need to compute it.
        if (alpha == alpha.flat[0]).all() and alpha.flat[0] in (0, max_value(tile.dtype)):
            opacity = np.full((*color.shape[:3], 1), to_unit(alpha.flat[:1])[0], np.float32)
        else:
            opacity = without_halo(self._run(alpha), to_unit(alpha), self.scale_factor)
        return np.concatenate([color, opacity], axis=3)

    def _run(self, tile: Array) -> Unit:
        """Gray or colour ``(N, h, w, 1 or 3)`` to ``(N, h * s, w * s, 1 or 3)``, unclamped."""
        lr = to_unit(tile).transpose(0, 3, 1, 2)
        try:
            sr = self._backend(_fit_channels(lr, self._backend.img_channels))
        except DeviceMemoryError as error:
            return self._run_in_parts(tile, error)
        if self._backend.img_channels == 1:  # the channels went as images of a batch
            sr = sr.reshape(len(tile), -1, *sr.shape[2:])
        sr = sr[:, :3]
        if tile.shape[3] == 1 and sr.shape[1] > 1:
            sr = sr.mean(axis=1, keepdims=True)
        # A copy: blending writes into it, and an engine may give what it was given.
        return np.array(sr.transpose(0, 2, 3, 1), dtype=np.float32, order="C")

    def _run_in_parts(self, tile: Array, error: DeviceMemoryError) -> Unit:
        """Too much for the device: halve the tile, and all later ones."""
        number, height, width, _ = tile.shape
        area = height * width // 2
        if self.info is not None and self.info.tiling == "never":
            raise error
        rows, columns = plan(height, width, self.overlap, area)
        if len(rows) * len(columns) == 1:
            raise error
        self._most = min(self._most, number * area)
        parts = self._join(
            lambda row: tile[:, row.start : row.stop], rows, columns, np.float32, lambda: None
        )
        return np.concatenate(list(parts), axis=1)


class _Strips:
    """Strips of rows as high as a tile, of which each begins within the one before."""

    def __init__(self, header: Header, read: ReadRows) -> None:
        self._header = header
        self._read = read
        self._held: Array | None = None
        self._first = 0  # the row that `_held` begins with

    def take(self, span: Span) -> Array:
        """``(N, h, W, layers)``; colours are bled under what is transparent."""
        margin = REACH if self._header.alpha else 0
        top = max(0, span.start - margin)
        bottom = min(self._header.height, span.stop + margin)
        held = self._read(bottom) if self._held is None else self._held
        if (missing := bottom - self._first - held.shape[1]) > 0:
            held = np.concatenate([held, self._read(missing)], axis=1)
        self._held = held[:, top - self._first :]
        self._first = top
        strip = self._held[:, : bottom - top]
        if self._header.alpha:
            strip = bleed(strip)
        return strip[:, span.start - top : span.stop - top]


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


def _fit_channels(lr: Unit, img_channels: int) -> Unit:
    """Make ``(N, 1 or 3, H, W)`` what a network of 1, 3 or 4 channels takes."""
    if img_channels == 1:  # it knows no colour: each channel is an image of its own
        lr = lr.reshape(-1, 1, *lr.shape[2:])
    elif lr.shape[1] == 1:
        lr = np.repeat(lr, 3, axis=1)
    if img_channels == 4:
        lr = np.concatenate([lr, np.ones_like(lr[:, :1])], axis=1)
    return np.ascontiguousarray(lr)


def _writable_pages(
    reader: ImageReader, target: str | Path, options: WriteOptions
) -> Sequence[Header]:
    """The pages that the target can hold: all, or the first if they differ."""
    headers = reader.page_headers
    if len(set(headers)) == 1 or can_differ(target, options.format):
        return headers
    reader.notes.append(
        f"{Path(target).suffix or options.format} holds frames of one size and kind: the first of "
        f"{len(headers)} pages was kept"
    )
    return [replace(headers[0], pages=1)]


def _count_on(progress: Progress | None, passes: int) -> Progress:
    """One count over several passes of equal length."""
    finished = 0

    def tell(done: int, total: int) -> None:
        nonlocal finished
        if progress is not None:
            progress(finished * total + done, passes * total)
        finished += done == total

    return tell

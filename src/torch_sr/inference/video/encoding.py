"""Frames -> a piece of a video, in the colours and the timing of the source."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch_sr.aliases import Pixels
from torch_sr.errors import ImageError
from torch_sr.inference.video.codecs import FORMATS, Codec, choose_format, options
from torch_sr.inference.video.decoding import accurate
from torch_sr.inference.video.deinterlacing import PROGRESSIVE, TOP_FIRST, build_graph
from torch_sr.inference.video.looking import FULL, Look
from torch_sr.inference.video.opening import pyav, video_url

Write = Callable[[int, int, Pixels], None]
"""Takes the time and the duration of a frame, in units of its stream, and the frame."""

_GLOBAL_HEADER = 1 << 22  # the head once, not in the packets
_INTERLACED = 1 << 18
_KEEP_DURATION = 1 << 8


class Encoder:
    """Writes pieces, all alike, so that their packets can follow one another.

    Args:
        suffix: of the target.
        codec: see :func:`~torch_sr.inference.video.codecs.choose_codec`.
        look: of the source; its ``order`` tells whether frames hold half pictures.
        height, width: of the result.
        crf: see :mod:`~torch_sr.inference.video.codecs`.
    """

    def __init__(
        self, suffix: str, codec: Codec, look: Look, height: int, width: int, crf: int
    ) -> None:
        self.notes: list[str] = []
        shape = look.aspect
        if shape and shape != 1 and not codec.shape and FORMATS[suffix] in ("matroska", "webm"):
            self.notes.append(
                f"{codec.name} in {suffix} has square pixels: "
                f"the width was scaled by {shape.numerator}:{shape.denominator}"
            )
            width, shape = max(1, round(width * shape)), None
        self.codec, self.look = codec, replace(look, aspect=shape)
        self.size = height, width
        self._crf = crf
        self._format = choose_format(codec, look.chroma, look.bits, height, width)
        self.notes += self._losses(suffix)

    def _losses(self, suffix: str) -> Iterator[str]:
        layout = pyav().VideoFormat(self._format)
        bits = max(component.bits for component in layout.components)
        if bits < self.look.bits:
            yield f"{self.look.bits} bits a sample were rounded to the {bits} of {self.codec.name}"
        if self.codec.name == "AV1" and self.look.chroma != "420":
            yield "AV1 is written with colours at half the resolution (4:2:0)"
        if suffix == ".mov" and (self.look.side_data.stereo or self.look.side_data.spherical):
            yield "the stereo or spherical layout does not fit into .mov; write .mp4 to keep it"

    def open(self, path: Path) -> tuple[Callable[[], None], Write]:
        """Begin a piece, at time 0: what closes it, and what takes its frames."""
        os.environ.setdefault("SVT_LOG", "1")  # else SVT-AV1 lists its settings on stderr
        container = pyav().open(video_url(path), "w", format=self.codec.piece)
        stream = container.add_stream(self.codec.encoder, rate=self.look.rate or 25)
        stream.time_base = self.look.time_base
        self._set_up(stream.codec_context)
        setter = _FieldSetter(self.look.order)

        def write(time: int, duration: int, rgb: Pixels) -> None:
            frame = self._to_frame(rgb)
            frame.pts, frame.duration, frame.time_base = time, duration, self.look.time_base
            container.mux(stream.encode(setter.marked(frame)))

        def close() -> None:
            try:
                container.mux(stream.encode(None))
            finally:
                container.close()

        return close, write

    def check(self) -> None:
        """Try the encoder before the work.

        Raises:
            ImageError: it does not take pictures of this size.
        """
        os.environ.setdefault("SVT_LOG", "1")
        context = pyav().CodecContext.create(self.codec.encoder, "w")
        self._set_up(context)
        try:
            context.open()
        except pyav().error.FFmpegError as error:
            height, width = self.size
            raise ImageError(
                f"use another --codec or size: {self.codec.name} cannot be written with "
                f"{width}x{height} pixels ({error.strerror})"
            ) from error

    def _set_up(self, context: Any) -> None:
        look = self.look
        context.height, context.width = self.size
        context.pix_fmt = self._format
        context.time_base = look.time_base
        # Without B-frames packets follow one another as frames do, across pieces too.
        context.max_b_frames = 0
        context.options = options(self.codec, self._crf, self._format, look.side_data)
        context.flags |= _GLOBAL_HEADER | _KEEP_DURATION
        if look.order != PROGRESSIVE and self.codec.interlaced:
            context.flags |= _INTERLACED
            if self.codec.encoder == "libx264":
                # Its threads read rows of half pictures that others have not finished yet, so
                # that each run gives other frames.
                context.thread_count = 1
        self.describe(context)

    def describe(self, context: Any) -> None:
        """Tell an encoder or a header about colours, pixels and half pictures."""
        look = self.look
        context.colorspace, context.color_range = look.matrix, look.range
        context.color_primaries, context.color_trc = look.primaries, look.transfer
        context.field_order = look.marking
        if look.rate:
            context.framerate = look.rate
        if look.aspect:
            context.sample_aspect_ratio = look.aspect

    def _to_frame(self, rgb: Pixels) -> Any:
        look = self.look
        height, width = self.size
        frame = pyav().VideoFrame.from_ndarray(rgb, "rgb48le" if look.bits > 8 else "rgb24")
        frame = frame.reformat(
            width=width,
            height=height,
            format=self._format,
            src_colorspace=look.matrix,
            dst_colorspace=look.matrix,
            src_color_range=FULL,
            dst_color_range=look.range,
            interpolation=accurate(),
        )
        frame.colorspace, frame.color_range = look.matrix, look.range
        frame.color_primaries, frame.color_trc = look.primaries, look.transfer
        return frame


class _FieldSetter:
    """Marks frames as half pictures in an order; PyAV cannot, but a filter of ffmpeg does."""

    def __init__(self, order: int) -> None:
        self._order = order
        self._graph: Any = None

    def marked(self, frame: Any) -> Any:
        if self._order == PROGRESSIVE:
            return frame
        if self._graph is None:
            mode = "tff" if self._order == TOP_FIRST else "bff"
            self._graph = build_graph(frame, [("setfield", f"mode={mode}")])
        self._graph.push(frame)
        return self._graph.pull()

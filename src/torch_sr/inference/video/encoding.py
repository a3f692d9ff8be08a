"""Frames -> a segment of the result, with the source's colors and times."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch_sr.aliases import Pixels
from torch_sr.errors import ImageError
from torch_sr.inference.video.codecs import Codec, choose_format, options
from torch_sr.inference.video.containers import CONTAINERS
from torch_sr.inference.video.decoding import accurate
from torch_sr.inference.video.deinterlacing import PROGRESSIVE, TOP_FIRST, build_graph
from torch_sr.inference.video.inspection import FULL, FrameFormat
from torch_sr.inference.video.opening import pyav, video_url
from torch_sr.inference.video.segments import Write

_GLOBAL_HEADER = 1 << 22  # the header once, not in every packet
_INTERLACED = 1 << 18
_KEEP_DURATION = 1 << 8


class Encoder:
    """Writes segments with equal settings, so that their packets can be joined.

    Args:
        suffix: of the target.
        codec: see :func:`~torch_sr.inference.video.codecs.choose_codec`.
        frame_format: of the source; its ``order`` says whether frames hold fields.
        height, width: of the result.
        crf: see :mod:`~torch_sr.inference.video.codecs`.
    """

    def __init__(
        self,
        suffix: str,
        codec: Codec,
        frame_format: FrameFormat,
        height: int,
        width: int,
        crf: int,
    ) -> None:
        self.notes: list[str] = []
        shape = frame_format.aspect
        if shape and shape != 1 and not codec.shape and CONTAINERS[suffix] in ("matroska", "webm"):
            self.notes.append(
                f"{codec.name} in {suffix} has square pixels: "
                f"the width was scaled by {shape.numerator}:{shape.denominator}"
            )
            width, shape = max(1, round(width * shape)), None
        self.codec, self.frame_format = codec, replace(frame_format, aspect=shape)
        self.size = height, width
        self._crf = crf
        self._format = choose_format(codec, frame_format.chroma, frame_format.bits, height, width)
        self.notes += self._losses(suffix)

    def _losses(self, suffix: str) -> Iterator[str]:
        name, source = self.codec.name, self.frame_format
        layout = pyav().VideoFormat(self._format)
        bits = max(component.bits for component in layout.components)
        if bits < source.bits:
            yield f"{source.bits} bits a sample were rounded to the {bits} of {name}"
        if name == "AV1" and source.chroma != "420":
            yield "AV1 is written with color at half the resolution (4:2:0)"
        if suffix == ".mov" and (source.side_data.stereo or source.side_data.spherical):
            yield "the stereo or spherical layout does not fit into .mov; write .mp4 to keep it"

    @contextmanager
    def open(self, path: Path) -> Iterator[Write]:
        """Start a segment, at time 0, and yield a function that takes its frames."""
        os.environ.setdefault("SVT_LOG", "1")  # otherwise SVT-AV1 lists its settings on stderr
        container = pyav().open(video_url(path), "w", format=self.codec.segment_container)
        stream = container.add_stream(self.codec.encoder, rate=self.frame_format.rate or 25)
        stream.time_base = self.frame_format.time_base
        self._set_up(stream.codec_context)
        setter = _FieldSetter(self.frame_format.order)

        def write(time: int, duration: int, rgb: Pixels) -> None:
            frame = self._to_frame(rgb)
            frame.pts, frame.duration, frame.time_base = time, duration, self.frame_format.time_base
            container.mux(stream.encode(setter.marked(frame)))

        try:
            yield write
            container.mux(stream.encode(None))
        except BaseException:
            with suppress(Exception):  # the first error is the one to report
                container.close()
            raise
        container.close()

    def check(self) -> None:
        """Try the encoder before the work starts.

        Raises:
            ImageError: it does not accept frames of this size.
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
        frame_format = self.frame_format
        context.height, context.width = self.size
        context.pix_fmt = self._format
        context.time_base = frame_format.time_base
        # Without B-frames packets follow one another as frames do, across segments too.
        context.max_b_frames = 0
        context.options = options(self.codec, self._crf, self._format, frame_format.side_data)
        context.flags |= _GLOBAL_HEADER | _KEEP_DURATION
        if frame_format.order != PROGRESSIVE and self.codec.interlaced:
            context.flags |= _INTERLACED
            if self.codec.encoder == "libx264":
                # Its threads read rows of fields that other threads have not finished, so
                # that results differ between runs.
                context.thread_count = 1
        self.describe(context)

    def describe(self, context: Any) -> None:
        """Set color, pixel aspect ratio and field order of an encoder or a header."""
        frame_format = self.frame_format
        context.colorspace, context.color_range = frame_format.matrix, frame_format.range
        context.color_primaries, context.color_trc = frame_format.primaries, frame_format.transfer
        context.field_order = frame_format.marking
        if frame_format.rate:
            context.framerate = frame_format.rate
        if frame_format.aspect:
            context.sample_aspect_ratio = frame_format.aspect

    def _to_frame(self, rgb: Pixels) -> Any:
        frame_format = self.frame_format
        height, width = self.size
        frame = pyav().VideoFrame.from_ndarray(rgb, "rgb48le" if frame_format.bits > 8 else "rgb24")
        frame = frame.reformat(
            width=width,
            height=height,
            format=self._format,
            src_colorspace=frame_format.matrix,
            dst_colorspace=frame_format.matrix,
            src_color_range=FULL,
            dst_color_range=frame_format.range,
            interpolation=accurate(),
        )
        frame.colorspace, frame.color_range = frame_format.matrix, frame_format.range
        frame.color_primaries, frame.color_trc = frame_format.primaries, frame_format.transfer
        return frame


class _FieldSetter:
    """Marks frames as interlaced with a filter of ffmpeg, because PyAV cannot."""

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

"""Frames -> a segment of a film, in the colours and the timing of the source."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy.typing as npt

from torch_sr.inference.video.decoding import FULL, Look, accurate, film_url, pyav

Frame = npt.NDArray[Any]

_ENCODERS = {".webm": "libvpx-vp9"}
_GLOBAL_HEADER = 1 << 22  # the head once, not in the packets


class Encoder:
    """Writes segments, all alike, so that their packets can follow one another."""

    def __init__(self, target: Path, look: Look, height: int, width: int, crf: int) -> None:
        self._look = look
        self._size = height, width
        self._crf = crf
        self._codec = _ENCODERS.get(target.suffix.lower(), "libx264")
        even = height % 2 == 0 and width % 2 == 0
        chroma = look.chroma if even else "444"
        self._format = f"yuv{chroma}p" + ("10le" if look.deep else "")

    def open(self, path: Path) -> tuple[Any, Callable[[int, Frame], None]]:
        """Begin a segment: what to close, and what takes a time and a frame."""
        look = self._look
        container = pyav().open(film_url(path), "w", format="nut")  # which keeps times as they are
        stream = container.add_stream(self._codec, rate=look.rate or 25)
        height, width = self._size
        context = stream.codec_context
        context.height, context.width, context.pix_fmt = height, width, self._format
        context.time_base = stream.time_base = look.time_base
        # Without B-frames packets follow one another as frames do, across segments too.
        context.max_b_frames = 0
        context.options = {"crf": str(self._crf)}
        if self._codec == "libvpx-vp9":
            context.options = {"crf": str(self._crf), "b": "0", "deadline": "good", "cpu-used": "4"}
            context.options |= {"auto-alt-ref": "0", "lag-in-frames": "0", "row-mt": "1"}
        context.colorspace, context.color_range = look.matrix, look.range
        context.color_primaries, context.color_trc = look.primaries, look.transfer
        if look.aspect:
            context.sample_aspect_ratio = look.aspect
        context.flags |= _GLOBAL_HEADER

        def write(time: int, rgb: Frame) -> None:
            container.mux(stream.encode(self._to_frame(time, rgb)))

        def close() -> None:
            container.mux(stream.encode(None))
            container.close()

        return close, write

    def _to_frame(self, time: int, rgb: Frame) -> Any:
        look = self._look
        height, width = self._size
        frame = pyav().VideoFrame.from_ndarray(rgb, "rgb48le" if look.deep else "rgb24")
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
        frame.pts, frame.time_base = time, look.time_base
        frame.colorspace, frame.color_range = look.matrix, look.range
        return frame

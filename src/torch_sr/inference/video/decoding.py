"""A video -> upright RGB frames and their times."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from torch_sr.aliases import OnNote, Pixels
from torch_sr.inference.video.deinterlacing import deinterlaced
from torch_sr.inference.video.inspection import FULL, FrameFormat
from torch_sr.inference.video.opening import is_cover, pyav, video_stream
from torch_sr.inference.video.timing import FrameTimes, Timeline

_MAX_BROKEN = 1000  # packets


def timed_streams(container: Any) -> list[Any]:
    """The streams that share a time line, in every pass over a file."""
    kinds = ("audio", "video", "subtitle")
    return [stream for stream in container.streams if stream.type in kinds and not is_cover(stream)]


def read_frames(
    container: Any, frame_format: FrameFormat, after: int | None, deinterlace: bool, on_note: OnNote
) -> Iterator[tuple[int, int, Pixels]]:
    """Times, durations and upright RGB frames, from the first that is later than ``after``.

    The file is always decoded from its beginning: compared to the network that
    takes little time, and times and frames are exactly those of an uninterrupted run.

    Args:
        container: of the source.
        frame_format: of its frames.
        after: in units of ``frame_format.time_base``.
        deinterlace: remove the combs of interlaced frames.
        on_note: see :data:`OnNote`.
    """
    frames = _decoded(container, on_note)
    if deinterlace:
        frames = deinterlaced(frames, frame_format.suspect, on_note)
    kind = "rgb48le" if frame_format.bits > 8 else "rgb24"
    size = None
    for frame in frames:
        if size not in (None, (frame.height, frame.width)):
            on_note(_RESIZED.format(size[1], size[0], frame.width, frame.height))
        size = frame.height, frame.width
        if after is None or frame.pts > after:
            yield frame.pts, frame.duration, _upright(frame, frame_format, kind)


_RESIZED = "the frame size changes from {}x{} to {}x{}: all frames were scaled to the first size"


def _decoded(container: Any, on_note: OnNote) -> Iterator[Any]:
    """Frames whose ``pts`` are their times in the result; damaged packets are skipped."""
    stream = video_stream(container)
    stream.thread_type = "AUTO"
    timeline, times = Timeline(container), FrameTimes(stream)
    missing = _Missing(container, stream)
    broken = 0
    for packet in _packets(container, on_note):
        missing.packet(packet)
        timeline.place(packet)
        if packet.stream is not stream or _repeats(packet):
            continue
        times.packet(packet)
        try:
            decoded = packet.decode()
        except pyav().error.FFmpegError:
            broken += 1
            if broken > _MAX_BROKEN:
                break
            continue
        yield from times.timed(decoded)
    yield from times.timed([], last=True)
    if broken:
        on_note(f"{broken} damaged {'packet was' if broken == 1 else 'packets were'} left out")
    if lost := missing.describe():
        on_note(lost)
    if timeline.jumps:
        on_note("its times start again or jump: the parts were put one after the other")


def _repeats(packet: Any) -> bool:
    """An empty packet (Theora, AVI) extends the frame before it; the last one ends the stream."""
    return not packet.size and packet.pts is not None


class _Missing:
    """What is missing at the end of a file, by its header.

    MP4 lists its frames. Matroska and FLV state their length; other formats state nothing, or
    ffmpeg guesses it.
    """

    def __init__(self, container: Any, stream: Any) -> None:
        kinds = set(container.format.name.split(","))
        self._stream = stream
        self._frames = stream.frames if "mp4" in kinds else 0
        self._start = (container.start_time or 0) / 1e6
        self._seconds = (container.duration or 0) / 1e6 if kinds & {"matroska", "flv"} else 0.0
        self._end = 0.0

    def packet(self, packet: Any) -> None:
        """Count a packet."""
        if not packet.size:
            return
        self._frames -= packet.stream is self._stream
        if packet.pts is not None:
            end = float((packet.pts + (packet.duration or 0)) * packet.time_base)
            self._end = max(self._end, end - self._start)

    def describe(self) -> str:
        """What is missing; empty if nothing is."""
        if self._frames > 0:
            return f"the file is cut short: its last {self._frames} frames are missing"
        missing = self._seconds - self._end
        if missing > max(_ROUNDED, _SMALL_PART * self._seconds):
            return f"the file is cut short: its last {missing:.1f} seconds are missing"
        return ""


_ROUNDED, _SMALL_PART = 0.25, 0.01  # lengths in headers are not exact


def _packets(container: Any, on_note: OnNote) -> Iterator[Any]:
    try:
        yield from container.demux(timed_streams(container))
    except pyav().error.InvalidDataError:
        on_note("the file is damaged: what follows its last readable part was left out")


def _upright(frame: Any, frame_format: FrameFormat, kind: str) -> Pixels:
    rgb = frame.reformat(
        format=kind,
        src_colorspace=frame_format.matrix,
        dst_colorspace=frame_format.matrix,
        src_color_range=frame_format.range,
        dst_color_range=FULL,
        interpolation=accurate(),
    ).to_ndarray()
    turned = np.rot90(rgb, frame_format.turns)
    return np.ascontiguousarray(turned[:, ::-1] if frame_format.mirrored else turned)


def accurate() -> Any:
    """Flags for a color conversion that does not darken by a level or two, as the default does."""
    from av.video.reformatter import Interpolation

    return Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT

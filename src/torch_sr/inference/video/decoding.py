"""A video -> upright RGB frames and their times."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from torch_sr.inference.video.deinterlacing import deinterlaced
from torch_sr.inference.video.looking import FULL, Look
from torch_sr.inference.video.opening import is_cover, pyav, video_stream
from torch_sr.inference.video.timing import FrameTimes, Timeline

Frame = npt.NDArray[Any]
OnNote = Callable[[str], None]
"""Called with a sentence on something that the source holds and the result does not."""

_MAX_BROKEN = 1000  # packets


def timed_streams(container: Any) -> list[Any]:
    """The streams that share a time line, in every pass over a file."""
    kinds = ("audio", "video", "subtitle")
    return [stream for stream in container.streams if stream.type in kinds and not is_cover(stream)]


def read_frames(
    container: Any, look: Look, after: int | None, deinterlace: bool, on_note: OnNote
) -> Iterator[tuple[int, int, Frame]]:
    """Times, durations and upright RGB frames, from the first that is later than ``after``.

    The file is decoded from its beginning also for a later frame: next to the network's work that
    is little, and times and pictures are exactly those of a run in one go.

    Args:
        container: of the source.
        look: of its frames.
        after: in units of ``look.time_base``.
        deinterlace: remove the combs of interlaced frames.
        on_note: see :data:`OnNote`.
    """
    frames = _decoded(container, on_note)
    if deinterlace:
        frames = deinterlaced(frames, look.suspect, on_note)
    kind = "rgb48le" if look.bits > 8 else "rgb24"
    size = None
    for frame in frames:
        if size not in (None, (frame.height, frame.width)):
            on_note(_RESIZED.format(size[1], size[0], frame.width, frame.height))
        size = frame.height, frame.width
        if after is None or frame.pts > after:
            yield frame.pts, frame.duration, _upright(frame, look, kind)


_RESIZED = (
    "the size of the pictures changes from {}x{} to {}x{}: all were brought to the first size"
)


def _decoded(container: Any, on_note: OnNote) -> Iterator[Any]:
    """Frames whose ``pts`` are their times in the result; damaged packets are passed over."""
    stream = video_stream(container)
    stream.thread_type = "AUTO"
    timeline, times = Timeline(container), FrameTimes(stream)
    broken = 0
    for packet in _packets(container, on_note):
        timeline.place(packet)
        if packet.stream is not stream:
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
    if timeline.jumps:
        on_note("its times start again or jump: the parts were put one after the other")


def _packets(container: Any, on_note: OnNote) -> Iterator[Any]:
    try:
        yield from container.demux(timed_streams(container))
    except pyav().error.InvalidDataError:
        on_note("the file is damaged: what follows its last readable part was left out")


def _upright(frame: Any, look: Look, kind: str) -> Frame:
    rgb = frame.reformat(
        format=kind,
        src_colorspace=look.matrix,
        dst_colorspace=look.matrix,
        src_color_range=look.range,
        dst_color_range=FULL,
        interpolation=accurate(),
    ).to_ndarray()
    turned = np.rot90(rgb, look.turns)
    return np.ascontiguousarray(turned[:, ::-1] if look.mirrored else turned)


def accurate() -> Any:
    """A way to convert colours that does not darken them by a level or two, as the default does."""
    from av.video.reformatter import Interpolation

    return Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT

"""Remove the combs of interlaced frames, or keep the two fields.

A network mistakes the combs at moving edges for detail. By default ffmpeg's filter bwdif
(https://ffmpeg.org/ffmpeg-filters.html#bwdif) removes them: from each frame it makes one, by
completing the first of the two fields. Otherwise the fields are kept and super-resolved separately.

Telecined film loses its combs, but keeps its repeated frames.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from torch_sr.aliases import OnNote, Pixels
from torch_sr.inference.video.opening import pyav

PROGRESSIVE, TOP_FIRST, BOTTOM_FIRST = 1, 2, 3
"""ffmpeg's numbers for the orders of fields."""
_SHOWN_FIRST = {2: TOP_FIRST, 3: BOTTOM_FIRST, 4: TOP_FIRST, 5: BOTTOM_FIRST}  # as it reads them


def field_order(frame: Any, stream: Any) -> int:
    """Which field is shown first, by the frame, otherwise by its stream."""
    stated = _SHOWN_FIRST.get(int(stream.codec_context.field_order), PROGRESSIVE)
    if frame.interlaced_frame:
        return _first_field(frame) or max(stated, TOP_FIRST)
    return stated


def same_order(marking: int, order: int) -> bool:
    """Whether a container's marking means an order."""
    return _SHOWN_FIRST.get(marking) == order


def deinterlaced(frames: Iterator[Any], suspect: bool, on_note: OnNote) -> Iterator[Any]:
    """Deinterlace frames; their times stay the same.

    Args:
        frames: decoded frames with their times; unchanged up to the first interlaced one.
        suspect: the container says that frames are interlaced. Those that are not marked so
            themselves are examined.
        on_note: called at the first interlaced frame.
    """
    graph: Any = None
    kind = None
    for frame in frames:
        if graph is None and not suspect and not frame.interlaced_frame:
            yield frame
            continue
        if kind != _kind(frame):
            examine = suspect and not frame.interlaced_frame
            on_note(_EXAMINED if examine else _DEINTERLACED)
            yield from _drained(graph, frame.time_base)
            graph, kind = _graph(frame, examine), _kind(frame)
        unit = frame.time_base
        graph.push(frame)
        yield from _ready(graph, unit)
    if graph is not None:
        yield from _drained(graph, unit)


_DEINTERLACED = "interlaced frames were deinterlaced; --no-deinterlace keeps their fields"
_EXAMINED = "the container marks frames as interlaced: those with combs were deinterlaced"


def _kind(frame: Any) -> tuple[Any, ...]:
    return frame.width, frame.height, frame.format.name, frame.time_base


def _graph(frame: Any, examine: bool) -> Any:
    filters = [("bwdif", "mode=send_frame:parity=auto:deint=interlaced")]
    if examine:  # marks the frames that it finds interlaced
        filters.insert(0, ("idet", ""))
    return build_graph(frame, filters)


def build_graph(frame: Any, filters: list[tuple[str, str]]) -> Any:
    """A chain of ffmpeg's filters for frames such as this one."""
    graph = pyav().filter.Graph()
    unit = frame.time_base
    source = (
        f"video_size={frame.width}x{frame.height}:pix_fmt={frame.format.name}"
        f":time_base={unit.numerator}/{unit.denominator}:pixel_aspect=1/1"
        f":colorspace={int(frame.colorspace)}:range={int(frame.color_range)}"
    )
    nodes = [graph.add("buffer", source)]
    nodes += [graph.add(name, options or None) for name, options in filters]
    nodes.append(graph.add("buffersink"))
    graph.link_nodes(*nodes).configure()
    return graph


def _ready(graph: Any, unit: Any) -> Iterator[Any]:
    """The finished frames of a graph, with times in their original unit."""
    while True:
        try:
            frame = graph.pull()
        except (BlockingIOError, EOFError):
            return
        if frame.pts is not None:
            frame.pts = round(frame.pts * frame.time_base / unit)
        frame.duration = round(frame.duration * frame.time_base / unit)
        frame.time_base = unit
        yield frame


def _drained(graph: Any, unit: Any) -> Iterator[Any]:
    if graph is not None:
        graph.push(None)
        yield from _ready(graph, unit)


def _first_field(frame: Any) -> int | None:
    """PyAV does not provide the mark, but a filter separates fields in its order."""
    graph = build_graph(frame, [("format", "gray"), ("separatefields", "")])
    graph.push(frame)
    graph.push(None)
    first, second = graph.pull().to_ndarray(), graph.pull().to_ndarray()
    rows = frame.reformat(format="gray").to_ndarray().astype(int)
    top, bottom = rows[0::2], rows[1::2]
    if frame.height % 2 or np.array_equal(first, second):
        return None
    in_order = np.abs(first - top).sum() + np.abs(second - bottom).sum()
    swapped = np.abs(first - bottom).sum() + np.abs(second - top).sum()
    return TOP_FIRST if in_order <= swapped else BOTTOM_FIRST


def by_fields(upscale: Callable[[Pixels], Pixels]) -> Callable[[Pixels], Pixels]:
    """Super-resolve the two fields of a frame separately, and interleave the results."""

    def both(frame: Pixels) -> Pixels:
        if len(frame) < 2:
            return upscale(frame)
        top, bottom = upscale(frame[0::2].copy()), upscale(frame[1::2].copy())
        woven = np.empty((len(top) + len(bottom), *top.shape[1:]), top.dtype)
        rows = min(len(top), len(bottom))
        woven[0 : 2 * rows : 2], woven[1 : 2 * rows : 2] = top[:rows], bottom[:rows]
        woven[2 * rows :] = top[rows:]
        return woven

    return both

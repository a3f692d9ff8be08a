"""Segments and the other streams of the source -> the resulting video."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from typing import Any

from torch_sr.aliases import OnNote
from torch_sr.files import atomic_write
from torch_sr.inference.video.containers import CONTAINERS
from torch_sr.inference.video.decoding import timed_streams
from torch_sr.inference.video.encoding import Encoder
from torch_sr.inference.video.hdr import SideData, hide_apple_layout_box, template_with
from torch_sr.inference.video.opening import is_cover, pyav, video_stream, video_url
from torch_sr.inference.video.segments import SegmentFolder
from torch_sr.inference.video.streams import (
    ATTACH,
    StreamCopier,
    attach,
    descriptions,
    file_descriptions,
    plan_streams,
)
from torch_sr.inference.video.timing import Timeline

_UNOFFICIAL = {"strict": "unofficial"}  # stereo and spherical layouts in MP4 are


def join(
    segments: SegmentFolder, encoder: Encoder, source: Path, target: Path, on_note: OnNote
) -> None:
    """Write a video of all segments and of the source's other streams, chapters and metadata."""
    with atomic_write(target) as temporary:
        _write(segments, encoder, source, temporary, on_note)
        if encoder.frame_format.side_data != SideData() and target.suffix.lower() in (
            ".mp4",
            ".mov",
        ):
            hide_apple_layout_box(temporary)


def _write(
    segments: SegmentFolder, encoder: Encoder, source: Path, target: Path, on_note: OnNote
) -> None:
    av = pyav()
    with ExitStack() as stack:
        original = stack.enter_context(av.open(video_url(source), metadata_errors="replace"))
        out = av.open(
            video_url(target),
            "w",
            format=CONTAINERS[target.suffix.lower()],
            container_options=_UNOFFICIAL,
        )
        stack.enter_context(out)
        out.metadata.update(file_descriptions(original))
        first = stack.enter_context(av.open(video_url(segments.paths[0])))
        video = _add_video(out, first.streams.video[0], encoder, video_stream(original))
        timeline = Timeline(original)
        if chapters := original.chapters():
            out.set_chapters([_earlier(chapter, timeline.start) for chapter in chapters])
        copiers, covers = _copiers(original, out, target.suffix.lower())
        packets = [_video_packets(segments, encoder.frame_format.time_base, video)]
        if copiers:
            packets.append(_other_packets(original, copiers, timeline, covers))
        out.start_encoding()  # now streams have the units of the container
        lost = 0
        for _, _, packet in heapq.merge(*packets, key=lambda item: item[0]):
            try:
                out.mux(packet)
            except (av.error.ArgumentError, av.error.InvalidDataError):
                if packet.stream is video:
                    raise
                lost += 1
        if lost:
            on_note(f"{lost} damaged packets of sound or subtitles were left out")


def _add_video(out: Any, segment: Any, encoder: Encoder, shown: Any) -> Any:
    """Add the video stream, with the metadata of the source's."""
    side_data = encoder.frame_format.side_data
    template = template_with(segment, side_data) if side_data != SideData() else segment
    video = out.add_stream_from_template(template, opaque=True)
    video.time_base = encoder.frame_format.time_base
    encoder.describe(video.codec_context)
    if encoder.codec.name == "HEVC" and out.format.name in ("mp4", "mov"):
        video.codec_context.codec_tag = "hvc1"  # the tag that Apple's players support
    video.metadata.update({k: v for k, v in descriptions(shown).items() if k != "rotate"})
    video.disposition = shown.disposition
    return video


def _earlier(chapter: Any, start: Fraction) -> Any:
    ticks = round(start / chapter["time_base"])
    return {**chapter, "start": chapter["start"] - ticks, "end": chapter["end"] - ticks}


def _copiers(
    original: Any, out: Any, suffix: str
) -> tuple[dict[int, StreamCopier], dict[int, Any]]:
    """The copiers of the other streams by index, and the packets of cover images."""
    ways, _ = plan_streams(original, suffix)
    covers = _covers(original) if any(is_cover(original.streams[i]) for i in ways) else {}
    copiers: dict[int, StreamCopier] = {}
    for index, way in ways.items():
        stream = original.streams[index]
        if way == ATTACH:
            if stream.type == "attachment" or index in covers:
                attach(stream, out, bytes(covers.get(index, b"")))
        else:
            copiers[index] = StreamCopier(stream, out, way)
    return copiers, covers


def _covers(original: Any) -> dict[int, Any]:
    """The first packets of cover images; they are delivered before all others."""
    streams = [stream for stream in original.streams.video if is_cover(stream)]
    found: dict[int, Any] = {}
    with pyav().open(original.name, metadata_errors="replace") as again:
        wanted = [again.streams[stream.index] for stream in streams]
        for packet in again.demux(wanted):
            if packet.size:
                found.setdefault(packet.stream.index, packet)
            if len(found) == len(wanted):
                break
    return found


def _video_packets(
    segments: SegmentFolder, unit: Fraction, stream: Any
) -> Iterator[tuple[float, int, Any]]:
    """The packets of all segments at their places; each lasts until the next."""
    waiting: Any = None
    for path, segment in zip(segments.paths, segments.finished, strict=True):
        with pyav().open(video_url(path)) as container:
            for packet in container.demux(container.streams.video[0]):
                if packet.dts is None or not packet.size:
                    continue
                at = segment.first + round(packet.dts * packet.time_base / unit)
                packet.time_base, packet.pts, packet.dts = unit, at, at
                packet.stream, packet.duration = stream, segment.duration
                if waiting is not None:
                    waiting.duration = at - waiting.dts
                    yield float(waiting.dts * unit), 0, waiting
                waiting = packet
    if waiting is not None:
        yield float(waiting.dts * unit), 0, waiting


def _other_packets(
    original: Any, copiers: dict[int, StreamCopier], timeline: Timeline, covers: dict[int, Any]
) -> Iterator[tuple[float, int, Any]]:
    for index, packet in covers.items():
        if index in copiers:
            packet.pts = packet.dts = 0
            packet.stream = copiers[index].stream
            yield float("-inf"), packet.stream.index, packet
    for packet in original.demux(timed_streams(original)):
        timeline.place(packet)
        copier = copiers.get(packet.stream.index)
        for copied in copier.copy(packet) if copier else ():
            at = float((copied.dts or 0) * copied.time_base)
            yield at, copied.stream.index, copied

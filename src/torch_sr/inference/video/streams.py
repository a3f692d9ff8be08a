"""Copy all other streams: sound, subtitles, covers, attached files.

Packets are copied if the new container can hold them; otherwise sound is encoded again, and
other streams become a note. Whether a container can hold a stream is tested before the
work, by writing its header.
"""

from __future__ import annotations

import io
import itertools
import math
import mimetypes
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

from torch_sr.inference.video.containers import CONTAINERS
from torch_sr.inference.video.opening import is_cover, pyav, video_stream

COPY, ENCODE, ATTACH = "copy", "encode", "attach"

_STALE = ("encoder", "duration", "bps", "number_of_frames", "number_of_bytes", "alpha_mode")
_OF_FILES = ("major_brand", "minor_version", "compatible_brands", "encoder")
_MAX_DURATION = 2**31  # more is a negative number, from damaged files
_PREROLL = Fraction(-1, 10)  # seconds


def plan_streams(container: Any, suffix: str) -> tuple[dict[int, str], list[str]]:
    """How to copy each other stream, by its index, and a note for each that is left out.

    Args:
        container: of the source.
        suffix: of the target.
    """
    chosen = video_stream(container)
    ways: dict[int, str] = {}
    notes: list[str] = []
    for stream in container.streams:
        if stream.index == chosen.index:
            continue
        way, note = _way(stream, suffix)
        if way:
            ways[stream.index] = way
        if note:
            notes.append(note)
    return ways, list(dict.fromkeys(notes))


def _way(stream: Any, suffix: str) -> tuple[str, str]:
    """How to copy a stream, or empty if it cannot be copied, and a note."""
    matroska = CONTAINERS[suffix] == "matroska"
    if stream.type == "attachment":
        name = stream.metadata.get("filename", "a file")
        return (ATTACH, "") if matroska else ("", f"the attached file {name} {_left_out(suffix)}")
    if stream.type == "video" and is_cover(stream):
        if matroska:
            return ATTACH, ""
        fits = suffix == ".mp4" and _fits(stream, suffix)
        return (COPY, "") if fits else ("", f"the cover image {_left_out(suffix)}")
    if stream.type == "data":
        known = _is_timecode(stream) or _is_list_of_chapters(stream)
        return "", "" if known else f"a data stream ({_name(stream)}) was left out"
    if _fits(stream, suffix):
        other = f"only the first video stream was super-resolved: {_describe(stream)} was copied"
        return COPY, other if stream.type == "video" else ""
    if stream.type == "audio" and stream.codec_context is not None:
        return ENCODE, f"{_describe(stream)} {_does_not_fit(suffix)}: it was encoded as " + (
            "Opus" if suffix == ".webm" else "AAC"
        )
    return "", f"{_describe(stream)} {_left_out(suffix)}"


def _left_out(suffix: str) -> str:
    advice = "; write .mkv to keep it" if suffix != ".mkv" else ""
    return f"{_does_not_fit(suffix)} and was left out{advice}"


def _does_not_fit(suffix: str) -> str:
    return f"does not fit into {suffix}"


def _describe(stream: Any) -> str:
    kind = {"audio": "sound", "subtitle": "a subtitle stream", "video": "a video stream"}
    language = f", {stream.language}" if stream.language else ""
    return f"{kind.get(stream.type, 'a stream')} ({_name(stream)}{language})"


def _name(stream: Any) -> str:
    context = stream.codec_context
    return str(context.codec.canonical_name if context else getattr(stream, "name", None) or "?")


def _is_timecode(stream: Any) -> bool:
    """Time codes are copied as metadata of the video, which .mov and .mp4 turn into a track."""
    return "timecode" in stream.metadata


def _is_list_of_chapters(stream: Any) -> bool:
    """In .mov and .mp4, chapters have their own track, which ffmpeg reads and writes."""
    container = stream.container
    listed = "mp4" in container.format.name and bool(container.chapters())
    return listed and stream.name == "bin_data"


def _fits(stream: Any, suffix: str) -> bool:
    """Test whether a file's header can be written with a stream in it."""
    if stream.codec_context is None:
        return False
    out = pyav().open(io.BytesIO(), "w", format=CONTAINERS[suffix])
    try:
        out.add_stream_from_template(stream, opaque=True).disposition = stream.disposition
        out.start_encoding()
    except (ValueError, pyav().error.FFmpegError):
        return False
    finally:
        try:
            out.close()
        except (ValueError, pyav().error.FFmpegError):
            pass
    return True


def _sound(stream: Any, webm: bool) -> tuple[str, int, str]:
    """The encoder, rate and channels for sound that is encoded again; its own if possible."""
    own = stream.codec_context.layout
    layouts = [own.name, {1: "mono", 2: "stereo", 6: "5.1", 8: "7.1"}.get(own.nb_channels)]
    encoder, rates = ("libopus", [48_000]) if webm else ("aac", [stream.rate, 48_000])
    for rate, layout in itertools.product(rates, filter(None, layouts)):
        context = pyav().CodecContext.create(encoder, "w")
        try:
            context.rate, context.layout, context.format = rate, layout, _SAMPLES[encoder]
            context.open()
        except (ValueError, pyav().error.FFmpegError):
            continue
        return encoder, rate, layout
    return encoder, 48_000, "stereo"


_SAMPLES = {"libopus": "flt", "aac": "fltp"}


class StreamCopier:
    """Copies one stream.

    Args:
        stream: of the source.
        out: the container that is written.
        way: :data:`COPY` or :data:`ENCODE`.
    """

    def __init__(self, stream: Any, out: Any, way: str) -> None:
        self._copied = way == COPY
        self._last: int | None = None
        self._next_frame = 0  # time at which the decoded sound ends
        self._early: list[Any] = []
        if self._copied:
            self.stream = out.add_stream_from_template(stream, opaque=True)
        else:
            encoder, rate, layout = _sound(stream, out.format.name == "webm")
            self.stream = out.add_stream(encoder, rate=rate)
            self.stream.codec_context.layout = layout
        self.stream.metadata.update(descriptions(stream))
        self.stream.disposition = stream.disposition

    def copy(self, packet: Any) -> Iterator[Any]:
        """The packets to write for a packet; the last one is empty and ends the stream."""
        if self._copied:
            yield from self._copies(packet)
            return
        try:
            frames = packet.decode()
        except pyav().error.FFmpegError:  # a damaged packet must not end the video
            frames = []
        for frame in frames:
            self._set_time(frame)
            yield from map(self._in_order, self.stream.encode(frame))
        if not packet.size:
            yield from map(self._in_order, self.stream.encode(None))

    def _set_time(self, frame: Any) -> None:
        """Set missing times: some decoders (WMA) return their last frames without a time."""
        if frame.pts is None:
            frame.pts = self._next_frame
        if frame.time_base:
            self._next_frame = frame.pts + round(frame.samples / frame.rate / frame.time_base)

    def _copies(self, packet: Any) -> Iterator[Any]:
        """Return packets when their decoding time is known; Matroska has none at the start."""
        if packet.is_discard and _is_long_before(packet):
            return
        if packet.size and packet.dts is None and self._last is None and packet.pts is not None:
            self._early.append(packet)
            return
        if not packet.size:
            packet = None
        begin = packet.dts if packet else self._early[0].pts if self._early else 0
        for count, early in enumerate(reversed(self._early), 1):
            early.dts = begin - count * (early.duration or 1)
        ready = [*self._early, packet] if packet else self._early
        self._early = []
        for one in ready:
            if one.dts is None:
                one.dts = one.pts if self._last is None else self._last + (one.duration or 1)
            if one.dts is not None:
                one.stream = self.stream
                yield self._in_order(one)

    def _in_order(self, packet: Any) -> Any:
        """Make times increase in the container's units, which all containers require."""
        step = 0
        if self.stream.type != "subtitle":
            step = max(1, math.ceil(self.stream.time_base / packet.time_base))
        if self._last is not None and packet.dts < self._last + step:
            packet.dts = self._last + step
        if packet.pts is None or packet.pts < packet.dts:
            packet.pts = packet.dts
        if packet.duration is not None and not 0 <= packet.duration < _MAX_DURATION:
            packet.duration = 0
        self._last = packet.dts
        return packet


def _is_long_before(packet: Any) -> bool:
    """Whether a packet is cut off by an edit list and not needed to start decoding."""
    if packet.pts is None:
        return False
    return bool((packet.pts + (packet.duration or 0)) * packet.time_base < _PREROLL)


def descriptions(stream: Any) -> dict[str, str]:
    """The metadata of a stream that is valid for its copy."""
    return {
        key: value
        for key, value in stream.metadata.items()
        if key.lower().split("-")[0] not in _STALE and not key.startswith("_STATISTICS")
    }


def file_descriptions(container: Any) -> dict[str, str]:
    """The metadata of a file that is valid in another container."""
    return {k: v for k, v in container.metadata.items() if k.lower() not in _OF_FILES}


def attach(stream: Any, out: Any, image: bytes) -> None:
    """Attach a file of the source, or its cover image, to a Matroska file.

    Args:
        stream: of the source.
        out: the container that is written.
        image: the packet of a cover.
    """
    if stream.type == "attachment":
        name, kind, data = stream.name or "attachment", stream.mimetype, stream.data
    else:
        kind = stream.metadata.get("mimetype") or _IMAGE_TYPES.get(_name(stream))
        name = stream.metadata.get("filename") or "cover" + (
            mimetypes.guess_extension(kind or "") or ".jpg"
        )
        data = image
    added = out.add_attachment(name, kind or "application/octet-stream", data)
    added.metadata.update(stream.metadata)


_IMAGE_TYPES = {"mjpeg": "image/jpeg", "png": "image/png", "bmp": "image/bmp", "webp": "image/webp"}

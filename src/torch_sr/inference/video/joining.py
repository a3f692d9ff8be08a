"""Segments, and the sound, the subtitles and the descriptions of the source -> a film."""

from __future__ import annotations

import heapq
import logging
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from torch_sr.files import atomic_write
from torch_sr.inference.video.decoding import film_url, pyav
from torch_sr.inference.video.segments import Segments

_log = logging.getLogger(__name__)


def join(segments: Segments, source: Path, target: Path) -> None:
    """One film of all segments and the source's sound, subtitles, chapters and descriptions."""
    av = pyav()
    with atomic_write(target) as temporary, ExitStack() as stack:
        original = stack.enter_context(av.open(film_url(source), metadata_errors="replace"))
        out = stack.enter_context(av.open(film_url(temporary), "w"))
        out.metadata.update(original.metadata)
        paths = segments.paths
        first = stack.enter_context(av.open(film_url(paths[0])))
        template = first.streams.video[0]
        video = out.add_stream_from_template(template)
        video.time_base = template.time_base
        shown = original.streams.video[0]
        video.metadata.update({k: v for k, v in shown.metadata.items() if k != "rotate"})
        carried = [s for s in original.streams if s.type in ("audio", "subtitle")]
        others = {s: _Carrier(s, out) for s in carried if _fits(s, out, source)}
        if chapters := original.chapters():
            out.set_chapters(chapters)
        packets = [_video_packets(paths, video)]
        if others:
            packets.append(_other_packets(original, others))
        for _, _, packet in heapq.merge(*packets, key=lambda item: item[0]):
            out.mux(packet)


def _video_packets(paths: Iterable[Path], stream: Any) -> Iterator[tuple[float, int, Any]]:
    for path in paths:
        with pyav().open(film_url(path)) as segment:
            for packet in segment.demux(segment.streams.video[0]):
                if packet.dts is not None:
                    packet.stream = stream
                    yield float(packet.dts * packet.time_base), 0, packet


def _other_packets(original: Any, others: dict[Any, _Carrier]) -> Iterator[tuple[float, int, Any]]:
    for packet in original.demux(list(others)):
        for carried in others[packet.stream].carry(packet):
            at = float((carried.dts or 0) * carried.time_base)
            yield at, carried.stream.index, carried


def _fits(stream: Any, out: Any, source: Path) -> bool:
    """Whether a stream can go along; sound always can, if need be in another code."""
    if stream.type == "audio" or stream.codec_context.name in out.supported_codecs:
        return True
    _log.warning(
        "%s: subtitles as %s do not fit into this kind of file and are left out; write .mkv",
        source.name,
        stream.codec_context.name,
    )
    return False


class _Carrier:
    """Carries one stream over: packets as they are, or in another code where they do not fit."""

    def __init__(self, stream: Any, out: Any) -> None:
        self._copied = stream.codec_context.name in out.supported_codecs
        if self._copied:
            self._stream = out.add_stream_from_template(stream)
        else:
            rate = 48_000 if out.default_audio_codec == "opus" else stream.rate
            self._stream = out.add_stream(_audio_encoder(out), rate=rate)
            self._stream.codec_context.layout = stream.codec_context.layout
        self._stream.metadata.update(stream.metadata)
        self._stream.disposition = stream.disposition

    def carry(self, packet: Any) -> Iterator[Any]:
        """What becomes of a packet; the last, an empty one, ends the stream."""
        if not self._copied:
            for frame in packet.decode():
                yield from self._stream.encode(frame)
            if packet.dts is None:
                yield from self._stream.encode(None)
        elif packet.dts is not None:
            packet.stream = self._stream
            yield packet


def _audio_encoder(out: Any) -> str:
    return "libopus" if out.format.name == "webm" else "aac"

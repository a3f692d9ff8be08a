"""A film -> a film: frames are super-resolved, all else is carried over.

Frames are decoded, super-resolved and encoded one after the other, in closed segments of some
seconds that lie beside the target until the end. A run that was broken off goes on after the last
of them. Then the segments are joined with the sound and the subtitles of the source, whose packets
are copied as they are. Neither frames nor segments ever lie in memory all at once.

Frames keep their times, so a variable frame rate stays what it was. Rotation is applied to the
pixels. Matrix, range, primaries and transfer of the colours are those of the source; where a
matrix is not told, it is the one that players assume for the source's size, and is told then.
"""

from __future__ import annotations

import heapq
import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from torch_sr.errors import ImageError, MissingExtraError
from torch_sr.files import atomic_write
from torch_sr.images.naming import naming
from torch_sr.inference.segments import Segments

Frame = npt.NDArray[Any]
Progress = Callable[[int, int | None], None]
"""Called with the frames done and the frames in all, where that is known."""

_log = logging.getLogger(__name__)
_SDTV, _HDTV = 5, 1  # ffmpeg's numbers of the matrices of ITU-R BT.601 and BT.709
_UNSPECIFIED = 2
_LIMITED, _FULL = 1, 2
_ENCODERS = {".webm": "libvpx-vp9"}
_SEGMENT_FRAMES = 240


@dataclass(frozen=True)
class VideoInfo:
    """What a film says of itself.

    Args:
        height, width: of an upright frame.
        frames: how many, where that is known.
    """

    height: int
    width: int
    frames: int | None


@dataclass(frozen=True)
class _Look:
    """How frames are stored: what the encoder has to repeat."""

    height: int
    width: int
    turns: int  # quarter turns that make it upright
    deep: bool  # more than 8 bits
    chroma: str  # 420, 422 or 444
    matrix: int
    range: int
    primaries: int
    transfer: int
    aspect: Fraction | None
    rate: Fraction | None
    time_base: Fraction


def read_video_info(path: Path) -> VideoInfo:
    """Look at a film's header and first frame.

    Raises:
        ImageError: it is missing, damaged, or no film.
        MissingExtraError: PyAV is not installed.
    """
    look, frames = _look_at(path)
    return VideoInfo(look.height, look.width, frames)


def upscale_video(
    upscale: Callable[[Frame], Frame],
    scale_factor: int,
    source: Path,
    target: Path,
    *,
    size: Callable[[int, int], tuple[int, int]] | None = None,
    crf: int = 16,
    fingerprint: str = "",
    segment_frames: int = _SEGMENT_FRAMES,
    progress: Progress | None = None,
) -> Path:
    """Super-resolve a film.

    Args:
        upscale: RGB ``(H, W, 3)``, uint8 or, of films with more than 8 bits, uint16, to the same
            ``scale_factor`` times as high and wide.
        scale_factor: see there.
        source: what PyAV reads.
        target: .mp4, .mkv or .mov (H.264), or .webm (VP9).
        size: resample each frame to the height and width it tells.
        crf: constant quality, from 0 (lossless) to 51.
        fingerprint: of the model; finished segments of another one are not taken.
        segment_frames: frames in a segment, which a break may cost.
        progress: called after each frame.

    Raises:
        ImageError: the source is no film or damaged, or the target cannot be written.
        MissingExtraError: PyAV is not installed.
    """
    _check_target(source, target)
    look, total = _look_at(source)
    with naming(source), _open(source) as container:
        height, width = look.height * scale_factor, look.width * scale_factor
        height, width = size(look.height, look.width) if size else (height, width)
        settings = [fingerprint, crf, height, width, segment_frames, target.suffix.lower()]
        segments = Segments(target, source, settings)
        frames = _frames(container, look, segments.last_time)
        done = segments.num_frames
        if progress is not None and done:
            progress(done, total)
        encoder = _Encoder(target, look, height, width, crf)
        while True:
            with ExitStack() as stack:
                count = 0
                for time, rgb in frames:
                    if count == 0:
                        stream = stack.enter_context(segments.append(encoder))
                    stream(time, upscale(rgb))
                    count += 1
                    done += 1
                    if progress is not None:
                        progress(done, max(total, done) if total else None)
                    if count == segment_frames:
                        break
            if count < segment_frames:
                break
        if done == 0:
            raise ImageError("holds no frame that can be decoded; fetch it again")
    with naming(target):
        _join(segments, source, target)
    segments.remove()
    return target


# --- Reading ------------------------------------------------------------------------------------


def _av() -> Any:
    try:
        import av
    except ImportError:
        raise MissingExtraError("PyAV, which reads videos,", "video") from None
    return av


def _open(path: Path) -> Any:
    av = _av()
    if not path.is_file():
        problem = "is no file" if path.exists() else "no such file"
        raise ImageError(f"{problem}; check the path")
    if path.stat().st_size == 0:
        raise ImageError("is empty (0 bytes); fetch it again")
    return av.open(str(path), metadata_errors="replace")


def _look_at(path: Path) -> tuple[_Look, int | None]:
    """How the frames are stored, and how many there are."""
    with naming(path), _open(path) as container:
        frame = next((frame for _, frame in _decode(container)), None)
        if frame is None:
            raise ImageError("holds no frame that can be decoded; fetch it again")
        return _look_of(frame, container.streams.video[0]), _count_frames(container)


def _look_of(frame: Any, stream: Any) -> _Look:
    turns = round(frame.rotation / 90) % 4
    height, width = (frame.height, frame.width) if turns % 2 == 0 else (frame.width, frame.height)
    chroma = frame.format
    aspect = stream.sample_aspect_ratio
    full = frame.color_range == _FULL or chroma.name.startswith("yuvj") or chroma.is_rgb
    # No matrix told: players take that of the source's size, and would take another one for ours.
    guess = _HDTV if frame.height >= 720 else _SDTV
    matrix = int(frame.colorspace)
    return _Look(
        height=height,
        width=width,
        turns=turns,
        deep=max((c.bits for c in chroma.components), default=8) > 8,
        chroma="444"
        if chroma.is_rgb or "444" in chroma.name
        else "422"
        if "422" in chroma.name
        else "420",
        matrix=matrix if matrix in (_HDTV, 4, _SDTV, 6, 7, 9) else guess,
        range=_FULL if full else _LIMITED,
        primaries=int(frame.color_primaries),
        transfer=int(frame.color_trc),
        aspect=aspect and (1 / aspect if turns % 2 else aspect),
        rate=stream.average_rate or stream.guessed_rate,
        time_base=stream.time_base,
    )


def _count_frames(container: Any) -> int | None:
    stream = container.streams.video[0]
    if stream.frames:
        return int(stream.frames)
    if container.duration and stream.average_rate:
        return max(1, round(float(container.duration / 1e6 * stream.average_rate)))
    return None


def _decode(container: Any) -> Iterator[tuple[int, Any]]:
    """Frames with their times, in units of the stream; damaged packets are passed over."""
    if not container.streams.video:
        raise ImageError("holds no video; name a film or an image")
    stream = container.streams.video[0]
    stream.thread_type = "AUTO"
    broken, last = 0, -(2**62)
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets)
            decoded = packet.decode()
        except StopIteration:
            break
        except _av().error.InvalidDataError:
            broken += 1
            if broken > 1000:
                break
            continue
        for frame in decoded:
            last = max(last + 1, frame.pts if frame.pts is not None else max(last + 1, 0))
            yield last, frame
    if broken:
        _log.warning("%s: %d damaged packets were passed over", container.name, broken)


def _frames(container: Any, look: _Look, after: int | None) -> Iterator[tuple[int, Frame]]:
    """Upright RGB frames and their times, from the first that is later than ``after``."""
    if after is not None:  # to the key frame before
        container.seek(after, stream=container.streams.video[0])
    kind = "rgb48le" if look.deep else "rgb24"
    for time, frame in _decode(container):
        if after is not None and time <= after:
            continue
        rgb = frame.reformat(
            format=kind,
            src_colorspace=look.matrix,
            dst_colorspace=look.matrix,
            src_color_range=look.range,
            dst_color_range=_FULL,
            interpolation=_accurate(),
        ).to_ndarray()
        yield time, np.ascontiguousarray(np.rot90(rgb, look.turns))


def _accurate() -> Any:
    from av.video.reformatter import Interpolation

    return Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT


# --- Writing ------------------------------------------------------------------------------------


class _Encoder:
    """Writes segments, all alike, so that their packets can follow one another."""

    def __init__(self, target: Path, look: _Look, height: int, width: int, crf: int) -> None:
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
        container = _av().open(str(path), "w", format="nut")  # which keeps times as they are
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
        context.flags |= 1 << 22  # AV_CODEC_FLAG_GLOBAL_HEADER: the head once, not in the packets

        def write(time: int, rgb: Frame) -> None:
            container.mux(stream.encode(self._to_frame(time, rgb)))

        def close() -> None:
            container.mux(stream.encode(None))
            container.close()

        return close, write

    def _to_frame(self, time: int, rgb: Frame) -> Any:
        look = self._look
        height, width = self._size
        frame = _av().VideoFrame.from_ndarray(rgb, "rgb48le" if look.deep else "rgb24")
        frame = frame.reformat(
            width=width,
            height=height,
            format=self._format,
            src_colorspace=look.matrix,
            dst_colorspace=look.matrix,
            src_color_range=_FULL,
            dst_color_range=look.range,
            interpolation=_accurate(),
        )
        frame.pts, frame.time_base = time, look.time_base
        frame.colorspace, frame.color_range = look.matrix, look.range
        return frame


def _check_target(source: Path, target: Path) -> None:
    with naming(target):
        if target.suffix.lower() not in (".mkv", ".mov", ".mp4", ".webm"):
            raise ImageError(
                f"'{target.suffix}' is no film to write; use .mp4, .mkv, .mov or .webm"
            )
        if target.exists() and source.exists() and target.samefile(source):
            raise ImageError("is the source; give another name")
        if not target.parent.is_dir():
            raise ImageError("its folder does not exist; create it first")


def _join(segments: Segments, source: Path, target: Path) -> None:
    """One film of all segments and the source's sound, subtitles, chapters and descriptions."""
    av = _av()
    with atomic_write(target) as temporary, ExitStack() as stack:
        original = stack.enter_context(av.open(str(source), metadata_errors="replace"))
        out = stack.enter_context(av.open(str(temporary), "w"))
        out.metadata.update(original.metadata)
        paths = segments.paths
        first = stack.enter_context(av.open(str(paths[0])))
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
        with _av().open(str(path)) as segment:
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

"""A video -> a super-resolved video; all other streams are copied.

Frames are decoded, super-resolved and encoded one after the other, in segments of some seconds that
are kept next to the target until the end. An interrupted run resumes after the last of them. Then
the segments are joined with the sound, the subtitles and all other streams of the source, whose
packets are copied. Neither all frames nor all segments are ever in memory at once.

Frames keep their times, so a variable frame rate stays variable and a constant one stays exact.
Rotation and mirroring are applied to the pixels. Color matrix, range, primaries and transfer are
those of the source, and so are HDR10 metadata; if a source states no matrix, the result states the
one that players assume for the source's size. Interlaced frames are deinterlaced. Everything that a
result cannot keep becomes a note.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path

from torch_sr.aliases import OnNote, OpenProgress, Pixels
from torch_sr.errors import ImageError
from torch_sr.images.errors import naming_file, refuse_existing
from torch_sr.inference.video.codecs import check_codec, choose_codec, keep_fields
from torch_sr.inference.video.decoding import read_frames
from torch_sr.inference.video.deinterlacing import PROGRESSIVE, by_fields
from torch_sr.inference.video.encoding import Encoder
from torch_sr.inference.video.inspection import FrameFormat, inspect_video
from torch_sr.inference.video.joining import join
from torch_sr.inference.video.opening import naming_video, open_video, unwritable
from torch_sr.inference.video.segments import SegmentFolder
from torch_sr.inference.video.streams import plan_streams

_log = logging.getLogger(__name__)

_SEGMENT_FRAMES = 240
_RECORD_VERSION = 2  # segments of another version are not used


@dataclass(frozen=True)
class VideoInfo:
    """The frame size and length of a video.

    Args:
        height, width: of an upright frame.
        frames: how many, if known.
    """

    height: int
    width: int
    frames: int | None


def read_video_info(path: Path) -> VideoInfo:
    """Read a video's header and first frame.

    Raises:
        ImageError: it is missing, damaged, or not a video.
        MissingExtraError: PyAV is not installed.
    """
    frame_format, frames = inspect_video(path)
    return VideoInfo(frame_format.height, frame_format.width, frames)


def check_target(target: Path, codec: str | None = None) -> None:
    """Refuse a target that cannot be written, before the work starts.

    Args:
        target: the video to write.
        codec: a key of :data:`CODECS`, or the source's.

    Raises:
        ImageError: its suffix is not one that is written, or cannot hold the codec.
    """
    with naming_file(target):
        check_codec(target.suffix.lower(), codec)


def upscale_video(
    upscale: Callable[[Pixels], Pixels],
    scale_factor: int,
    source: Path,
    target: Path,
    *,
    size: Callable[[int, int], tuple[int, int]] | None = None,
    crf: int = 16,
    codec: str | None = None,
    deinterlace: bool = True,
    fingerprint: str = "",
    segment_frames: int = _SEGMENT_FRAMES,
    progress: OpenProgress | None = None,
    overwrite: bool = False,
    on_note: OnNote | None = None,
) -> Path:
    """Super-resolve a video.

    Args:
        upscale: RGB ``(H, W, 3)``, uint8 or, of videos with more than 8 bits, uint16, to the same
            ``scale_factor`` times as high and wide.
        scale_factor: of `upscale`.
        source: any file that PyAV reads.
        target: .mp4, .mkv, .mov or .webm.
        size: resample each frame to the height and width it returns.
        crf: constant quality, from 0 (lossless where the codec can be) to 51.
        codec: ``h264``, ``hevc``, ``av1``, ``ffv1``, ``prores`` or ``vp9``; by default that of the
            source if it is one of these and fits into the target, otherwise H.264 (VP9 in .webm).
        deinterlace: deinterlace interlaced frames; otherwise each field is
            super-resolved separately and the order of the fields is kept.
        fingerprint: of the model; finished segments of another one are not used.
        segment_frames: frames in a segment; an interruption loses at most one segment.
        progress: called after each frame.
        overwrite: replace ``target`` if it exists; the source is never replaced.
        on_note: called with a note on everything that the result cannot keep; by default they are
            logged as warnings.

    Raises:
        ImageError: the source is not a video or damaged, or the target cannot be written.
        MissingExtraError: PyAV is not installed.
    """
    _check_files(source, target, codec)
    refuse_existing(target, overwrite=overwrite)
    note = _once(on_note or (lambda text: _log.warning("%s: %s", source.name, text)))
    frame_format, total = inspect_video(source)
    encoder = _encoder(frame_format, target, scale_factor, size, crf, codec, deinterlace, note)
    settings = [_RECORD_VERSION, fingerprint, crf, *encoder.size, segment_frames]
    settings += [target.suffix.lower(), encoder.codec.name, deinterlace]
    segments = SegmentFolder(target, source, settings)
    on_frame = upscale if encoder.frame_format.order == PROGRESSIVE else by_fields(upscale)
    frames = _frames_of(source, target, frame_format, segments.last_time, deinterlace, note)
    with closing(frames):
        report = _reporter(progress, total)
        _write_segments(frames, on_frame, segments, encoder, segment_frames, report)
    if not segments.finished:
        with naming_file(source):
            raise ImageError("download the file again: no frame can be decoded")
    with naming_video(target, unwritable(target)):
        join(segments, encoder, source, target, note)
    segments.remove()
    return target


def _frames_of(
    source: Path,
    target: Path,
    frame_format: FrameFormat,
    after: int | None,
    deinterlace: bool,
    note: OnNote,
) -> Generator[tuple[int, int, Pixels], None, None]:
    """The frames after the finished segments; errors in reading them name the source."""
    with naming_video(source), open_video(source) as container:
        for text in plan_streams(container, target.suffix.lower())[1]:
            note(text)
        yield from read_frames(container, frame_format, after, deinterlace, note)


def _write_segments(
    frames: Iterator[tuple[int, int, Pixels]],
    on_frame: Callable[[Pixels], Pixels],
    segments: SegmentFolder,
    encoder: Encoder,
    segment_frames: int,
    report: Callable[[int], None],
) -> None:
    """Super-resolve and encode all frames, segment by segment."""
    done = segments.num_frames
    if done:
        report(done)
    while True:
        with ExitStack() as stack:
            count = 0
            for time, duration, rgb in frames:
                if count == 0:
                    write = stack.enter_context(segments.append(encoder.open))
                write(time, duration, on_frame(rgb))
                count += 1
                done += 1
                report(done)
                if count == segment_frames:
                    break
        if count < segment_frames:
            return


def _reporter(progress: OpenProgress | None, total: int | None) -> Callable[[int], None]:
    def report(done: int) -> None:
        if progress is not None:
            progress(done, max(total, done) if total else None)

    return report


def _encoder(
    frame_format: FrameFormat,
    target: Path,
    scale_factor: int,
    size: Callable[[int, int], tuple[int, int]] | None,
    crf: int,
    codec: str | None,
    deinterlace: bool,
    note: OnNote,
) -> Encoder:
    """Choose how to encode the result; report what that loses."""
    suffix = target.suffix.lower()
    with naming_file(target):
        chosen, lossy = choose_codec(suffix, codec, frame_format.decoder, frame_format.bits)
        if deinterlace:
            frame_format = replace(frame_format, order=PROGRESSIVE, marking=PROGRESSIVE)
        elif frame_format.order != PROGRESSIVE:
            chosen = keep_fields(chosen, suffix, asked=codec is not None)
    height, width = frame_format.height * scale_factor, frame_format.width * scale_factor
    height, width = size(frame_format.height, frame_format.width) if size else (height, width)
    encoder = Encoder(suffix, chosen, frame_format, height, width, crf)
    with naming_file(target):
        encoder.check()
    for text in filter(None, (lossy, *frame_format.notes, *encoder.notes)):
        note(text)
    return encoder


def _once(on_note: OnNote) -> OnNote:
    """Report each note only once."""
    seen: set[str] = set()

    def note(text: str) -> None:
        if text not in seen:
            seen.add(text)
            on_note(text)

    return note


def _check_files(source: Path, target: Path, codec: str | None) -> None:
    check_target(target, codec)
    with naming_file(target):
        if target.exists() and source.exists() and target.samefile(source):
            raise ImageError("is the source; give another name")
        if not target.parent.is_dir():
            raise ImageError("its folder does not exist; create it first")

"""A video -> a video: frames are super-resolved, everything else is carried over.

Frames are decoded, super-resolved and encoded one after the other, in closed pieces of some seconds
that are kept beside the target until the end. An interrupted run resumes after the last of them.
Then the pieces are joined with the sound, the subtitles and whatever else the source holds, whose
packets are copied as they are. Neither frames nor pieces are ever in memory all at once.

Frames keep their times, so a variable frame rate stays variable and a constant one keeps its
numbers. Rotation and mirroring are applied to the pixels. Matrix, range, primaries and transfer of
the colours are those of the source, and so are HDR10 metadata; where a source names no matrix, the
result names the one that players assume for the source's size. Interlaced frames are deinterlaced.
What a result cannot keep becomes a note.

::

    opening.py         a file -> a container, its video stream, and errors that name the file
    looking.py         how the frames are stored
    timing.py          jumps in time, missing times, rounded times
    deinterlacing.py   interlaced frames
    decoding.py        a video -> upright RGB frames and their times
    codecs.py          which codec, in which container, with which settings
    hdr.py             HDR, stereo and spherical metadata
    encoding.py        frames -> a piece
    segments.py        which pieces are finished
    carrying.py        sound, subtitles, covers, attached files, other videos
    joining.py         pieces and all that goes along -> a video
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path

from torch_sr.aliases import OnNote, OpenProgress, Pixels
from torch_sr.errors import ImageError
from torch_sr.images.naming import naming, refuse_existing
from torch_sr.inference.video.carrying import plan
from torch_sr.inference.video.codecs import CODECS, check_codec, choose_codec, keep_fields
from torch_sr.inference.video.decoding import read_frames
from torch_sr.inference.video.deinterlacing import PROGRESSIVE, by_half_pictures
from torch_sr.inference.video.encoding import Encoder
from torch_sr.inference.video.joining import join
from torch_sr.inference.video.looking import Look, look_at
from torch_sr.inference.video.opening import naming_video, open_video, unwritable
from torch_sr.inference.video.segments import Segments

__all__ = ["CODECS", "VideoInfo", "check_target", "read_video_info", "upscale_video"]

_log = logging.getLogger(__name__)

_SEGMENT_FRAMES = 240
_LAYOUT = 2  # of pieces; those of another one are not taken


@dataclass(frozen=True)
class VideoInfo:
    """What a video says of itself.

    Args:
        height, width: of an upright frame.
        frames: how many, where that is known.
    """

    height: int
    width: int
    frames: int | None


def read_video_info(path: Path) -> VideoInfo:
    """Look at a video's header and first frame.

    Raises:
        ImageError: it is missing, damaged, or no video.
        MissingExtraError: PyAV is not installed.
    """
    look, frames = look_at(path)
    return VideoInfo(look.height, look.width, frames)


def check_target(target: Path, codec: str | None = None) -> None:
    """Refuse a target that cannot be written, before any work.

    Args:
        target: the video to write.
        codec: a key of :data:`CODECS`, or the source's.

    Raises:
        ImageError: its suffix is not one that is written, or cannot hold the codec.
    """
    with naming(target):
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
        scale_factor: see there.
        source: what PyAV reads.
        target: .mp4, .mkv, .mov or .webm.
        size: resample each frame to the height and width it returns.
        crf: constant quality, from 0 (lossless where the codec can be) to 51.
        codec: ``h264``, ``hevc``, ``av1``, ``ffv1``, ``prores`` or ``vp9``; by default that of the
            source if it is one of these and fits into the target, otherwise H.264 (VP9 in .webm).
        deinterlace: make whole pictures of interlaced frames; otherwise each half picture is
            super-resolved by itself and the order of the half pictures is kept.
        fingerprint: of the model; finished pieces of another one are not used.
        segment_frames: frames in a piece, which an interruption may cost.
        progress: called after each frame.
        overwrite: replace ``target`` if it exists; the source is never replaced.
        on_note: called with each thing that the result could not keep; by default these are
            logged as warnings.

    Raises:
        ImageError: the source is no video or damaged, or the target cannot be written.
        MissingExtraError: PyAV is not installed.
    """
    _check_files(source, target, codec)
    refuse_existing(target, overwrite=overwrite)
    note = _once(on_note or (lambda text: _log.warning("%s: %s", source.name, text)))
    look, total = look_at(source)
    encoder = _encoder(look, target, scale_factor, size, crf, codec, deinterlace, note)
    settings = [_LAYOUT, fingerprint, crf, *encoder.size, segment_frames]
    settings += [target.suffix.lower(), encoder.codec.name, deinterlace]
    segments = Segments(target, source, settings)
    engine = upscale if encoder.look.order == PROGRESSIVE else by_half_pictures(upscale)
    frames = _frames_of(source, target, look, segments.last_time, deinterlace, note)
    with closing(frames):
        report = _reporter(progress, total)
        _work(frames, engine, segments, encoder, segment_frames, report)
    if not segments.pieces:
        with naming(source):
            raise ImageError("fetch the file again: no frame can be decoded")
    with naming_video(target, unwritable(target)):
        join(segments, encoder, source, target, note)
    segments.remove()
    return target


def _frames_of(
    source: Path, target: Path, look: Look, after: int | None, deinterlace: bool, note: OnNote
) -> Generator[tuple[int, int, Pixels], None, None]:
    """The frames that are still to do; errors of the source name it, those of others do not."""
    with naming_video(source), open_video(source) as container:
        for text in plan(container, target.suffix.lower())[1]:
            note(text)
        yield from read_frames(container, look, after, deinterlace, note)


def _work(
    frames: Iterator[tuple[int, int, Pixels]],
    engine: Callable[[Pixels], Pixels],
    segments: Segments,
    encoder: Encoder,
    segment_frames: int,
    report: Callable[[int], None],
) -> None:
    """Super-resolve and encode all frames, piece by piece."""
    done = segments.num_frames
    if done:
        report(done)
    while True:
        with ExitStack() as stack:
            count = 0
            for time, duration, rgb in frames:
                if count == 0:
                    write = stack.enter_context(segments.append(encoder))
                write(time, duration, engine(rgb))
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
    look: Look,
    target: Path,
    scale_factor: int,
    size: Callable[[int, int], tuple[int, int]] | None,
    crf: int,
    codec: str | None,
    deinterlace: bool,
    note: OnNote,
) -> Encoder:
    """How the result is encoded; what that loses is noted."""
    suffix = target.suffix.lower()
    with naming(target):
        chosen, lossy = choose_codec(suffix, codec, look.decoder, look.bits)
        if deinterlace:
            look = replace(look, order=PROGRESSIVE, marking=PROGRESSIVE)
        elif look.order != PROGRESSIVE:
            chosen = keep_fields(chosen, suffix, asked=codec is not None)
    height, width = look.height * scale_factor, look.width * scale_factor
    height, width = size(look.height, look.width) if size else (height, width)
    encoder = Encoder(suffix, chosen, look, height, width, crf)
    with naming(target):
        encoder.check()
    for text in filter(None, (lossy, *look.notes, *encoder.notes)):
        note(text)
    return encoder


def _once(on_note: OnNote) -> OnNote:
    """Each note one time."""
    seen: set[str] = set()

    def note(text: str) -> None:
        if text not in seen:
            seen.add(text)
            on_note(text)

    return note


def _check_files(source: Path, target: Path, codec: str | None) -> None:
    check_target(target, codec)
    with naming(target):
        if target.exists() and source.exists() and target.samefile(source):
            raise ImageError("is the source; give another name")
        if not target.parent.is_dir():
            raise ImageError("its folder does not exist; create it first")

"""A film -> a film: frames are super-resolved, all else is carried over.

Frames are decoded, super-resolved and encoded one after the other, in closed segments of some
seconds that lie beside the target until the end. A run that was broken off goes on after the last
of them. Then the segments are joined with the sound and the subtitles of the source, whose packets
are copied as they are. Neither frames nor segments ever lie in memory all at once.

Frames keep their times, so a variable frame rate stays what it was. Rotation is applied to the
pixels. Matrix, range, primaries and transfer of the colours are those of the source; where a
matrix is not told, it is the one that players assume for the source's size, and is told then.

::

    decoding.py   a film -> upright RGB frames and their times
    encoding.py   frames -> a segment
    segments.py   which segments are finished
    joining.py    segments, sound and subtitles -> a film
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy.typing as npt

from torch_sr.errors import ImageError
from torch_sr.images.naming import UNWRITABLE, naming
from torch_sr.inference.video.decoding import look_at, naming_film, open_film, read_frames
from torch_sr.inference.video.encoding import Encoder
from torch_sr.inference.video.joining import join
from torch_sr.inference.video.segments import Segments

Frame = npt.NDArray[Any]
Progress = Callable[[int, int | None], None]
"""Called with the frames done and the frames in all, where that is known."""
OnNote = Callable[[str], None]
"""Called with a sentence on something that the source holds and the result does not."""

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


def read_video_info(path: Path) -> VideoInfo:
    """Look at a film's header and first frame.

    Raises:
        ImageError: it is missing, damaged, or no film.
        MissingExtraError: PyAV is not installed.
    """
    look, frames = look_at(path)
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
    on_note: OnNote | None = None,
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
        on_note: called with each thing that the result could not keep; by default these are
            logged as warnings.

    Raises:
        ImageError: the source is no film or damaged, or the target cannot be written.
        MissingExtraError: PyAV is not installed.
    """
    _check_target(source, target)
    look, total = look_at(source)
    with naming_film(source), open_film(source) as container:
        height, width = look.height * scale_factor, look.width * scale_factor
        height, width = size(look.height, look.width) if size else (height, width)
        settings = [fingerprint, crf, height, width, segment_frames, target.suffix.lower()]
        segments = Segments(target, source, settings)
        frames = read_frames(container, look, segments.last_time)
        done = segments.num_frames
        if progress is not None and done:
            progress(done, total)
        encoder = Encoder(target, look, height, width, crf)
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
    with naming_film(target, UNWRITABLE):
        join(segments, source, target)
    segments.remove()
    return target


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

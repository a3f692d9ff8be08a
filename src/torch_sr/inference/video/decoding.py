"""A film -> upright RGB frames and their times. The one file that imports PyAV."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from torch_sr.errors import ImageError, MissingExtraError
from torch_sr.images.naming import UNREADABLE, naming

Frame = npt.NDArray[Any]

LIMITED, FULL = 1, 2
"""ffmpeg's numbers of the ranges of colours."""
_SDTV, _HDTV = 5, 1  # ffmpeg's numbers of the matrices of ITU-R BT.601 and BT.709
_MATRICES = (_HDTV, 4, _SDTV, 6, 7, 9)  # those that it can compute
_MAX_BROKEN = 1000  # packets

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Look:
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


def pyav() -> Any:
    """The library, or an error that says what to install."""
    try:
        import av
    except ImportError:
        raise MissingExtraError("PyAV, which reads videos,", "video") from None
    return av


def film_url(path: Path) -> str:
    """How ffmpeg is told a file: of ``12:30.mp4`` it would take 12 for a protocol."""
    return f"file:{path}"


@contextmanager
def naming_film(path: Path, failed: str = UNREADABLE) -> Iterator[None]:
    """As :func:`naming`, of what ffmpeg raises too."""
    with naming(path, failed):
        try:
            yield
        except pyav().error.FFmpegError as error:
            if isinstance(error, (OSError, ValueError)):
                raise
            raise ValueError(error.strerror) from error


def open_film(path: Path) -> Any:
    """A container; the caller closes it. A file that is missing or empty is told as such."""
    av = pyav()
    if not path.is_file():
        problem = "is no file" if path.exists() else "no such file"
        raise ImageError(f"{problem}; check the path")
    if path.stat().st_size == 0:
        raise ImageError("is empty (0 bytes); fetch it again")
    return av.open(film_url(path), metadata_errors="replace")


def look_at(path: Path) -> tuple[Look, int | None]:
    """How the frames are stored, and how many there are."""
    with naming_film(path), open_film(path) as container:
        frame = next((frame for _, frame in _decode(container)), None)
        if frame is None:
            raise ImageError("holds no frame that can be decoded; fetch it again")
        return _look_of(frame, container.streams.video[0]), _count_frames(container)


def _look_of(frame: Any, stream: Any) -> Look:
    turns = round(frame.rotation / 90) % 4
    height, width = (frame.height, frame.width) if turns % 2 == 0 else (frame.width, frame.height)
    chroma = frame.format
    aspect = stream.sample_aspect_ratio
    full = frame.color_range == FULL or chroma.name.startswith("yuvj") or chroma.is_rgb
    # No matrix told: players take that of the source's size, and would take another one for ours.
    guess = _HDTV if frame.height >= 720 else _SDTV
    matrix = int(frame.colorspace)
    return Look(
        height=height,
        width=width,
        turns=turns,
        deep=max((c.bits for c in chroma.components), default=8) > 8,
        chroma="444"
        if chroma.is_rgb or "444" in chroma.name
        else "422"
        if "422" in chroma.name
        else "420",
        matrix=matrix if matrix in _MATRICES else guess,
        range=FULL if full else LIMITED,
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
        except pyav().error.InvalidDataError:
            broken += 1
            if broken > _MAX_BROKEN:
                break
            continue
        for frame in decoded:
            last = max(last + 1, frame.pts if frame.pts is not None else max(last + 1, 0))
            yield last, frame
    if broken:
        _log.warning("%s: %d damaged packets were passed over", container.name, broken)


def read_frames(container: Any, look: Look, after: int | None) -> Iterator[tuple[int, Frame]]:
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
            dst_color_range=FULL,
            interpolation=accurate(),
        ).to_ndarray()
        yield time, np.ascontiguousarray(np.rot90(rgb, look.turns))


def accurate() -> Any:
    """A way to convert colours that does not darken them by a level or two, as the default does."""
    from av.video.reformatter import Interpolation

    return Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT

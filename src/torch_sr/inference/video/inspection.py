"""Inspect a video's first frame: its format, and what will be lost."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from torch_sr.errors import ImageError
from torch_sr.inference.video.deinterlacing import PROGRESSIVE, field_order, same_order
from torch_sr.inference.video.hdr import SideData
from torch_sr.inference.video.opening import naming_video, open_video, pyav, video_stream
from torch_sr.inference.video.timing import FrameTimes, frame_rate

LIMITED, FULL = 1, 2
"""ffmpeg's numbers for color ranges."""
_SDTV, _HDTV = 5, 1  # ffmpeg's numbers of the matrices of ITU-R BT.601 and BT.709
_RGB, _UNSTATED = 0, 2
_MATRICES = (_HDTV, 4, _SDTV, 6, 7, 9)  # those that ffmpeg can convert
_MAX_BROKEN = 1000  # packets

_LOST = {
    "A53_CC": "closed captions inside the frames were left out",
    "DYNAMIC_HDR_PLUS": "HDR10+ dynamic metadata was left out",
    "DYNAMIC_HDR_VIVID": "HDR Vivid dynamic metadata was left out",
    "DOVI_RPU_BUFFER": "Dolby Vision metadata was left out; only its base layer was used",
    "DOVI_METADATA": "Dolby Vision metadata was left out; only its base layer was used",
    "ICC_PROFILE": "the ICC color profile was left out",
    "AMBIENT_VIEWING_ENVIRONMENT": "the description of the viewing environment was left out",
}


@dataclass(frozen=True)
class FrameFormat:
    """How frames are stored, which the encoder repeats.

    Args:
        height, width: of an upright frame.
        turns: quarter turns, counter-clockwise, that make it upright.
        mirrored: whether to mirror it after that.
        bits: of a sample.
        chroma: 420, 422 or 444.
        matrix, range, primaries, transfer: of the colors, as ffmpeg numbers them.
        aspect: width of a pixel over its height.
        rate: frames per second.
        time_base: the unit of the frames' times, in seconds.
        order: which field comes first, or progressive; see ``deinterlacing``.
        marking: the container's field order, which distinguishes more cases.
        suspect: whether the container says that frames are interlaced.
        side_data: HDR, stereo and spherical metadata.
        decoder: ffmpeg's name of the decoder.
        notes: on what no result can hold.
    """

    height: int
    width: int
    turns: int
    mirrored: bool
    bits: int
    chroma: str
    matrix: int
    range: int
    primaries: int
    transfer: int
    aspect: Fraction | None
    rate: Fraction | None
    time_base: Fraction
    order: int
    marking: int
    suspect: bool
    side_data: SideData
    decoder: str
    notes: tuple[str, ...]


def inspect_video(path: Path) -> tuple[FrameFormat, int | None]:
    """The format of the frames, and their number, if it is known.

    Raises:
        ImageError: the file is missing, damaged, or without a video stream.
        MissingExtraError: PyAV is not installed.
    """
    with naming_video(path), open_video(path) as container:
        stream = video_stream(container)
        frame = next(_frames(container, stream), None)
        if frame is None:
            raise ImageError("download the file again: no frame can be decoded")
        return _format_of(frame, stream), _count_frames(container, stream)


def _frames(container: Any, stream: Any) -> Iterator[Any]:
    for broken, packet in enumerate(container.demux(stream)):
        try:
            yield from packet.decode()
        except pyav().error.FFmpegError:
            if broken > _MAX_BROKEN:
                return


def _format_of(frame: Any, stream: Any) -> FrameFormat:
    turns, mirrored = _orientation(frame)
    height, width = (frame.height, frame.width) if turns % 2 == 0 else (frame.width, frame.height)
    layout = frame.format
    aspect = stream.sample_aspect_ratio or None
    full = frame.color_range == FULL or layout.name.startswith("yuvj") or layout.is_rgb
    # No matrix is stated: players guess it from the size, which is another one in the result.
    guess = _HDTV if frame.height >= 720 else _SDTV
    matrix = int(frame.colorspace)
    stated, order = int(stream.codec_context.field_order), field_order(frame, stream)
    return FrameFormat(
        height=height,
        width=width,
        turns=turns,
        mirrored=mirrored,
        bits=max((component.bits for component in layout.components), default=8),
        chroma=_chroma(layout),
        matrix=matrix if matrix in _MATRICES else guess,
        range=FULL if full else LIMITED,
        primaries=int(frame.color_primaries),
        transfer=int(frame.color_trc),
        aspect=aspect and (1 / aspect if turns % 2 else aspect),
        rate=frame_rate(stream),
        time_base=FrameTimes(stream).time_base,
        order=order,
        marking=stated if same_order(stated, order) else order,
        suspect=stated > PROGRESSIVE,
        side_data=SideData.of(frame),
        decoder=stream.codec_context.name,
        notes=tuple(_losses(frame, stream)),
    )


def _chroma(layout: Any) -> str:
    if layout.is_rgb or "444" in layout.name:
        return "444"
    return "422" if "422" in layout.name else "420"


def _orientation(frame: Any) -> tuple[int, bool]:
    """Quarter turns counter-clockwise, and whether the image is then mirrored from left to right.

    From the matrix that ffmpeg calls a display matrix: x' = a x + c y, y' = b x + d y.
    """
    for data in frame.side_data:
        if data.type.name == "DISPLAYMATRIX":
            a, b, _, c, d = struct.unpack_from("=5i", bytes(data))
            if a * d - b * c >= 0:
                break
            sign = -1  # a mirror after the turn has changed the signs of a and c
            steps = {(1, 0): 0, (0, 1): 3, (-1, 0): 2, (0, -1): 1}
            turn = steps.get((_sign(sign * a, b), _sign(b, a)))
            return (turn or 0), True
    return round(frame.rotation / 90) % 4, False


def _sign(value: int, other: int) -> int:
    """The direction of a part of a vector along its longer side; 0 for the shorter."""
    return 0 if abs(value) < abs(other) else (value > 0) - (value < 0)


def _losses(frame: Any, stream: Any) -> Iterator[str]:
    # A pixel format with transparency has one component more than colors.
    transparent = len(frame.format.components) in (2, 4) or frame.format.name == "pal8"
    if (transparent and frame.format.name != "pal8") or stream.metadata.get("alpha_mode") == "1":
        yield "the transparency of the frames was left out"
    matrix = int(frame.colorspace)
    if matrix not in (*_MATRICES, _RGB, _UNSTATED):
        yield f"the color matrix (number {matrix} of ITU-T H.273) was taken for a common one"
    yield from dict.fromkeys(_LOST[d.type.name] for d in frame.side_data if d.type.name in _LOST)


def _count_frames(container: Any, stream: Any) -> int | None:
    if stream.frames:
        return int(stream.frames)
    if container.duration and stream.average_rate:
        return max(1, round(float(container.duration / 1e6 * stream.average_rate)))
    return None

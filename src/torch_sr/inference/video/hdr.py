"""HDR, stereo and spherical metadata, for encoders and for MP4.

Mastering display color volume (SMPTE ST 2086) and content light level (CTA-861.3) describe the
display of an HDR10 video. Encoders write them into their streams; MP4 and Matroska repeat them
in their headers, like stereo and spherical layouts. PyAV cannot set headers, but
copies them from a template: :func:`template_with` writes one.
"""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from torch_sr.inference.video.opening import pyav

_COORDINATE, _LUMINANCE = 50_000, 10_000  # units of ST 2086 per 1, and per candela/m²


@dataclass(frozen=True)
class SideData:
    """Metadata of all frames of a video, as ffmpeg's structures.

    Args:
        mastering: AVMasteringDisplayMetadata.
        light: AVContentLightMetadata.
        stereo: AVStereo3D.
        spherical: AVSphericalMapping.
    """

    mastering: bytes = b""
    light: bytes = b""
    stereo: bytes = b""
    spherical: bytes = b""

    @classmethod
    def of(cls, frame: Any) -> SideData:
        """The side data of a decoded frame."""
        found = {data.type.name: bytes(data) for data in frame.side_data}
        return cls(
            found.get("MASTERING_DISPLAY_METADATA", b""),
            found.get("CONTENT_LIGHT_LEVEL", b""),
            found.get("STEREO3D", b""),
            found.get("SPHERICAL", b""),
        )

    @property
    def light_level(self) -> tuple[int, int] | None:
        """MaxCLL and MaxFALL, in candela/m²."""
        if not self.light:
            return None
        most, average = struct.unpack_from("=2I", self.light)
        return most, average

    @property
    def display(self) -> Display | None:
        """The display that the video was mastered on."""
        return Display.parse(self.mastering) if self.mastering else None


@dataclass(frozen=True)
class Display:
    """A mastering display: chromaticities of red, green, blue and white, and its luminances."""

    red: tuple[Fraction, Fraction]
    green: tuple[Fraction, Fraction]
    blue: tuple[Fraction, Fraction]
    white: tuple[Fraction, Fraction]
    darkest: Fraction
    brightest: Fraction

    @classmethod
    def parse(cls, data: bytes) -> Display | None:
        """Read AVMasteringDisplayMetadata; None if it is incomplete."""
        numbers = struct.unpack_from("=22i", data)
        if not (numbers[20] and numbers[21]) or 0 in numbers[1:20:2]:
            return None
        values = [Fraction(numbers[i], numbers[i + 1]) for i in range(0, 20, 2)]
        pairs = [(values[i], values[i + 1]) for i in range(0, 8, 2)]
        return cls(pairs[0], pairs[1], pairs[2], pairs[3], values[8], values[9])

    def integers(self) -> str:
        """In the syntax of x264 and x265."""
        corners = zip(["G", "B", "R", "WP"], self._corners(), strict=True)
        points = "".join(f"{name}({_units(x)},{_units(y)})" for name, (x, y) in corners)
        return f"{points}L({_candelas(self.brightest)},{_candelas(self.darkest)})"

    def decimals(self) -> str:
        """In the syntax of SVT-AV1."""
        corners = zip(["G", "B", "R", "WP"], self._corners(), strict=True)
        points = "".join(f"{name}({float(x):.5f},{float(y):.5f})" for name, (x, y) in corners)
        return f"{points}L({float(self.brightest):.4f},{float(self.darkest):.4f})"

    def box(self) -> bytes:
        """As a box of MP4."""
        numbers = [_units(part) for corner in self._corners() for part in corner]
        return _box(
            b"mdcv",
            struct.pack(">8H2I", *numbers, _candelas(self.brightest), _candelas(self.darkest)),
        )

    def _corners(self) -> list[tuple[Fraction, Fraction]]:
        return [self.green, self.blue, self.red, self.white]


def _units(coordinate: Fraction) -> int:
    return min(65_535, max(0, round(coordinate * _COORDINATE)))


def _candelas(luminance: Fraction) -> int:
    return min(2**32 - 1, max(0, round(luminance * _LUMINANCE)))


def template_with(stream: Any, side_data: SideData) -> Any:
    """A copy of a stream with the side data in its header; its container must stay open.

    Args:
        stream: of a segment of the result.
        side_data: the metadata to add.
    """
    boxes = _boxes(side_data)
    file = io.BytesIO()
    try:
        with pyav().open(file, "w", format="mp4" if stream.name != "prores" else "mov") as out:
            out.add_stream_from_template(stream, opaque=True)
            packet = next(p for p in stream.container.demux(stream) if p.size)
            packet.stream = out.streams[0]
            packet.pts = packet.dts = 0
            out.mux(packet)
    except ValueError:  # FFV1 does not fit into MP4 and has no side data
        return stream
    return pyav().open(io.BytesIO(_inserted(file.getvalue(), boxes))).streams.video[0]


def _boxes(side_data: SideData) -> bytes:
    boxes = b""
    if display := side_data.display:
        boxes += display.box()
    if level := side_data.light_level:
        boxes += _box(b"clli", struct.pack(">2H", *(min(65_535, value) for value in level)))
    return boxes + _stereo_box(side_data.stereo) + _spherical_box(side_data.spherical)


def _stereo_box(data: bytes) -> bytes:
    """``st3d`` of https://github.com/google/spatial-media: ffmpeg's side by side is 1, theirs 2."""
    mode = {0: 0, 1: 2, 2: 1}.get(struct.unpack_from("=i", data)[0]) if data else None
    return b"" if mode is None else _box(b"st3d", struct.pack(">IB", 0, mode))


def _spherical_box(data: bytes) -> bytes:
    """``sv3d`` of https://github.com/google/spatial-media."""
    if not data:
        return b""
    kind, yaw, pitch, roll, left, top, right, bottom, padding = struct.unpack_from("=4i5I", data)
    if kind == 1:
        projection = _box(b"cbmp", struct.pack(">3I", 0, 0, padding))
    elif kind in (0, 2):
        projection = _box(b"equi", struct.pack(">5I", 0, top, bottom, left, right))
    else:
        return b""
    pose = _box(b"prhd", struct.pack(">I3i", 0, yaw, pitch, roll))
    source = _box(b"svhd", struct.pack(">I", 0) + b"torch-sr\0")
    return _box(b"sv3d", source + _box(b"proj", pose + projection))


def _box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", 8 + len(content)) + kind + content


def _inserted(file: bytes, boxes: bytes) -> bytes:
    """Append boxes to the description of the first track of an MP4 file."""
    data = bytearray(file)
    position, end = 0, len(data)
    for kind, header in _PATH:
        while kind and data[position + 4 : position + 8] != kind:
            position += int.from_bytes(data[position : position + 4], "big")
        size = int.from_bytes(data[position : position + 4], "big")
        data[position : position + 4] = struct.pack(">I", size + len(boxes))
        position, end = position + header, position + size
    data[end:end] = boxes
    return bytes(data)


def hide_apple_layout_box(path: Path) -> None:
    """Turn Apple's box about stereo and spherical layouts in an MP4 file into a free box.

    ffmpeg writes it with less information than the other boxes have, and prefers it when it reads.
    """
    with path.open("r+b") as file:
        position, size = 0, path.stat().st_size
        while position + 16 <= size:
            file.seek(position)
            head = file.read(16)
            length = int.from_bytes(head[:4], "big")
            length = int.from_bytes(head[8:], "big") if length == 1 else length
            if head[4:8] == b"moov":
                file.seek(position)
                found = (data := file.read(length)).find(b"vexu", max(0, data.find(b"stsd")))
                if found >= 0:
                    file.seek(position + found)
                    file.write(b"free")
                return
            if length < 8:
                return
            position += length


_PATH = [(kind.encode(), 8) for kind in ("moov", "trak", "mdia", "minf", "stbl")]
_PATH += [(b"stsd", 16), (b"", 8)]  # its entry is named by its codec

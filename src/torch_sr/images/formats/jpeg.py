"""JPEG segments: unsupported codings, and content besides the image.

ITU-T T.81, annex B; CIPA DC-007 (MPF); ISO 21496-1 and Adobe's specification of gain maps.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from pathlib import Path

from torch_sr.aliases import PathLike

_MAX_BYTES = 1 << 24  # that are searched for segments
_CODINGS = {
    0xC3: "lossless coding",
    0xC5: "hierarchical coding",
    0xC6: "hierarchical coding",
    0xC7: "lossless hierarchical coding",
    0xC9: "arithmetic coding",
    0xCA: "arithmetic coding",
    0xCB: "lossless arithmetic coding",
    0xCD: "hierarchical arithmetic coding",
    0xCE: "hierarchical arithmetic coding",
    0xCF: "lossless arithmetic coding",
    0xF7: "the coding of JPEG-LS",
}


def _segments(path: PathLike, start: int = 0) -> Iterator[tuple[int, bytes]]:
    """Markers and their data, up to the first scan."""
    with Path(path).open("rb") as file:
        file.seek(start + 2)
        while file.tell() < _MAX_BYTES:
            head = file.read(4)
            if len(head) < 4 or head[0] != 0xFF:
                return
            while head[1] == 0xFF:  # fill bytes
                head = head[1:] + file.read(1)
                if len(head) < 4:
                    return
            size = int.from_bytes(head[2:4], "big")
            if head[1] in (0xD9, 0xDA) or size < 2:
                return
            yield head[1], file.read(size - 2)


def name_coding(path: PathLike, start: int = 0) -> str | None:
    """The coding of a JPEG if it is not supported, otherwise None."""
    for marker, data in _segments(path, start):
        if marker in _CODINGS:
            return _CODINGS[marker]
        if marker in (0xC0, 0xC1, 0xC2) and len(data) > 5:
            if data[0] != 8:
                return f"{data[0]}-bit samples"
            return None if data[5] in (1, 3, 4) else f"{data[5]} channels"
    return None


def find_left_out(path: PathLike, start: int = 0) -> list[str]:
    """What a JPEG holds besides its image, one sentence each."""
    images, gain_map, video = 1, False, False
    for marker, data in _segments(path, start):
        if marker == 0xE2 and data.startswith(b"MPF\0"):
            images = max(images, _count_images(data[4:]))
        if marker == 0xE2 and data.startswith(b"urn:iso:std:iso:ts:21496:-1\0"):
            gain_map = True
        if marker == 0xE1 and data.startswith(b"http://ns.adobe.com/xap/1.0/\0"):
            gain_map |= bool(re.search(rb"hdrgm:Version|Semantic=\"GainMap\"|HDRGainMap", data))
            video |= bool(re.search(rb":(MotionPhoto|MicroVideo)(=[\"']|>)1", data))
    notes = []
    if gain_map:
        notes.append("its gain map for HDR displays was left out")
        images -= 1
    if images > 1:
        notes.append(f"the first of its {images} images was read")
    if video:
        notes.append("the video in this motion photo was left out")
    return notes


def _count_images(index: bytes) -> int:
    """The number of images in a Multi-Picture Format index, without previews of the first."""
    order = {b"II": "<", b"MM": ">"}.get(index[:2])
    if order is None:
        return 1
    try:
        (at,) = struct.unpack_from(order + "I", index, 4)
        (entries,) = struct.unpack_from(order + "H", index, at)
        for i in range(min(entries, 100)):
            tag, _, size, value = struct.unpack_from(order + "HHII", index, at + 2 + 12 * i)
            if tag == 0xB002:  # one record of 16 bytes per image
                kinds = struct.unpack_from(order + "I12x" * min(size // 16, 1000), index, value)
                return sum(kind >> 16 & 0xFF != 1 for kind in kinds)
    except struct.error:
        pass
    return 1

"""Check GIF files for an incomplete last frame and for transparency.

libvips does not check whether the last frame is complete. GIF89a specification, sections 15 to 27.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import BinaryIO

from torch_sr.aliases import PathLike


def is_complete_gif(path: PathLike) -> bool:
    """Whether the last frame is complete."""
    with Path(path).open("rb") as file:
        head = file.read(13)
        if len(head) < 13:
            return False
        file.seek(_table_bytes(head[10]), 1)
        while kind := file.read(1):
            if kind == b"\x21":  # an extension
                file.read(1)
            elif kind == b"\x2c":  # a frame
                descriptor = file.read(9)
                if len(descriptor) < 9:
                    return False
                file.seek(_table_bytes(descriptor[8]) + 1, 1)
            else:  # the end, or what follows it
                return True
            if not _skip_blocks(file):
                return False
    return True


def has_transparency(path: PathLike) -> bool:
    """Whether a frame near the start has a transparent color."""
    with Path(path).open("rb") as file:
        flags = re.findall(rb"\x21\xf9\x04(.)", file.read(1 << 16), re.DOTALL)
    return any(flag[0] & 1 for flag in flags)


def _table_bytes(flags: int) -> int:
    """The size of a color table."""
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0


def _skip_blocks(file: BinaryIO) -> bool:
    """Skip blocks of data; return whether their end is there."""
    while size := file.read(1):
        if size == b"\0":
            return True
        if len(file.read(size[0])) < size[0]:
            return False
    return False

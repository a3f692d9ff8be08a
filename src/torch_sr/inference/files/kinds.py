"""Recognize images and videos, by their names or their content."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from torch_sr.images import IMAGE_SUFFIXES, display_name, is_image_name

VIDEO_SUFFIXES = frozenset(
    {
        *(".3g2", ".3gp", ".asf", ".avi", ".divx", ".f4v", ".flv", ".m2t", ".m2ts", ".m2v", ".m4v"),
        *(".mkv", ".mov", ".mp4", ".mpe", ".mpeg", ".mpg", ".mts", ".mxf", ".ogm", ".ogv", ".qt"),
        *(".rm", ".rmvb", ".ts", ".vob", ".webm", ".wmv", ".wtv", ".y4m"),
    }
)
_OFTEN_TEXT = (".ts", ".mts")  # also TypeScript
_FIRST_BYTES = (
    b"\x1aE\xdf\xa3",  # Matroska, WebM
    b"FLV\x01",
    b"OggS",
    b"0&\xb2u\x8ef\xcf\x11",  # ASF: WMV
    b"YUV4MPEG2 ",
    b"\x00\x00\x01\xba",  # MPEG program stream: MPG, VOB
    b"\x00\x00\x01\xb3",  # MPEG video alone
    b"\x06\x0e+4\x02\x05\x01\x01",  # MXF
)
_IMAGE_BRANDS = (
    b"avif",
    b"avis",
    b"heic",
    b"heix",
    b"hevc",
    b"heim",
    b"heis",
    b"mif1",
    b"msf1",
    b"crx ",
)


def is_video(path: Path) -> bool:
    """Whether a named file is a video: by its suffix, or by its content if that is unknown."""
    ending = path.suffix.lower()
    if ending in VIDEO_SUFFIXES or ending in IMAGE_SUFFIXES:
        return ending in VIDEO_SUFFIXES
    head = _first_bytes(path, 200)
    isobmff = head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide")
    return (
        head.startswith(_FIRST_BYTES)
        or (isobmff and head[8:12] not in _IMAGE_BRANDS)
        or (head[:4] == b"RIFF" and head[8:12] == b"AVI ")
        or (head[:1] == head[188:189] == b"\x47")  # packets of an MPEG transport stream
        or (head[4:5] == head[196:197] == b"\x47")
    )


def is_source_name(path: Path) -> bool:
    """Whether a file in a folder counts as an image or a video, by its name.

    For suffixes that TypeScript also uses, the first bytes decide.
    """
    if is_image_name(path):
        return True
    ending = path.suffix.lower()
    if path.name.startswith(".") or ending not in VIDEO_SUFFIXES:
        return False
    if ending not in _OFTEN_TEXT:
        return True
    head = _first_bytes(path, 5)
    return not head or head[:1] == b"\x47" or head[4:] == b"\x47"


def count_kinds(files: Iterable[Path]) -> dict[str, int]:
    """The number of files with each suffix, the most frequent first.

    >>> count_kinds([Path("a.txt"), Path("README"), Path("b.TXT")])
    {'.txt': 2, '': 1}
    """
    endings = Counter(display_name(file.suffix.lower()) for file in files)
    return dict(endings.most_common())


def describe_kinds(files: Iterable[Path]) -> str:
    """The numbers of :func:`count_kinds` in words.

    >>> describe_kinds([Path("a.txt"), Path("README"), Path("b.TXT")])
    '2 .txt, 1 without a suffix'
    """
    counts = count_kinds(files).items()
    return ", ".join(f"{number} {kind or 'without a suffix'}" for kind, number in counts)


def _first_bytes(path: Path, count: int) -> bytes:
    """The first bytes; empty if the file cannot be read, or if reading it could block forever."""
    try:
        if not path.is_file():
            return b""
        with path.open("rb") as file:
            return file.read(count)
    except OSError:
        return b""

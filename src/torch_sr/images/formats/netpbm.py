"""Read PBM, PGM, PPM, PAM and PFM at their full bit depth.

The formats are those of Netpbm's manual pages pbm(5) to pam(5), and Debevec's PFM. Pillow would
reduce color to 8 bits.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from torch_sr.aliases import PathLike, Pixels
from torch_sr.errors import ImageError
from torch_sr.images.formats.pillow import check_size
from torch_sr.images.vips import blank

_MAX_HEAD = 4096


@dataclass(frozen=True)
class NetpbmHeader:
    """The header of a Netpbm file.

    Args:
        magic: ``P1`` to ``P7``, ``Pf`` or ``PF``.
        width, height, layers: of the image.
        white: the value of white; of PFM the scale, negative for little-endian.
        start: bytes before the samples.
    """

    magic: str
    width: int
    height: int
    layers: int
    white: float
    start: int

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of a sample in the file."""
        if self.magic in ("Pf", "PF"):
            return np.dtype("<f4" if self.white < 0 else ">f4")
        return np.dtype(">u2" if self.white > 255 else np.uint8)

    @property
    def native(self) -> np.dtype[Any]:
        """Of a sample in memory."""
        native: np.dtype[Any] = self.dtype.newbyteorder("=")
        return native


def blank_netpbm(path: PathLike) -> Any:
    """A black image of the size and type of the one in the file."""
    with Path(path).open("rb") as file:
        header = _parse(file.read(_MAX_HEAD))
    return blank(header.width, header.height, header.layers, header.native)


def read_netpbm(
    path: PathLike, max_pixels: int | None, *, keep: bool = False
) -> tuple[Pixels, int]:
    """The samples ``(H, W, layers)``, and how many rows are missing and gray.

    Args:
        path: the file.
        max_pixels: refuse more pixels than this before decoding.
        keep: accept a file that is cut short.

    Raises:
        ImageError: too large, or of a kind that is not read.
        ValueError: damaged, or cut short.
    """
    with Path(path).open("rb") as file:
        header = _parse(file.read(_MAX_HEAD))
    check_size(header.width, header.height, max_pixels)
    shape = (header.height, header.width, header.layers)
    native = header.native
    samples = _text(path, header) if header.magic in ("P1", "P2", "P3") else _binary(path, header)
    count = int(np.prod(shape))
    if len(samples) < count and not keep:
        raise ValueError(f"{count - len(samples)} of {count} samples are missing")
    gray = header.white / 2 if native != np.float32 else 0.5
    whole: Pixels = np.full(count, gray, native)
    whole[: len(samples)] = samples[:count]
    whole = _scaled(whole, header).reshape(shape)
    missing = header.height - min(len(samples), count) // (header.width * header.layers)
    return (whole[::-1] if native == np.float32 else whole), missing


def _parse(head: bytes) -> NetpbmHeader:
    magic = head[:2].decode("latin-1")
    if magic == "P7":
        return _parse_pam(head)
    numbers = 2 if magic in ("P1", "P4") else 3
    gap = rb"(?:\s|#[^\n\r]*[\n\r])+"
    pattern = rb"P." + (gap + rb"([-+.\deE]+)") * numbers + (rb"\s" if magic != "P1" else rb"")
    match = re.match(pattern, head)
    if match is None:
        raise ValueError("its header is invalid")
    width, height = int(match[1]), int(match[2])
    white = float(match[3]) if numbers == 3 else 1.0
    layers = 3 if magic in ("P3", "P6", "PF") else 1
    return _checked(NetpbmHeader(magic, width, height, layers, white, match.end()))


def _parse_pam(head: bytes) -> NetpbmHeader:
    end = head.find(b"ENDHDR\n")
    if end < 0:
        raise ValueError("its header does not end")
    lines = [line.split() for line in head[:end].split(b"\n") if not line.startswith(b"#")]
    fields = {line[0]: line[1] for line in lines if len(line) > 1}
    width, height, layers, white = (
        int(fields.get(name, b"0")) for name in (b"WIDTH", b"HEIGHT", b"DEPTH", b"MAXVAL")
    )
    if layers > 4:
        raise ImageError(f"convert it to gray or RGB: PAM of {layers} channels is not supported")
    return _checked(NetpbmHeader("P7", width, height, layers, white, end + 7))


def _checked(header: NetpbmHeader) -> NetpbmHeader:
    sizes = (header.width, header.height, header.layers)
    whole = header.magic not in ("Pf", "PF")
    if min(sizes) < 1 or header.white == 0 or (whole and not 0 < header.white < 65536):
        raise ValueError("its header is invalid")
    return header


def _binary(path: PathLike, header: NetpbmHeader) -> Pixels:
    """The samples that are there, up to the end of the image."""
    per_row = header.width * header.layers
    with Path(path).open("rb") as file:
        file.seek(header.start)
        if header.magic == "P4":
            data = file.read(-(-header.width // 8) * header.height)
            rows = np.frombuffer(data, np.uint8)[
                : len(data) // -(-header.width // 8) * -(-header.width // 8)
            ]
            bits = np.unpackbits(rows.reshape(-1, -(-header.width // 8)), axis=1)
            return 1 - bits[:, : header.width].reshape(-1)
        data = file.read(per_row * header.height * header.dtype.itemsize)
    whole = len(data) // header.dtype.itemsize * header.dtype.itemsize
    return np.frombuffer(data[:whole], header.dtype)


def _text(path: PathLike, header: NetpbmHeader) -> Pixels:
    data = re.sub(rb"#[^\n\r]*", b" ", Path(path).read_bytes()[header.start :])
    if header.magic == "P1":
        digits = np.frombuffer(bytes(re.sub(rb"[^01]", b"", data)), np.uint8)
        return 1 - (digits - ord("0"))
    count = header.width * header.height * header.layers
    samples = np.array(data.split(maxsplit=count)[:count], dtype=np.int64)
    if samples.size and not 0 <= samples.min() <= samples.max() <= 65535:
        raise ValueError("a sample is out of range")
    return samples


def _scaled(samples: Pixels, header: NetpbmHeader) -> Pixels:
    """Scale the value of white to 255 or 65535."""
    full = {1: 255, 2: 65535}.get(samples.dtype.itemsize)
    if full is None or header.white == full:
        return samples
    scaled = np.rint(np.minimum(samples, header.white) * (full / header.white))
    return scaled.astype(samples.dtype)

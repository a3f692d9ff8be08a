"""Read and write the numbers of a ``.bin`` file, layer by layer.

It has no names and no sizes. The main numbers of a layer follow four bytes that state how they are
stored; its bias and the slopes of PReLU have no such flag and are float32.

Source: https://github.com/Tencent/ncnn, ``src/modelbin.cpp``.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

import numpy as np

from torch_sr.aliases import Array, Floats
from torch_sr.errors import ModelError

FP32 = b"\x00\x00\x00\x00"
FP16 = b"\x47\x6b\x30\x01"
FP32_SCALED = b"\x56\xc0\x02\x00"
INT8 = b"\x38\x4b\x0d\x00"
FLAGS = (FP32, FP16, FP32_SCALED, INT8)
_CODEBOOK = 4 * 256  # bytes of the table of another way to store numbers, which is not supported
_REMEDY = "download or copy both files again"


class WeightsError(ModelError):
    """What is wrong with a ``.bin``; the message follows its name."""


class WeightsReader:
    """Read numbers in the order of the layers, never more than the file has.

    Args:
        file: opened for reading in binary mode.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._left = os.fstat(file.fileno()).st_size

    def flagged(self, count: int, name: str) -> Array:
        """``count`` numbers after a flag, float16 or float32 as they are stored."""
        flag = self._read(4, name)
        if flag == FP16:
            return self._numbers(count, "<f2", name)
        if flag in (FP32, FP32_SCALED):
            return self._numbers(count, "<f4", name)
        kind = "8-bit numbers" if flag == INT8 else "numbers from a table"
        raise WeightsError(f"stores layer {name} as {kind}; fp32 and fp16 are supported")

    def bare(self, count: int, name: str) -> Array:
        """``count`` numbers without a flag, as float32."""
        return self._numbers(count, "<f4", name)

    def finish(self) -> None:
        """WeightsError if there is more in the file than was read."""
        if self._left:
            raise WeightsError(f"has {self._left} bytes more than its graph needs; {_REMEDY}")

    def _numbers(self, count: int, kind: str, name: str) -> Array:
        size = np.dtype(kind).itemsize * count
        padded = size + -size % 4
        data = self._read(padded, name)
        native = np.dtype(kind).newbyteorder("=")
        return np.frombuffer(data, kind, count).astype(native)

    def _read(self, size: int, name: str) -> bytes:
        if size > self._left:
            raise WeightsError(
                f"is truncated or damaged: layer {name} needs {size} bytes and {self._left} are "
                f"left; {_REMEDY}"
            )
        self._left -= size
        return self._file.read(size)


def write_weights(path: Path, blobs: Iterable[tuple[Floats, bool]], *, half: bool) -> None:
    """Write numbers, in the order of the layers.

    Args:
        path: the new file.
        blobs: numbers, and whether a flag precedes each.
        half: store those with a flag as float16.
    """
    with path.open("wb") as file:
        for values, flagged in blobs:
            kind = "<f2" if flagged and half else "<f4"
            data = values.astype(kind).tobytes()
            if flagged:
                file.write(FP16 if half else FP32)
            file.write(data + bytes(-len(data) % 4))

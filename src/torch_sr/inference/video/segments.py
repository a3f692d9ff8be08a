"""Finished pieces of a video in progress, from which an interrupted run resumes.

They are kept in a hidden folder beside the target, with a record of what they were made from. A
piece gets its name when it is complete; files of other names are ignored.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from torch_sr.aliases import Array
from torch_sr.files import atomic_write
from torch_sr.images.naming import letting_through
from torch_sr.inference.video.opening import naming_video, unwritable

Write = Callable[[int, int, Array], None]
"""Takes the time and the duration of a frame, in units of its stream, and the frame."""


class Encoder(Protocol):
    """Writes one piece."""

    def open(self, path: Path) -> tuple[Callable[[], None], Write]:
        """What closes the piece, and what takes its frames."""
        ...


@dataclass(frozen=True)
class Piece:
    """A finished piece; its file counts from 0, in the same units.

    Args:
        frames: how many.
        first, last: times of its first and last frame.
        duration: of the last frame.
    """

    frames: int
    first: int
    last: int
    duration: int


class Segments:
    """The pieces of one target.

    Args:
        target: the video to write.
        source: the video it is made from; pieces of another or changed one are deleted.
        settings: what else the pieces depend on.
    """

    def __init__(self, target: Path, source: Path, settings: list[Any]) -> None:
        self._target = target
        self._folder = target.with_name(f".torch-sr-{target.name}")
        status = source.stat()
        made_from = [str(source.resolve()), status.st_size, status.st_mtime_ns, settings]
        self._made_from = json.loads(json.dumps(made_from))
        self.pieces = self._finished()

    @property
    def num_frames(self) -> int:
        """Frames in all finished pieces."""
        return sum(piece.frames for piece in self.pieces)

    @property
    def last_time(self) -> int | None:
        """Time of the last finished frame, in units of its stream."""
        return self.pieces[-1].last if self.pieces else None

    @property
    def paths(self) -> list[Path]:
        """The finished pieces, in order."""
        return [self._path(number) for number in range(len(self.pieces))]

    @contextmanager
    def append(self, encoder: Encoder) -> Iterator[Write]:
        """Yield what takes the frames of the next piece; it counts when the block is left well."""
        piece = Piece(0, 0, 0, 0)

        def count(time: int, duration: int, frame: npt.NDArray[np.generic]) -> None:
            nonlocal piece
            first = piece.first if piece.frames else time
            with naming_video(self._target, unwritable(self._target)):
                write(time - first, duration, frame)
            piece = Piece(piece.frames + 1, first, time, duration)

        try:
            with naming_video(self._target, unwritable(self._target)):
                self._folder.mkdir(exist_ok=True)
                with atomic_write(self._path(len(self.pieces))) as temporary:
                    close, write = encoder.open(temporary)
                    try:
                        with letting_through():
                            yield count
                    finally:
                        close()
                self.pieces.append(piece)
                self._record()
        finally:
            if not self.pieces:
                with suppress(OSError):  # it was not made, or is not empty
                    self._folder.rmdir()

    def remove(self) -> None:
        """Delete all pieces."""
        shutil.rmtree(self._folder, ignore_errors=True)
        self.pieces = []

    def _path(self, number: int) -> Path:
        return self._folder / f"{number:06d}.piece"

    def _record(self) -> None:
        pieces = [astuple(piece) for piece in self.pieces]
        record = {"made_from": self._made_from, "pieces": pieces}
        with atomic_write(self._folder / "segments.json") as temporary:
            temporary.write_text(json.dumps(record), encoding="utf-8")

    def _finished(self) -> list[Piece]:
        """What an earlier run has left, if it was about the same."""
        with suppress(OSError, ValueError, KeyError, TypeError):
            record = json.loads((self._folder / "segments.json").read_text(encoding="utf-8"))
            if record["made_from"] == self._made_from:
                pieces = [Piece(*(int(number) for number in piece)) for piece in record["pieces"]]
                if all(self._path(number).is_file() for number in range(len(pieces))):
                    return pieces
        shutil.rmtree(self._folder, ignore_errors=True)
        return []

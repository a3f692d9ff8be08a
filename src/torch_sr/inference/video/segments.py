"""Finished pieces of a film that is in work, so that a run broken off need not begin anew.

They lie in a hidden folder beside the target, with a note of what they were made from. A piece
takes its name when it is whole; what has another name is of no account.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from torch_sr.files import atomic_write
from torch_sr.images.naming import UNWRITABLE, letting_through
from torch_sr.inference.video.decoding import naming_film

Write = Callable[[int, npt.NDArray[Any]], None]
"""Takes the time of a frame, in units of its stream, and the frame."""


class Encoder(Protocol):
    """Writes one piece."""

    def open(self, path: Path) -> tuple[Callable[[], None], Write]:
        """What closes the piece, and what takes its frames."""
        ...


class Segments:
    """The pieces of one target.

    Args:
        target: the film to be.
        source: the film it is made from; pieces of another or changed one are thrown away.
        settings: what the pieces depend on else.
    """

    def __init__(self, target: Path, source: Path, settings: list[Any]) -> None:
        self._target = target
        self._folder = target.with_name(f".torch-sr-{target.name}")
        status = source.stat()
        made_from = [str(source.resolve()), status.st_size, status.st_mtime_ns, settings]
        self._made_from = json.loads(json.dumps(made_from))
        self._pieces = self._finished()

    @property
    def num_frames(self) -> int:
        """Frames in all finished pieces."""
        return sum(frames for frames, _ in self._pieces)

    @property
    def last_time(self) -> int | None:
        """Time of the last finished frame, in units of its stream."""
        return self._pieces[-1][1] if self._pieces else None

    @property
    def paths(self) -> list[Path]:
        """The finished pieces, in order."""
        return [self._path(number) for number in range(len(self._pieces))]

    @contextmanager
    def append(self, encoder: Encoder) -> Iterator[Write]:
        """Yield what takes the frames of the next piece; it counts when the block is left well."""
        frames, last = 0, 0

        def count(time: int, frame: npt.NDArray[np.generic]) -> None:
            nonlocal frames, last
            with naming_film(self._target, UNWRITABLE):
                write(time, frame)
            frames, last = frames + 1, time

        try:
            with naming_film(self._target, UNWRITABLE):
                self._folder.mkdir(exist_ok=True)
                with atomic_write(self._path(len(self._pieces))) as temporary:
                    close, write = encoder.open(temporary)
                    try:
                        with letting_through():
                            yield count
                    finally:
                        close()
                self._pieces.append((frames, last))
                self._note()
        finally:
            if not self._pieces:
                with suppress(OSError):  # it was not made, or is not empty
                    self._folder.rmdir()

    def remove(self) -> None:
        """Throw all pieces away."""
        shutil.rmtree(self._folder, ignore_errors=True)
        self._pieces = []

    def _path(self, number: int) -> Path:
        return self._folder / f"{number:06d}.nut"

    def _note(self) -> None:
        note = {"made_from": self._made_from, "pieces": self._pieces}
        with atomic_write(self._folder / "segments.json") as temporary:
            temporary.write_text(json.dumps(note), encoding="utf-8")

    def _finished(self) -> list[tuple[int, int]]:
        """What an earlier run has left, if it was about the same."""
        with suppress(OSError, ValueError, KeyError, TypeError):
            note = json.loads((self._folder / "segments.json").read_text(encoding="utf-8"))
            if note["made_from"] == self._made_from:
                pieces = [(int(frames), int(last)) for frames, last in note["pieces"]]
                if all(self._path(number).is_file() for number in range(len(pieces))):
                    return pieces
        shutil.rmtree(self._folder, ignore_errors=True)
        return []

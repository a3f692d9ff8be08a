"""Finished segments of a video, from which an interrupted run resumes.

They are kept in a hidden folder next to the target, with a record of the source and the settings.
A segment gets its name when it is complete; files with other names are ignored.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from torch_sr.aliases import Array
from torch_sr.files import atomic_write
from torch_sr.inference.video.opening import naming_video, unwritable

Write = Callable[[int, int, Array], None]
"""Takes the time and the duration of a frame, in units of its stream, and the frame."""
Encode: TypeAlias = Callable[[Path], AbstractContextManager[Write]]
"""Starts a segment in a file; it is complete when the block ends."""


@dataclass(frozen=True)
class Segment:
    """A finished segment; times in its own file start at 0, in the same units.

    Args:
        frames: how many.
        first, last: times of its first and last frame.
        duration: of the last frame.
    """

    frames: int
    first: int
    last: int
    duration: int


class SegmentFolder:
    """The segments of one target.

    Args:
        target: the video to write.
        source: of the target; segments of another source, or an older version, are deleted.
        settings: everything else that the segments depend on.
    """

    def __init__(self, target: Path, source: Path, settings: list[Any]) -> None:
        self._target = target
        self._folder = target.with_name(f".torch-sr-{target.name}")
        status = source.stat()
        made_from = [str(source.resolve()), status.st_size, status.st_mtime_ns, settings]
        self._made_from = json.loads(json.dumps(made_from))
        self.finished = self._load_finished()

    @property
    def num_frames(self) -> int:
        """Frames in all finished segments."""
        return sum(segment.frames for segment in self.finished)

    @property
    def last_time(self) -> int | None:
        """Time of the last finished frame, in units of its stream."""
        return self.finished[-1].last if self.finished else None

    @property
    def paths(self) -> list[Path]:
        """The finished segments, in order."""
        return [self._path(number) for number in range(len(self.finished))]

    @contextmanager
    def append(self, encode: Encode) -> Iterator[Write]:
        """Yield a function that takes the frames of the next segment; an error discards it."""
        segment = Segment(0, 0, 0, 0)

        def count(time: int, duration: int, frame: npt.NDArray[np.generic]) -> None:
            nonlocal segment
            first = segment.first if segment.frames else time
            with naming_video(self._target, unwritable(self._target)):
                write(time - first, duration, frame)
            segment = Segment(segment.frames + 1, first, time, duration)

        try:
            with ExitStack() as file:
                with naming_video(self._target, unwritable(self._target)):
                    self._folder.mkdir(exist_ok=True)
                    temporary = file.enter_context(atomic_write(self._path(len(self.finished))))
                    write = file.enter_context(encode(temporary))
                yield count
                with naming_video(self._target, unwritable(self._target)):
                    file.pop_all().close()
                    self.finished.append(segment)
                    self._record()
        finally:
            if not self.finished:
                with suppress(OSError):  # it was not created, or is not empty
                    self._folder.rmdir()

    def remove(self) -> None:
        """Delete all segments."""
        shutil.rmtree(self._folder, ignore_errors=True)
        self.finished = []

    def _path(self, number: int) -> Path:
        return self._folder / f"{number:06d}.segment"

    def _record(self) -> None:
        segments = [astuple(segment) for segment in self.finished]
        record = {"made_from": self._made_from, "segments": segments}
        with atomic_write(self._folder / "segments.json") as temporary:
            temporary.write_text(json.dumps(record), encoding="utf-8")

    def _load_finished(self) -> list[Segment]:
        """The segments of an earlier run with the same source and settings."""
        with suppress(OSError, ValueError, KeyError, TypeError):
            record = json.loads((self._folder / "segments.json").read_text(encoding="utf-8"))
            if record["made_from"] == self._made_from:
                segments = [Segment(*map(int, segment)) for segment in record["segments"]]
                if all(self._path(number).is_file() for number in range(len(segments))):
                    return segments
        shutil.rmtree(self._folder, ignore_errors=True)
        return []

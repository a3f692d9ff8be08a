"""The open pages: which files each has sent, and the folder with all of their files."""

from __future__ import annotations

import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from torch_sr.serving.page.batch import Batch

KEEP_SECONDS = 3600.0  # that uploads and results can be used


class Visitors:
    """The last batch of each open page.

    Args:
        folder: of the page; what an earlier process has left there is deleted.
        keep_seconds: files that are older are deleted by :meth:`sweep`.
    """

    def __init__(self, folder: Path, keep_seconds: float = KEEP_SECONDS) -> None:
        self.folder = folder
        self.keep_seconds = keep_seconds
        self._batches: dict[str, tuple[Batch, float]] = {}
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True, mode=0o700)

    def new_folder(self) -> Path:
        """Create a folder whose name cannot be guessed."""
        folder = self.folder / secrets.token_urlsafe(16)
        folder.mkdir()
        return folder

    def set(self, page: str, batch: Batch) -> None:
        """Replace the batch of a page; an earlier one is canceled and deleted."""
        if earlier := self.get(page):
            earlier.close()
            shutil.rmtree(earlier.folder, ignore_errors=True)
        self._batches[page] = (batch, time.monotonic())

    def get(self, page: str) -> Batch | None:
        """The batch of a page, if it was not deleted in the meantime."""
        found = self._batches.get(page)
        return found[0] if found else None

    def is_busy(self, page: str) -> bool:
        """Whether something that a page has sent is not finished."""
        batch = self.get(page)
        return batch is not None and not batch.is_finished

    def num_bytes(self) -> int:
        """Of all files in the folder."""
        total = 0
        for path in self.folder.rglob("*"):
            with suppress(OSError):
                total += path.stat().st_size
        return total

    def clear(self) -> None:
        """Delete everything, when the server stops."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def sweep(self) -> None:
        """Delete files and batches that are too old and not in use."""
        now = time.monotonic()
        for page, (batch, since) in list(self._batches.items()):
            if not batch.is_finished:
                self._batches[page] = (batch, now)
            elif now - since > self.keep_seconds:
                del self._batches[page]
        used = {batch.folder for batch, _ in list(self._batches.values())}
        for path in self._top():
            if path not in used and time.time() - _newest(path) > self.keep_seconds:
                shutil.rmtree(path, ignore_errors=True)
                with suppress(OSError):
                    path.unlink()

    def _top(self) -> Iterator[Path]:
        with suppress(FileNotFoundError):
            yield from self.folder.iterdir()


def _newest(path: Path) -> float:
    """When something in a folder was last changed."""
    times = [0.0]
    for found in (path, *path.rglob("*")):
        with suppress(OSError):
            times.append(found.stat().st_mtime)
    return max(times)

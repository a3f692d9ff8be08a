"""The folders of a service: uploads, and the files of tasks and jobs."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from pathlib import Path

from filelock import FileLock, Timeout

from torch_sr.errors import ConfigError
from torch_sr.files import explain


class Folders:
    """The folders of a service, of which it is the only user.

    Raises:
        ConfigError: the folder cannot be used, or another service uses it.
    """

    def __init__(self, root: Path) -> None:
        self.uploads = root / "uploads"
        self.requests = root / "requests"
        self.jobs = root / "jobs"
        try:
            root.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._lock = FileLock(root / "lock")
            self._lock.acquire(timeout=0)
            for folder in (self.uploads, self.requests):  # nothing in them outlives a process
                shutil.rmtree(folder, ignore_errors=True)
            for folder in (self.uploads, self.requests, self.jobs):
                folder.mkdir(mode=0o700, exist_ok=True)
        except Timeout:
            raise ConfigError(
                f"{root}: another torch-sr serve uses this folder; stop it, or choose another "
                "--folder"
            ) from None
        except OSError as error:
            raise ConfigError(f"{root}: {explain(error)}") from error

    def release(self) -> None:
        """Let another service use the folder."""
        self._lock.release()

    def new_upload(self) -> Path:
        """An empty file."""
        path = self.uploads / secrets.token_hex(16)
        path.touch(mode=0o600)
        return path

    def count_uploads(self) -> int:
        """How many uploads there are that have not been submitted."""
        return sum(1 for _ in self.uploads.iterdir())

    def remove(self, folder: Path) -> None:
        """Delete a folder of these; nothing happens if it is missing."""
        shutil.rmtree(folder, ignore_errors=True)

    def keep_only(self, ids: set[str]) -> None:
        """Delete the folders of uploads that were not accepted before the process ended."""
        for folder in self.jobs.iterdir():
            if folder.name not in ids:
                self.remove(folder)


def bytes_in(folder: Path) -> int:
    """Bytes of the files in a folder."""
    total = 0
    with contextlib.suppress(OSError):
        total = sum(entry.stat().st_size for entry in os.scandir(folder))
    return total

"""Accepted jobs in SQLite: none is lost by a restart, a crash or ``kill -9``.

A job is accepted when its row is committed; its upload is flushed to the disk before.
"""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch_sr.errors import ConfigError
from torch_sr.serving.tasks import State

_VERSION = 1  # of the table
_TABLE = """
CREATE TABLE jobs (
    id TEXT PRIMARY KEY,
    key TEXT UNIQUE,
    digest TEXT NOT NULL,
    name TEXT NOT NULL,
    request TEXT NOT NULL,
    state TEXT NOT NULL,
    created REAL NOT NULL,
    started REAL,
    finished REAL,
    attempts INTEGER NOT NULL DEFAULT 0,
    pixels INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    source TEXT NOT NULL,
    result TEXT NOT NULL,
    notes TEXT NOT NULL DEFAULT '[]',
    error TEXT
) STRICT;
CREATE INDEX by_state ON jobs (state, created);
"""


@dataclass(frozen=True)
class StoredJob:
    """A row.

    Args:
        id: of the job.
        key: which the client chose, so that a repeated request is not a second job.
        digest: of the request and the upload.
        name: of the uploaded file.
        request: its options.
        state: see :class:`~torch_sr.serving.tasks.Task`.
        created, started, finished: seconds since 1970.
        attempts: how often its computation was started.
        pixels: of the source.
        bytes: of its files.
        source, result: names of its files.
        notes: what the result could not keep of the source.
        error: the problem document, if it failed.
    """

    id: str
    key: str | None
    digest: str
    name: str
    request: dict[str, Any]
    state: State
    created: float
    started: float | None
    finished: float | None
    attempts: int
    pixels: int
    bytes: int
    source: str
    result: str
    notes: list[str]
    error: dict[str, Any] | None


_JSON = ("request", "notes", "error")
_COLUMNS = tuple(StoredJob.__dataclass_fields__)


class JobStore:
    """The table of jobs; thread-safe.

    Args:
        path: the database, which is created if it is missing.

    Raises:
        ConfigError: it is not such a database, or a newer version made it.
    """

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        try:
            self._database = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
            self._database.row_factory = sqlite3.Row
            self._database.execute("PRAGMA journal_mode = WAL")
            self._database.execute("PRAGMA synchronous = FULL")
            (state, *_), *_ = self._database.execute("PRAGMA quick_check(1)").fetchall()
            if state != "ok":
                raise sqlite3.DatabaseError(state)
            (version,) = self._database.execute("PRAGMA user_version").fetchone()
            if version == 0:
                self._database.executescript(f"BEGIN;{_TABLE}PRAGMA user_version={_VERSION};COMMIT")
        except sqlite3.Error as error:
            raise ConfigError(
                f"{path}: choose another folder; its database of jobs cannot be used ({error})"
            ) from error
        if version > _VERSION:
            raise ConfigError(f"{path}: made by a newer torch-sr; update, or choose another folder")

    def close(self) -> None:
        """Close the database."""
        with self._lock:
            self._database.close()

    def add(self, job: StoredJob) -> None:
        """Accept a job.

        Raises:
            KeyError: there is one of that key.
        """
        marks = ", ".join("?" * len(_COLUMNS))
        try:
            self._execute(
                f"INSERT INTO jobs ({', '.join(_COLUMNS)}) VALUES ({marks})",  # noqa: S608 - our names
                *(_to_column(name, getattr(job, name)) for name in _COLUMNS),
            )
        except sqlite3.IntegrityError as error:
            raise KeyError(job.key) from error

    def find(self, job_id: str) -> StoredJob | None:
        """The job of an id."""
        return next(self._select("id = ?", job_id), None)

    def find_key(self, key: str) -> StoredJob | None:
        """The job of a client's key."""
        return next(self._select("key = ?", key), None)

    def unfinished(self) -> list[StoredJob]:
        """The jobs that wait or were being computed, in the order in which they were accepted.

        Those that were being computed when a process ended come last: if one of them was the
        cause, the others are done before.
        """
        return list(
            self._select("state IN ('queued', 'running') ORDER BY attempts, created, rowid")
        )

    def finished_before(self, limit: float) -> list[StoredJob]:
        """The jobs that finished before a time."""
        return list(self._select("finished < ?", limit))

    def ids(self) -> set[str]:
        """The ids of all jobs."""
        return {row["id"] for row in self._execute("SELECT id FROM jobs")}

    def num_bytes(self) -> int:
        """Bytes of the files of all jobs."""
        (row,) = self._execute("SELECT COALESCE(SUM(bytes), 0) AS total FROM jobs")
        return int(row["total"])

    def start(self, job_id: str) -> None:
        """Record that the computation of a job starts."""
        self._execute(
            "UPDATE jobs SET state = 'running', started = ?, attempts = attempts + 1 WHERE id = ?",
            time.time(),
            job_id,
        )

    def put_back(self, job_id: str) -> None:
        """Record that a job waits again, because the service stopped in an orderly way."""
        self._execute(
            "UPDATE jobs SET state = 'queued', attempts = max(0, attempts - 1) WHERE id = ?", job_id
        )

    def finish(
        self,
        job_id: str,
        state: State,
        *,
        num_bytes: int,
        notes: tuple[str, ...] = (),
        error: dict[str, Any] | None = None,
    ) -> None:
        """Record how a job ended."""
        self._execute(
            "UPDATE jobs SET state = ?, finished = ?, bytes = ?, notes = ?, error = ? WHERE id = ?",
            state,
            time.time(),
            num_bytes,
            json.dumps(notes),
            _to_column("error", error),
            job_id,
        )

    def remove(self, job_id: str) -> None:
        """Forget a job."""
        self._execute("DELETE FROM jobs WHERE id = ?", job_id)

    def _select(self, condition: str, *values: Any) -> Iterator[StoredJob]:
        columns = ", ".join(_COLUMNS)
        statement = f"SELECT {columns} FROM jobs WHERE {condition}"  # noqa: S608 - our own text
        for row in self._execute(statement, *values):
            yield StoredJob(**{name: _from_column(name, row[name]) for name in _COLUMNS})

    def _execute(self, statement: str, *values: Any) -> list[sqlite3.Row]:
        with self._lock:
            return self._database.execute(statement, values).fetchall()


def _to_column(name: str, value: Any) -> Any:
    return json.dumps(value) if name in _JSON and value is not None else value


def _from_column(name: str, value: Any) -> Any:
    return json.loads(value) if name in _JSON and value is not None else value

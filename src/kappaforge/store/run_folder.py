"""A run's folder: what was computed, in one SQLite file with HDF5 files beside it.

Only the driver writes, and a lock keeps a second one out; anyone may read at any time. A result's arrays are on disk
before its row is committed, so that a crash leaves at worst a file that nothing refers to.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, Self

from kappaforge.errors import InputError
from kappaforge.store.codec import CodecError, decode, encode
from kappaforge.store.driver import free_lock, take_lock
from kappaforge.store.files import read_arrays, sha256_of, write_arrays
from kappaforge.store.schema import DATABASE, StoreError, cannot_write, connect, damaged, trouble

CAMPAIGN_FILE = "campaign.toml"
PAUSE_S = 120.0
"""Longer than a driver has between its tasks to do."""


class StepProgress(NamedTuple):
    """How far a step is: tasks done of tasks in all, `found` of them done before this driver began the step.

    Times are in seconds since 1970; `outcomes` counts the crystals of the tasks done by their status.
    """

    step: str
    done: int
    total: int
    found: int = 0
    started_at: float = 0.0
    updated_at: float = 0.0
    outcomes: Mapping[str, int] = MappingProxyType({})

    @property
    def tasks_per_s(self) -> float | None:
        """Rate since this driver began the step, 1/s; None where it has done nothing yet."""
        seconds, done = self.updated_at - self.started_at, self.done - self.found
        return done / seconds if done > 0 and seconds > 0 else None

    @property
    def remaining_s(self) -> float | None:
        """Time that the rest of the step takes at that rate, s."""
        rate = self.tasks_per_s
        return (self.total - self.done) / rate if rate else None


class RunFolder:
    """Open it with `RunFolder.open(path)` to read, with ``write=True`` to drive a campaign; use it as a context."""

    def __init__(self, path: Path, connection: sqlite3.Connection, lock: int | None) -> None:
        self.path = path
        self._connection = connection
        self._lock = lock

    @classmethod
    def open(cls, path: str | Path, *, write: bool = False) -> Self:
        """Open a run folder; with `write`, make its database where there is none yet and take the driver's lock.

        Raises
        ------
        InputError
            For a folder that is no run folder, was made by a version that this one cannot go on from, or has a
            driver already.
        StoreError
            Where it cannot be written.
        """
        path = Path(path)
        database = path / DATABASE
        if not path.is_dir():
            what = "is a file" if path.exists() else "does not exist"
            raise InputError(f"run folder {path} {what}; make one with: kappaforge init FOLDER")
        if not database.exists() and not write:
            if not (path / CAMPAIGN_FILE).exists():
                raise InputError(
                    f"{path} is no run folder: it has neither {CAMPAIGN_FILE} nor {DATABASE}; "
                    "make one with: kappaforge init FOLDER"
                )
            raise InputError(f"{path} holds no results yet; start it with: kappaforge run {path}")
        lock = take_lock(path) if write else None
        try:
            connection = connect(database, write=write)
        except BaseException:
            if lock is not None:
                free_lock(lock)
            raise
        return cls(path, connection, lock)

    def close(self) -> None:
        """Release the database and, for a driver, the lock."""
        self._connection.close()
        if self._lock is not None:
            free_lock(self._lock)
            self._lock = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    # --- tasks ---------------------------------------------------------------------------------------------------

    def get(self, key: str) -> Any:
        """Return a task's result; raises `KeyError` where it has not been done, or its arrays are damaged."""
        rows = self._read("SELECT result, arrays_sha256 FROM tasks WHERE key = ?", (key,))
        if not rows:
            raise KeyError(key)
        result, arrays_sha256 = rows[0]
        side = None
        if arrays_sha256 is not None:
            file = self._arrays_file(key)
            if not file.exists() or sha256_of(file) != arrays_sha256:
                raise KeyError(key)
            side = read_arrays(file)
        return self._decoded(result, side)

    def done(self, keys: Iterable[str]) -> set[str]:
        """Which of these tasks have a whole result; a driver drops rows with damaged arrays, to do them again."""
        found = set()
        for key in set(keys):
            rows = self._read("SELECT arrays_sha256 FROM tasks WHERE key = ?", (key,))
            if not rows:
                continue
            file, sha256 = self._arrays_file(key), rows[0][0]
            if sha256 is None or (file.exists() and sha256_of(file) == sha256):
                found.add(key)
            elif self._lock is not None:
                self._execute("DELETE FROM tasks WHERE key = ?", (key,))
        return found

    def put(self, key: str, step: str, result: Any, seconds: float) -> None:
        """Store a finished task; raises `StoreError` where it has a result already, or the disk is full."""
        side: dict[str, Any] = {}
        text = json.dumps(encode(result, side), separators=(",", ":"))
        try:
            arrays_sha256 = write_arrays(self._arrays_file(key), side) if side else None
        except OSError as error:
            raise cannot_write(self.path, error) from None
        try:
            self._execute(
                "INSERT INTO tasks (key, step, result, arrays_sha256, seconds) VALUES (?, ?, ?, ?, ?)",
                (key, step, text, arrays_sha256, seconds),
            )
        except sqlite3.IntegrityError:
            raise StoreError(f"{self.path}: a task of step {step!r} was finished twice ({key[:12]})") from None

    def seconds_by_step(self) -> dict[str, float]:
        """Time spent in the finished tasks of each step, s."""
        return dict(self._read("SELECT step, SUM(seconds) FROM tasks GROUP BY step ORDER BY step"))

    def elapsed_seconds(self) -> float:
        """Time that the run has taken, s, without pauses: where nothing is computed for longer than `PAUSE_S`."""
        rows = self._read("SELECT 86400 * julianday(finished_at) AS ended, seconds FROM tasks ORDER BY ended - seconds")
        elapsed, until = 0.0, float("-inf")
        for ended, seconds in rows:
            began = until if ended - seconds - until < PAUSE_S else ended - seconds
            elapsed += max(0.0, ended - began)
            until = max(until, ended)
        return elapsed

    def tasks_by_step(self) -> dict[str, int]:
        """Finished tasks of each step."""
        return dict(self._read("SELECT step, COUNT(*) FROM tasks GROUP BY step ORDER BY step"))

    # --- progress and summaries ----------------------------------------------------------------------------------

    def record_progress(self, progress: StepProgress, position: int) -> None:
        """Note how far a step is, for `status`."""
        self._execute(
            "INSERT OR REPLACE INTO steps (step, position, done, total, found, started_at, updated_at, outcomes) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (progress.step, position, *progress[1:-1], json.dumps(dict(progress.outcomes))),
        )

    def progress(self) -> list[StepProgress]:
        """The steps of the campaign in their order."""
        rows = self._read(
            "SELECT step, done, total, found, started_at, updated_at, outcomes FROM steps ORDER BY position"
        )
        return [StepProgress(*row)._replace(outcomes=json.loads(row[-1])) for row in rows]

    def keep(self, name: str, value: Any) -> None:
        """Keep a record under a name, in place of the one before."""
        text = json.dumps(encode(value), separators=(",", ":"))
        self._execute("INSERT OR REPLACE INTO kept (name, value) VALUES (?, ?)", (name, text))

    def recall(self, name: str) -> Any:
        """Return what was kept under a name; raises `KeyError`."""
        rows = self._read("SELECT value FROM kept WHERE name = ?", (name,))
        if not rows:
            raise KeyError(name)
        return self._decoded(rows[0][0])

    def checkpoint_file(self, key: str) -> Path:
        """Where an unfinished task keeps what it needs to go on after a kill; nothing else reads it."""
        return self.path.absolute() / "checkpoints" / key  # a worker may stand in another folder

    def _arrays_file(self, key: str) -> Path:
        return self.path / "arrays" / key[:2] / f"{key}.h5"

    def _read(self, statement: str, values: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        try:
            return self._connection.execute(statement, values).fetchall()
        except sqlite3.DatabaseError as error:
            raise trouble(self.path, error) from None

    def _decoded(self, text: str, side: Mapping[str, Any] | None = None) -> Any:
        try:
            return decode(json.loads(text), side)
        except CodecError as error:
            raise InputError(f"run folder {self.path}: {error}; it was written by another version: use that") from None
        except (ValueError, LookupError) as error:
            raise damaged(self.path, error) from None

    def _execute(self, statement: str, values: tuple[Any, ...]) -> None:
        try:
            with self._connection:
                self._connection.execute(statement, values)
        except sqlite3.IntegrityError:
            raise
        except sqlite3.DatabaseError as error:  # of a full disk, a file system that is gone, a file that was damaged
            raise trouble(self.path, error) from None

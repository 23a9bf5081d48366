"""A run's folder: what was computed, in one SQLite file with HDF5 files beside it.

Only the driver writes, and a lock keeps a second one out; anyone may read at any time. A result's arrays are on disk
before its row is committed, so that a crash leaves at worst a file that nothing refers to.
"""

from __future__ import annotations

import fcntl
import json
import os
import sqlite3
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple, Self

from kappaforge import __version__
from kappaforge.errors import InputError, KappaforgeError
from kappaforge.store.codec import decode, encode
from kappaforge.store.files import read_arrays, sha256_of, write_arrays

SCHEMA_VERSION = 1
DATABASE = "run.sqlite"
CAMPAIGN_FILE = "campaign.toml"

_SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE tasks (
    key TEXT PRIMARY KEY,            -- hash of everything that decides the result
    step TEXT NOT NULL,
    result TEXT NOT NULL,            -- JSON of kappaforge.store.codec
    arrays_sha256 TEXT,              -- of arrays/<key>.h5, where the result has large arrays
    seconds REAL NOT NULL,
    finished_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
);
CREATE INDEX tasks_by_step ON tasks (step);
CREATE TABLE steps (                 -- the steps of the present campaign, for progress
    step TEXT PRIMARY KEY,
    position INTEGER NOT NULL,
    total INTEGER NOT NULL,
    done INTEGER NOT NULL
);
CREATE TABLE kept (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
"""


class StoreError(KappaforgeError):
    """The run folder contradicts itself: a task finished twice, or its arrays are damaged."""


class StepProgress(NamedTuple):
    """How far a step is: tasks done of tasks in all."""

    step: str
    done: int
    total: int


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
            For a folder that is no run folder, was made by another version, or has a driver already.
        """
        path = Path(path)
        database = path / DATABASE
        if not path.is_dir():
            raise InputError(f"run folder {path} does not exist; make one with: kappaforge init {path}")
        if not database.exists() and not write:
            raise InputError(f"{path} holds no results yet; start it with: kappaforge run {path}")
        lock = _take_lock(path) if write else None
        try:
            connection = _connect(database, write=write)
            _check_version(connection, path)
        except BaseException:
            if lock is not None:
                os.close(lock)
            raise
        return cls(path, connection, lock)

    def close(self) -> None:
        """Release the database and, for a driver, the lock."""
        self._connection.close()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    # --- tasks ---------------------------------------------------------------------------------------------------

    def get(self, key: str) -> Any:
        """Return a task's result; raises `KeyError` where it has not been done, or its arrays are damaged."""
        row = self._connection.execute("SELECT result, arrays_sha256 FROM tasks WHERE key = ?", (key,)).fetchone()
        if row is None:
            raise KeyError(key)
        result, arrays_sha256 = row
        side = None
        if arrays_sha256 is not None:
            file = self._arrays_file(key)
            if not file.exists() or sha256_of(file) != arrays_sha256:
                raise KeyError(key)
            side = read_arrays(file)
        return decode(json.loads(result), side)

    def done(self, keys: Iterable[str]) -> set[str]:
        """Which of these tasks have a whole result; a driver drops rows with damaged arrays, to do them again."""
        found = set()
        for key in set(keys):
            row = self._connection.execute("SELECT arrays_sha256 FROM tasks WHERE key = ?", (key,)).fetchone()
            if row is None:
                continue
            file = self._arrays_file(key)
            if row[0] is None or (file.exists() and sha256_of(file) == row[0]):
                found.add(key)
            elif self._lock is not None:
                self._execute("DELETE FROM tasks WHERE key = ?", (key,))
        return found

    def put(self, key: str, step: str, result: Any, seconds: float) -> None:
        """Store a finished task; raises `StoreError` where it has a result already."""
        side: dict[str, Any] = {}
        text = json.dumps(encode(result, side), separators=(",", ":"))
        arrays_sha256 = write_arrays(self._arrays_file(key), side) if side else None
        try:
            self._execute(
                "INSERT INTO tasks (key, step, result, arrays_sha256, seconds) VALUES (?, ?, ?, ?, ?)",
                (key, step, text, arrays_sha256, seconds),
            )
        except sqlite3.IntegrityError:
            raise StoreError(f"{self.path}: a task of step {step!r} was finished twice ({key[:12]})") from None

    def seconds_by_step(self) -> dict[str, float]:
        """Time spent in the finished tasks of each step, s."""
        return dict(self._connection.execute("SELECT step, SUM(seconds) FROM tasks GROUP BY step ORDER BY step"))

    # --- progress and summaries ----------------------------------------------------------------------------------

    def record_progress(self, progress: StepProgress, position: int) -> None:
        """Note how far a step is, for `status`."""
        self._execute(
            "INSERT OR REPLACE INTO steps (step, position, total, done) VALUES (?, ?, ?, ?)",
            (progress.step, position, progress.total, progress.done),
        )

    def progress(self) -> list[StepProgress]:
        """The steps of the campaign in their order."""
        rows = self._connection.execute("SELECT step, done, total FROM steps ORDER BY position")
        return [StepProgress(*row) for row in rows]

    def keep(self, name: str, value: Any) -> None:
        """Keep a record under a name, in place of the one before."""
        text = json.dumps(encode(value), separators=(",", ":"))
        self._execute("INSERT OR REPLACE INTO kept (name, value) VALUES (?, ?)", (name, text))

    def recall(self, name: str) -> Any:
        """Return what was kept under a name; raises `KeyError`."""
        row = self._connection.execute("SELECT value FROM kept WHERE name = ?", (name,)).fetchone()
        if row is None:
            raise KeyError(name)
        return decode(json.loads(row[0]))

    def checkpoint_file(self, key: str) -> Path:
        """Where an unfinished task keeps what it needs to go on after a kill; nothing else reads it."""
        return self.path / "checkpoints" / key

    def _arrays_file(self, key: str) -> Path:
        return self.path / "arrays" / key[:2] / f"{key}.h5"

    def _execute(self, statement: str, values: tuple[Any, ...]) -> None:
        with self._connection:
            self._connection.execute(statement, values)


def _take_lock(path: Path) -> int:
    """Hold the driver's lock for as long as the returned descriptor is open; the kernel frees it at any death."""
    try:
        descriptor = os.open(path / "driver.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise InputError(f"run folder {path} cannot be written: {error.strerror}") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        pid = os.read(descriptor, 32).decode().strip()
        os.close(descriptor)
        raise InputError(f"run folder {path} is being driven by process {pid}; wait for it or stop it") from None
    os.truncate(descriptor, 0)
    os.write(descriptor, f"{os.getpid()}\n".encode())
    return descriptor


def _connect(database: Path, *, write: bool) -> sqlite3.Connection:
    new = not database.exists()
    try:
        connection = sqlite3.connect(database, timeout=30.0, isolation_level="IMMEDIATE" if write else None)
        if write:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
        if new or not _tables(connection):
            connection.executescript(f"BEGIN; {_SCHEMA}")
            with connection:  # commits the schema and its version together
                versions = [("schema_version", str(SCHEMA_VERSION)), ("kappaforge", __version__)]
                connection.executemany("INSERT INTO meta VALUES (?, ?)", versions)
    except sqlite3.DatabaseError as error:
        raise InputError(f"{database} cannot be used as a run's database ({error}); give another run folder") from None
    return connection


def _tables(connection: sqlite3.Connection) -> list[str]:
    return [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]


def _check_version(connection: sqlite3.Connection, path: Path) -> None:
    if "meta" not in _tables(connection):
        raise InputError(f"{path / DATABASE} is not a run of kappaforge; give another run folder")
    meta = dict(connection.execute("SELECT key, value FROM meta"))
    if meta.get("schema_version") != str(SCHEMA_VERSION):
        raise InputError(
            f"run folder {path} was written by kappaforge {meta.get('kappaforge', '?')} with schema "
            f"{meta.get('schema_version', '?')}, this is {__version__} with schema {SCHEMA_VERSION}; "
            "use that version, or start a new folder with kappaforge init"
        )

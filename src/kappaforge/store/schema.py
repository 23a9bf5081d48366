"""The tables of a run's database, their version, and the way from older versions to it."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from kappaforge import __version__
from kappaforge.errors import InputError, KappaforgeError

DATABASE = "run.sqlite"

SCHEMA_VERSION = 2

SCHEMA = """
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
    done INTEGER NOT NULL,
    found INTEGER NOT NULL DEFAULT 0,        -- of `done`, those that were there when this driver began the step
    started_at REAL NOT NULL DEFAULT 0,      -- seconds since 1970
    updated_at REAL NOT NULL DEFAULT 0,
    outcomes TEXT NOT NULL DEFAULT '{}'      -- JSON: crystals by status
);
CREATE TABLE kept (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
"""

MIGRATIONS = {
    1: (
        "ALTER TABLE steps ADD COLUMN found INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE steps ADD COLUMN started_at REAL NOT NULL DEFAULT 0",
        "ALTER TABLE steps ADD COLUMN updated_at REAL NOT NULL DEFAULT 0",
        "ALTER TABLE steps ADD COLUMN outcomes TEXT NOT NULL DEFAULT '{}'",
    ),
}
"""For each older version, the statements that lead to the one after it."""


class StoreError(KappaforgeError):
    """The run folder contradicts itself, or cannot be written: a full disk, a task finished twice."""


def connect(database: Path, *, write: bool) -> sqlite3.Connection:
    """Open a run's database of the present schema; with `write`, make it or bring it up to date.

    Raises
    ------
    InputError
        For a file that is no run's database, or one of another version that cannot be brought up to date here.
    StoreError
        Where it cannot be written.
    """
    connection = None
    try:
        connection = _opened(database, write=write)
        if write:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            if not _tables(connection):
                _change(connection, SCHEMA.split(";")[:-1], insert=True)
        _check(connection, database.parent, write=write)
    except sqlite3.DatabaseError as error:
        _close(connection)
        raise trouble(database.parent, error) from None
    except KappaforgeError:
        _close(connection)
        raise
    return connection


def _opened(database: Path, *, write: bool) -> sqlite3.Connection:
    if write:
        return sqlite3.connect(database, timeout=30.0, isolation_level="IMMEDIATE")
    address = f"{database.absolute().as_uri()}?mode=ro"
    log = database.with_name(f"{database.name}-wal")
    if not os.access(database.parent, os.W_OK) and not (log.exists() and log.stat().st_size):
        address += (
            "&immutable=1"  # SQLite would make files beside it; nobody else is writing there, or there were a log
        )
    return sqlite3.connect(address, uri=True, timeout=30.0, isolation_level=None)


def damaged(path: Path, error: Exception) -> InputError:
    """Return what to say of a database that holds something else than it should."""
    return InputError(
        f"run folder {path}: {DATABASE} cannot be used: it is damaged or no run's database ({error}); bring it back "
        "from a copy, or start a new folder with: kappaforge init"
    )


def trouble(path: Path, error: sqlite3.Error) -> KappaforgeError:
    """Return what to say of an error of SQLite: the database's own fault, or that of where it lies."""
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF  # the rest is detail
    if code in (sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):  # the first: a table is not there
        return damaged(path, error)
    if code in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH):
        return InputError(
            f"run folder {path}: {DATABASE} cannot be opened here ({error}); make it readable, or copy the folder to "
            "where you may write"
        )
    return cannot_write(path, error)


def cannot_write(path: Path, error: Exception) -> StoreError:
    """Return what to say where a run folder cannot be read or written."""
    return StoreError(
        f"run folder {path}: {error}; what was finished is kept: make room on the disk or wait for it, "
        "then run the same command again"
    )


def _check(connection: sqlite3.Connection, path: Path, *, write: bool) -> None:
    tables = _tables(connection)
    if not tables:
        raise InputError(f"{path} holds no results yet; start it with: kappaforge run {path}")
    if "meta" not in tables:
        raise InputError(f"{path} holds a database that is not a run of kappaforge; give another run folder")
    meta = dict(connection.execute("SELECT key, value FROM meta"))
    found, writer = meta.get("schema_version", "?"), meta.get("kappaforge", "?")
    if found == str(SCHEMA_VERSION):
        return
    if not (found.isdigit() and int(found) in MIGRATIONS):
        raise InputError(
            f"run folder {path} was written by kappaforge {writer} with schema {found}, this is {__version__} with "
            f"schema {SCHEMA_VERSION}; use that version, or start a new folder with kappaforge init"
        )
    if not write:
        raise InputError(
            f"run folder {path} was written by an older kappaforge, {writer}; "
            f"bring it up to date with: kappaforge run {path}"
        )
    for version in range(int(found), SCHEMA_VERSION):
        _change(connection, MIGRATIONS[version])


def _change(connection: sqlite3.Connection, statements: list[str] | tuple[str, ...], *, insert: bool = False) -> None:
    """Change the schema in one transaction, its version with it: a kill leaves the old one or the new one."""
    with connection:
        connection.execute("BEGIN IMMEDIATE")
        for statement in statements:
            connection.execute(statement)
        if insert:
            versions = [("schema_version", str(SCHEMA_VERSION)), ("kappaforge", __version__)]
            connection.executemany("INSERT INTO meta VALUES (?, ?)", versions)
        else:
            connection.execute("UPDATE meta SET value = value + 1 WHERE key = 'schema_version'")
            connection.execute("UPDATE meta SET value = ? WHERE key = 'kappaforge'", (__version__,))


def _tables(connection: sqlite3.Connection) -> list[str]:
    return [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]


def _close(connection: sqlite3.Connection | None) -> None:
    if connection is not None:
        connection.close()

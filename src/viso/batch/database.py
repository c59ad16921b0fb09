"""The manifest's file: an SQLite database, its tables and its errors.

It uses the rollback journal, not the write-ahead log: the log needs memory that all processes
share, which network drives do not have. Writers wait for one another.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from viso.errors import DataError

__all__ = ["FILE", "DiskFullError", "connected", "readable", "storable", "transaction"]

FILE = "viso-batch.sqlite"
"""The manifest's name in the output folder."""

_VERSION = 2
_WAIT_S = 60.0

_TABLES = (
    """CREATE TABLE entries (
        id INTEGER PRIMARY KEY,
        song NOT NULL,                 -- real path
        settings TEXT NOT NULL,        -- key of the table below
        state TEXT NOT NULL CHECK (state IN ('claimed', 'open', 'failed', 'done')),
        n_bytes INTEGER,               -- of the song, when it was done
        mtime_ns INTEGER,
        version TEXT NOT NULL DEFAULT '',  -- of an object in a store, its ETag
        sha256 TEXT,
        duration_s REAL,
        took_s REAL,
        host TEXT,
        n_jobs INTEGER,
        owner TEXT,                    -- the batch that claims it, or did last
        ended_s REAL,                  -- Unix time
        kind TEXT,                     -- why it failed
        reason TEXT,
        UNIQUE (song, settings))""",
    """CREATE TABLE files (
        key TEXT PRIMARY KEY,          -- equal for names that are one file somewhere
        entry INTEGER NOT NULL REFERENCES entries ON DELETE CASCADE,
        stem TEXT NOT NULL,
        path NOT NULL,                 -- below the output folder
        n_bytes INTEGER)""",
    "CREATE INDEX files_of_entries ON files (entry)",
    """CREATE TABLE settings (
        settings TEXT PRIMARY KEY,
        facts TEXT NOT NULL)""",
    """CREATE TABLE batches (
        owner TEXT PRIMARY KEY,
        host TEXT NOT NULL,
        pid INTEGER NOT NULL,
        workers TEXT NOT NULL DEFAULT '',
        beat_s REAL NOT NULL)""",
    """CREATE TABLE outputs (            -- one at most, in a store; one on a disk is not noted
        name TEXT PRIMARY KEY,         -- of this manifest
        address TEXT NOT NULL)""",
)
# What the tables of version 1 lack.
_SINCE_1 = ("ALTER TABLE entries ADD COLUMN version TEXT NOT NULL DEFAULT ''", _TABLES[-1])


class DiskFullError(DataError):
    """The disk of the output folder is full; the batch stops and can be resumed later."""


def storable(text: str) -> str | bytes:
    """Return a path in a form that SQLite can hold: text, or bytes if it is not valid text."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return os.fsencode(text)
    return text


def readable(value: str | bytes) -> str:
    """Return the path that `storable` got."""
    return value if isinstance(value, str) else os.fsdecode(value)


@contextmanager
def _translated_errors(path: Path) -> Iterator[None]:
    """Convert SQLite's errors to `DataError` and `DiskFullError`."""
    try:
        yield
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code == sqlite3.SQLITE_FULL:
            raise DiskFullError(f"{path}: cannot be written (the disk is full)") from error
        if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            way = "move it away; stems that are there are then replaced with --overwrite only"
        elif code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL):
            way = "another program holds it; try again, or take a folder on a disk of this machine"
        else:
            way = "check that its folder is there and may be written to"
        raise DataError(f"{path}: the batch's manifest cannot be used ({error}); {way}") from error


@contextmanager
def connected(folder: Path, *, is_new: bool) -> Iterator[sqlite3.Connection]:
    """Open the manifest of an output folder for the length of the block.

    Parameters
    ----------
    folder : Path
    is_new : bool
        Make the folder and the manifest if they are missing.

    Raises
    ------
    DataError
        If it cannot be opened, is damaged, or was made by a later viso. SQLite's errors in the
        block also become this error, or its subclass `DiskFullError`.
    """
    path = folder / FILE
    try:
        if is_new:
            folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        why = f"cannot be made ({error.strerror})"
        raise DataError(f"{folder}: {why}; choose another output folder") from error
    with _translated_errors(path):
        # Otherwise an empty manifest would appear if the folder was removed and made again.
        address = f"{path.absolute().as_uri()}?mode={'rwc' if is_new else 'rw'}"
        database = sqlite3.connect(
            address, uri=True, timeout=_WAIT_S, isolation_level=None, check_same_thread=False
        )
        try:
            database.execute("PRAGMA foreign_keys = ON")
            _make_tables(database, path)
            yield database
        finally:
            database.close()


def _make_tables(database: sqlite3.Connection, path: Path) -> None:
    def version() -> int:
        return int(database.execute("PRAGMA user_version").fetchone()[0])

    if version() < _VERSION:
        with transaction(database):
            # Another process may have been faster.
            for statement in {0: _TABLES, 1: _SINCE_1}.get(version(), ()):
                database.execute(statement)
            database.execute(f"PRAGMA user_version = {max(version(), _VERSION)}")
    if version() != _VERSION:
        raise DataError(f"{path}: was made by another version of viso; update viso")


@contextmanager
def transaction(database: sqlite3.Connection) -> Iterator[None]:
    """Write all of the block or nothing, while no other process writes.

    Raises
    ------
    DataError
        See `connected`.
    """
    with _translated_errors(Path(readable(database.execute("PRAGMA database_list").fetchone()[2]))):
        database.execute("BEGIN IMMEDIATE")
        try:
            yield
            database.execute("COMMIT")
        except BaseException:
            if database.in_transaction:
                database.execute("ROLLBACK")
            raise

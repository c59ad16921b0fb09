"""The tables of a studio's SQLite file, and their rows."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass, fields
from typing import Literal

from viso.separator import STEMS

__all__ = ["CHANGES", "TABLES", "VERSION", "JobRow", "Kind", "SongRow", "is_studio"]

VERSION = 3

Kind = Literal["upload", "song", "job", "download"]
"""Kinds of files in a studio's folder."""

_REMOVALS = """CREATE TABLE removals (    -- files that are to go, and that no song or job names
        kind TEXT NOT NULL CHECK (kind IN ('upload', 'song', 'job', 'download')),
        id TEXT NOT NULL,
        noted_s REAL NOT NULL,         -- Unix time
        PRIMARY KEY (kind, id))"""

_STEMS = "stems TEXT NOT NULL DEFAULT 'vocals,instrumental'"  # those that add up to the song

CHANGES = {1: (_REMOVALS,), 2: (f"ALTER TABLE jobs ADD COLUMN {_STEMS}",)}
"""Statements that turn the tables of a version into those of the next."""

TABLES = (
    """CREATE TABLE songs (
        id TEXT PRIMARY KEY,
        name TEXT NOT NULL,            -- only shown
        n_bytes INTEGER NOT NULL,
        audio_s REAL,
        rate_hz INTEGER NOT NULL,
        channels INTEGER NOT NULL,
        expires_s REAL NOT NULL)""",  # Unix time
    f"""CREATE TABLE jobs (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL UNIQUE,
        song TEXT NOT NULL REFERENCES songs ON DELETE CASCADE,
        model TEXT NOT NULL,
        start_s REAL NOT NULL,
        duration_s REAL,
        is_preview INTEGER NOT NULL,
        state TEXT NOT NULL
            CHECK (state IN ('queued', 'running', 'done', 'failed', 'cancelled')),
        attempts INTEGER NOT NULL DEFAULT 0,
        error TEXT,
        n_samples INTEGER,
        gain_db REAL,
        speed REAL,
        loudness TEXT,
        {_STEMS})""",
    "CREATE INDEX jobs_of_songs ON jobs (song)",
    "CREATE INDEX waiting_jobs ON jobs (state, is_preview DESC, number)",
    _REMOVALS,
)


@dataclass(frozen=True)
class SongRow:
    """A song."""

    id: str
    name: str
    n_bytes: int
    audio_s: float | None
    rate_hz: int
    channels: int
    expires_s: float


@dataclass(frozen=True)
class JobRow:
    """A separation in any state; `number` orders the queue, `loudness` is JSON.

    `stems` are the names of those that add up to the song, with commas between them.
    """

    number: int
    id: str
    song: str
    model: str
    start_s: float
    duration_s: float | None
    is_preview: bool
    state: str
    attempts: int
    error: str | None
    n_samples: int | None
    gain_db: float | None
    speed: float | None
    loudness: str | None
    stems: str = ",".join(STEMS)

    @property
    def stem_names(self) -> tuple[str, ...]:
        """The stems that add up to the song."""
        return tuple(self.stems.split(","))


def is_studio(database: sqlite3.Connection) -> bool:
    """Whether an SQLite file has the tables of a studio, of this version or of another.

    Raises
    ------
    sqlite3.Error
        If it cannot be read.
    """
    if int(database.execute("PRAGMA user_version").fetchone()[0]) < 1:
        return False
    for table, row in (("songs", SongRow), ("jobs", JobRow)):
        columns = {column[1] for column in database.execute(f"PRAGMA table_info({table})")}
        needed = {field.name for field in fields(row)} - {"stems"}  # the older have none
        if not columns >= needed:
            return False
    return True

"""The tables of a studio's SQLite file, and their rows."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["TABLES", "VERSION", "JobRow", "SongRow"]

VERSION = 1

TABLES = (
    """CREATE TABLE songs (
        id TEXT PRIMARY KEY,
        name TEXT NOT NULL,            -- only shown
        n_bytes INTEGER NOT NULL,
        audio_s REAL,
        rate_hz INTEGER NOT NULL,
        channels INTEGER NOT NULL,
        expires_s REAL NOT NULL)""",  # Unix time
    """CREATE TABLE jobs (
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
        loudness TEXT)""",
    "CREATE INDEX jobs_of_songs ON jobs (song)",
    "CREATE INDEX waiting_jobs ON jobs (state, is_preview DESC, number)",
)


@dataclass(frozen=True)
class SongRow:
    """A song that is there."""

    id: str
    name: str
    n_bytes: int
    audio_s: float | None
    rate_hz: int
    channels: int
    expires_s: float


@dataclass(frozen=True)
class JobRow:
    """A separation, whatever became of it; `number` orders the queue, `loudness` is JSON."""

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

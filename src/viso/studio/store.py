"""The songs and jobs of a studio, in an SQLite file that one studio locks.

The studio holds the lock as long as it runs, so a second studio on the same folder is refused.
The lock also makes shared memory needless: the write-ahead log works on any disk.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from viso.errors import ConfigError
from viso.studio.ownership import DATABASE, keep_private
from viso.studio.tables import CHANGES, TABLES, VERSION, JobRow, Kind, SongRow

__all__ = ["ACTIVE", "QueueFullError", "SongGoneError", "Store"]

ACTIVE = ("queued", "running")

_MOST_ATTEMPTS = 3


class QueueFullError(Exception):
    """The queue has no room for another job."""


class SongGoneError(Exception):
    """The song was deleted meanwhile."""


class Store:
    """Songs and jobs; any thread may use it.

    Parameters
    ----------
    folder : Path
        A studio's (`viso.studio.ownership.take_folder`).

    Raises
    ------
    ConfigError
        If the folder cannot be used, or another studio uses it.
    """

    def __init__(self, folder: Path) -> None:
        path = folder / DATABASE
        try:
            keep_private(path)
        except OSError as error:
            raise ConfigError(
                f"{path}: cannot be made or used ({error.strerror}); choose another --data"
            ) from error
        self._lock = threading.RLock()
        try:
            self._database = sqlite3.connect(
                path, timeout=1.0, isolation_level=None, check_same_thread=False
            )
        except sqlite3.Error as error:
            raise ConfigError(
                f"{path}: cannot be opened ({error}); choose another --data"
            ) from error
        try:
            self._prepare(path)
        except ConfigError:
            self.close()
            raise
        except sqlite3.Error as error:
            self.close()
            code = getattr(error, "sqlite_errorcode", 0) & 0xFF
            if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                raise ConfigError(
                    f"{folder}: another studio uses this folder; choose another --data"
                ) from error
            raise ConfigError(
                f"{path}: cannot be used ({error}); move it away or choose another --data"
            ) from error

    def _prepare(self, path: Path) -> None:
        run = self._database.execute
        run("PRAGMA locking_mode = EXCLUSIVE")
        run("PRAGMA journal_mode = WAL")
        run("PRAGMA synchronous = NORMAL")
        run("PRAGMA foreign_keys = ON")
        with self._writing():  # also takes the lock
            version = int(run("PRAGMA user_version").fetchone()[0])
            if version == 0 and run("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                raise ConfigError(f"{path}: is no studio's; move it away or choose another --data")
            if not 0 <= version <= VERSION:
                raise ConfigError(
                    f"{path}: was made by another version of viso; choose another --data"
                )
            for table in TABLES if version == 0 else ():
                run(table)
            for older in range(version or VERSION, VERSION):
                for change in CHANGES[older]:
                    run(change)
            run(f"PRAGMA user_version = {VERSION}")

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """Write all of the block or nothing, one thread at a time."""
        with self._lock:
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield self._database
                self._database.execute("COMMIT")
            except BaseException:
                if self._database.in_transaction:
                    self._database.execute("ROLLBACK")
                raise

    def _rows(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        with self._lock:
            return self._database.execute(sql, values).fetchall()

    def _jobs(self, condition: str, *values: Any) -> list[JobRow]:
        columns = ", ".join(JobRow.__dataclass_fields__)
        rows = self._rows(f"SELECT {columns} FROM jobs {condition}", *values)  # noqa: S608
        return [JobRow(*row) for row in rows]

    def add_song(self, song: SongRow) -> None:
        """Record a song, and that its file stays."""
        with self._writing() as database:
            database.execute(
                "INSERT INTO songs VALUES (?, ?, ?, ?, ?, ?, ?)", tuple(vars(song).values())
            )
            database.execute("DELETE FROM removals WHERE kind = 'song' AND id = ?", (song.id,))

    def song(self, song_id: str) -> SongRow | None:
        """Return a song, unless it is deleted or expired."""
        rows = self._rows(
            "SELECT * FROM songs WHERE id = ? AND (expires_s > ? OR EXISTS (SELECT 1 FROM jobs "
            "WHERE song = songs.id AND state IN ('queued', 'running')))",
            song_id,
            time.time(),
        )
        return SongRow(*rows[0]) if rows else None

    def delete_song(self, song_id: str) -> None:
        """Delete a song and its jobs, and record their files for removal."""
        with self._writing() as database:
            self._note(database, "SELECT 'job', id, ? FROM jobs WHERE song = ?", song_id)
            self._note(database, "SELECT 'song', id, ? FROM songs WHERE id = ?", song_id)
            database.execute("DELETE FROM songs WHERE id = ?", (song_id,))

    def add_job(self, job: JobRow, *, most_waiting: int, expires_s: float) -> None:
        """Queue a job; its song is kept until `expires_s` (Unix time) at least.

        Raises
        ------
        QueueFullError
            If `most_waiting` jobs wait already.
        SongGoneError
            If the song is deleted.
        """
        with self._writing() as database:
            if self.song(job.song) is None:
                raise SongGoneError
            if self.n_waiting() >= most_waiting:
                raise QueueFullError
            database.execute(
                "INSERT INTO jobs (id, song, model, start_s, duration_s, is_preview, stems, state) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, 'queued')",
                (
                    job.id,
                    job.song,
                    job.model,
                    job.start_s,
                    job.duration_s,
                    job.is_preview,
                    job.stems,
                ),
            )
            self._keep(database, job.song, expires_s)

    @staticmethod
    def _keep(database: sqlite3.Connection, song_id: str, expires_s: float) -> None:
        database.execute(
            "UPDATE songs SET expires_s = max(expires_s, ?) WHERE id = ?", (expires_s, song_id)
        )

    def n_waiting(self) -> int:
        """Return how many jobs wait."""
        return int(self._rows("SELECT count(*) FROM jobs WHERE state = 'queued'")[0][0])

    def job(self, job_id: str) -> JobRow | None:
        """Return a job."""
        found = self._jobs("WHERE id = ?", job_id)
        return found[0] if found else None

    def jobs_of(self, song_id: str) -> list[JobRow]:
        """Return the jobs of a song."""
        return self._jobs("WHERE song = ?", song_id)

    def waiting(self) -> list[str]:
        """Return the queued jobs, the next one first: previews precede whole songs."""
        order = "ORDER BY is_preview DESC, number"
        return [row[0] for row in self._rows(f"SELECT id FROM jobs WHERE state = 'queued' {order}")]  # noqa: S608

    def queue_position(self, job: JobRow) -> int:
        """Return the position of a queued job; 1 is next."""
        ahead = self._rows(
            "SELECT count(*) FROM jobs WHERE state = 'queued' AND "
            "(is_preview > ? OR (is_preview = ? AND number < ?))",
            job.is_preview,
            job.is_preview,
            job.number,
        )
        return 1 + int(ahead[0][0])

    def claim(self) -> JobRow | None:
        """Mark the next queued job as running and return it; None if none is queued."""
        with self._writing() as database:
            found = self._jobs("WHERE state = 'queued' ORDER BY is_preview DESC, number LIMIT 1")
            if not found:
                return None
            database.execute(
                "UPDATE jobs SET state = 'running', attempts = attempts + 1 WHERE id = ?",
                (found[0].id,),
            )
            return self._jobs("WHERE id = ?", found[0].id)[0]

    def end_job(
        self, job_id: str, state: str, *, expires_s: float | None = None, **columns: Any
    ) -> bool:
        """Record how an active job ended; return False if it had ended before, or is deleted."""
        names = ", ".join(f"{name} = :{name}" for name in ("state", *columns))
        with self._writing() as database:
            changed = database.execute(
                f"UPDATE jobs SET {names} WHERE id = :id AND state IN ('queued', 'running')",  # noqa: S608
                {"id": job_id, "state": state, **columns},
            ).rowcount
            job = self.job(job_id)
            if job is not None and expires_s is not None:
                self._keep(database, job.song, expires_s)
        return bool(changed)

    def delete_job(self, job_id: str) -> None:
        """Delete a job, and record its files for removal."""
        with self._writing() as database:
            self._note(database, "SELECT 'job', id, ? FROM jobs WHERE id = ?", job_id)
            database.execute("DELETE FROM jobs WHERE id = ?", (job_id,))

    def requeue_interrupted(self) -> None:
        """Requeue jobs that were running when the studio stopped, up to three times."""
        with self._writing() as database:
            database.execute(
                "UPDATE jobs SET state = 'failed', error = ? WHERE state = 'running' "
                "AND attempts >= ?",
                (f"was interrupted {_MOST_ATTEMPTS} times; start it again", _MOST_ATTEMPTS),
            )
            database.execute("UPDATE jobs SET state = 'queued' WHERE state = 'running'")

    def expired(self) -> list[str]:
        """Return expired songs without an active job."""
        rows = self._rows(
            "SELECT id FROM songs WHERE expires_s <= ? AND NOT EXISTS (SELECT 1 FROM jobs "
            "WHERE song = songs.id AND state IN ('queued', 'running'))",
            time.time(),
        )
        return [row[0] for row in rows]

    def known(self) -> tuple[set[str], set[str]]:
        """Return the ids of all songs and of all jobs."""
        songs, jobs = self._rows("SELECT id FROM songs"), self._rows("SELECT id FROM jobs")
        return {row[0] for row in songs}, {row[0] for row in jobs}

    @staticmethod
    def _note(database: sqlite3.Connection, select: str, name: str) -> None:
        database.execute(f"INSERT OR REPLACE INTO removals {select}", (time.time(), name))

    def note_removal(self, kind: Kind, name: str) -> None:
        """Record files of this kind and id for removal, before they are made."""
        with self._writing() as database:
            values = (kind, name, time.time())
            database.execute("INSERT OR REPLACE INTO removals VALUES (?, ?, ?)", values)

    def forget_removal(self, kind: Kind, name: str) -> None:
        """Record that the files are gone."""
        with self._writing() as database:
            database.execute("DELETE FROM removals WHERE kind = ? AND id = ?", (kind, name))

    def removals(self) -> list[tuple[Kind, str]]:
        """Return kind and id of all files that are recorded for removal."""
        return [(row[0], row[1]) for row in self._rows("SELECT kind, id FROM removals")]

    def old_downloads(self, age_s: float) -> list[str]:
        """Return the downloads that began at least `age_s` seconds ago."""
        rows = self._rows(
            "SELECT id FROM removals WHERE kind = 'download' AND noted_s <= ?", time.time() - age_s
        )
        return [row[0] for row in rows]

    def close(self) -> None:
        """Close the file, and release its lock."""
        with self._lock:
            self._database.close()

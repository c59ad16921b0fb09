"""Read the manifest of an output folder: what is done, and from which songs.

An entry is a song with its settings. It owns its files; no file has two owners.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from viso.batch.database import FILE, connected, readable, storable, transaction
from viso.batch.owners import this_host
from viso.batch.settings import key_of
from viso.batch.songs import Stamp

__all__ = ["Entry", "Manifest", "Renewed", "manifest_if_there"]


@dataclass(frozen=True)
class Entry:
    """The manifest's record of a song with its settings.

    `files` are the paths of its stems below the output folder, `sizes` their bytes if they were
    made whole. `sha256` and `stamp` describe the song when it was done. `ended_s` is the Unix
    time at which it was last done or failed.
    """

    song: str
    state: Literal["claimed", "open", "failed", "done"]
    stamp: Stamp | None
    sha256: str | None
    duration_s: float | None
    files: dict[str, Path] = field(default_factory=dict)
    sizes: dict[str, int | None] = field(default_factory=dict)
    ended_s: float | None = None


@dataclass(frozen=True)
class Renewed:
    """A song that is done and whose time or path has changed; `before` is the old real path."""

    before: str
    song: str
    stamp: Stamp


@contextmanager
def manifest_if_there(folder: Path) -> Iterator[Manifest | None]:
    """Open the manifest of an output folder for the length of the block; None without one.

    Raises
    ------
    DataError
        See `database.connected`.
    """
    if not (folder / FILE).exists():
        yield None
        return
    with connected(folder, is_new=False) as database:
        yield Manifest(database)


class Manifest:
    """Queries to a manifest; see `manifest_if_there`. `facts` is `SeparationConfig.facts`."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database

    def entries(self, facts: str) -> dict[str, Entry]:
        """Return all entries with these settings, by the song's real path."""
        settings = key_of(facts)
        files: dict[int, list[tuple[str, str | bytes, int | None]]] = {}
        for entry, *rest in self._database.execute(
            "SELECT entry, stem, path, files.n_bytes FROM files"
            " JOIN entries ON entries.id = entry WHERE settings = ?",
            (settings,),
        ):
            files.setdefault(entry, []).append((rest[0], rest[1], rest[2]))
        rows = self._database.execute(
            "SELECT id, song, state, n_bytes, mtime_ns, version, sha256, duration_s, ended_s"
            " FROM entries WHERE settings = ?",
            (settings,),
        )
        found = {}
        for number, song, state, n_bytes, mtime_ns, version, sha256, duration_s, ended_s in rows:
            stamp = None if n_bytes is None else Stamp(n_bytes, mtime_ns, version)
            own = files.get(number, [])
            paths = {stem: Path(readable(path)) for stem, path, _ in own}
            sizes = {stem: size for stem, _, size in own}
            key = readable(song)
            found[key] = Entry(key, state, stamp, sha256, duration_s, paths, sizes, ended_s)
        return found

    def files(self) -> list[tuple[str, Path]]:
        """Return the song and the path below the output folder of every file, for all settings."""
        query = "SELECT song, path FROM files JOIN entries ON entries.id = entry"
        return [
            (readable(song), Path(readable(path))) for song, path in self._database.execute(query)
        ]

    def speed(self, facts: str, *, n_jobs: int) -> float | None:
        """Return how many times real time `n_jobs` jobs reached on this machine, if known."""
        duration_s, took_s = self._database.execute(
            "SELECT sum(duration_s), sum(took_s) FROM (SELECT duration_s, took_s FROM entries"
            " WHERE settings = ? AND state = 'done' AND host = ? AND n_jobs = ?"
            " ORDER BY ended_s DESC LIMIT 500)",
            (key_of(facts), this_host(), n_jobs),
        ).fetchone()
        return n_jobs * float(duration_s) / float(took_s) if duration_s and took_s else None

    def bytes_per_s(self, facts: str) -> float | None:
        """Return how many bytes of stems a second of song gave, if known."""
        n_bytes, total_s = self._database.execute(
            "SELECT (SELECT sum(files.n_bytes) FROM files JOIN entries ON entries.id = entry"
            " WHERE settings = :key AND state = 'done'),"
            " (SELECT sum(duration_s) FROM entries WHERE settings = :key AND state = 'done')",
            {"key": key_of(facts)},
        ).fetchone()
        return float(n_bytes) / float(total_s) if n_bytes and total_s else None

    def renew(self, songs: Iterable[Renewed], facts: str) -> None:
        """Record new paths and times of songs whose content has not changed."""
        key = key_of(facts)
        with transaction(self._database):
            self._database.executemany(
                "UPDATE OR IGNORE entries SET song = ?, n_bytes = ?, mtime_ns = ?, version = ?"
                " WHERE song = ? AND settings = ? AND state = 'done'",
                [
                    (
                        *(storable(s.song), s.stamp.n_bytes, s.stamp.mtime_ns, s.stamp.version),
                        *(storable(s.before), key),
                    )
                    for s in songs
                ],
            )

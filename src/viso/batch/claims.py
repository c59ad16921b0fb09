"""What a running batch writes into the manifest: claims before work, results after it.

Only the process that coordinates the batch writes; workers never do. Several batches may run on
one folder, on one machine or on many. A batch claims each song in one transaction before it works
on it. When a batch dies, other batches may take its claims.
"""

from __future__ import annotations

import errno
import os
import sqlite3
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from viso.batch.database import readable, storable, transaction
from viso.batch.owners import Owner, is_alive, runs
from viso.batch.settings import key_of
from viso.batch.songs import Stamp
from viso.errors import VisoError
from viso.separator.joint_commit import clear
from viso.separator.naming import name_key
from viso.stores.address import Address, Location
from viso.stores.objects import listing, remove

__all__ = ["Claim", "ClaimRefusal", "Claims", "remove_hidden"]

_QUESTIONS = 32  # requests to a store at a time


@dataclass(frozen=True)
class Claim:
    """A song that this batch has claimed, and its files (below the output folder)."""

    entry: int
    files: dict[str, Path]


@dataclass(frozen=True)
class ClaimRefusal:
    """Why a song cannot be claimed.

    "busy": another batch works on it; "done" or "failed": another batch has ended it since;
    "taken": the file `path` is another song's; "foreign_file": no batch made the file `path`.
    """

    why: Literal["busy", "done", "failed", "taken", "foreign_file"]
    kind: str = ""
    reason: str = ""
    path: Path = Path()


class Claims:
    """The claims of one batch.

    Parameters
    ----------
    database : sqlite3.Connection
        See `database.connected`.
    folder : Path or Address
        The output folder.
    owner : Owner
    facts : str
        See `SeparationConfig.facts`.
    """

    def __init__(
        self,
        database: sqlite3.Connection,
        folder: Location,
        *,
        owner: Owner,
        facts: str,
    ) -> None:
        self._database, self._folder, self._owner = database, folder, owner
        self._settings = key_of(facts)
        with transaction(database):
            database.execute(
                "INSERT OR IGNORE INTO settings VALUES (?, ?)", (self._settings, facts)
            )

    def claim(
        self,
        song: str,
        files: Mapping[str, Path],
        *,
        overwrite: bool,
        ended_s: float | None = None,
    ) -> Claim | ClaimRefusal:
        """Claim a song for this batch, and its files for the song.

        Parameters
        ----------
        song : str
            Its real path.
        files : mapping of str to Path
            Wanted paths below the output folder, by stem.
        overwrite : bool
            Take over files that no batch made, or that were changed since.
        ended_s : float, optional
            When the song was last done or failed, according to the plan. It is only tested for
            equality: clocks jump, and the clocks of machines differ.
        """
        # Outside the lock: a store may be slow, and others wait for the lock a minute at most.
        there = {} if overwrite else self._there(files.values())
        leftovers: list[tuple[list[Location], int]] = []
        found: Claim | ClaimRefusal | None
        with transaction(self._database):
            found = self._of_song(song, ended_s, leftovers)
            found = found or self._of_files(song, files, there)
            found = found or self._taken(song, files)
        for paths, pid in leftovers:
            remove_hidden(paths, pid)
        return found

    def _taken(self, song: str, files: Mapping[str, Path]) -> Claim:
        """Record the claim."""
        self._database.execute(
            "INSERT INTO entries (song, settings, state, owner) VALUES (?, ?, 'claimed', ?)"
            " ON CONFLICT DO UPDATE SET state = 'claimed', owner = excluded.owner,"
            " kind = NULL, reason = NULL",
            (storable(song), self._settings, self._owner.name),
        )
        (entry,) = self._database.execute(
            "SELECT id FROM entries WHERE song = ? AND settings = ?",
            (storable(song), self._settings),
        ).fetchone()
        self._database.execute("DELETE FROM files WHERE entry = ?", (entry,))
        self._database.executemany(
            "INSERT OR REPLACE INTO files (key, entry, stem, path) VALUES (?, ?, ?, ?)",
            [(_key(path), entry, s, storable(str(path))) for s, path in files.items()],
        )
        return Claim(entry, dict(files))

    def _of_song(
        self, song: str, known_s: float | None, leftovers: list[tuple[list[Location], int]]
    ) -> ClaimRefusal | None:
        """Return why the song is not free, or None; add a dead batch's files to `leftovers`."""
        row = self._database.execute(
            "SELECT id, state, owner, ended_s, kind, reason FROM entries"
            " WHERE song = ? AND settings = ?",
            (storable(song), self._settings),
        ).fetchone()
        if row is None or row[2] == self._owner.name:
            return None
        entry, state, other, ended_s, kind, reason = row
        if state == "claimed":
            if is_alive(self._database, other):
                return ClaimRefusal("busy")
            leftovers += self._leftovers(entry, other)
        if state in ("done", "failed") and ended_s != known_s:
            return ClaimRefusal(state, kind or "", readable(reason or ""))
        return None

    def _of_files(
        self, song: str, files: Mapping[str, Path], there: Mapping[Path, int]
    ) -> ClaimRefusal | None:
        """Return why the files may not be written, or None; `there` has sizes of files to keep."""
        for path in files.values():
            row = self._database.execute(
                "SELECT song, state, owner, files.n_bytes FROM files"
                " JOIN entries ON entries.id = entry WHERE key = ?",
                (_key(path),),
            ).fetchone()
            if row is not None:
                other, state, owner, _ = row
                if readable(other) != song:
                    return ClaimRefusal("taken", path=path)
                is_others = state == "claimed" and owner != self._owner.name
                if is_others and is_alive(self._database, owner):
                    return ClaimRefusal("busy")
            if (size := there.get(path)) is None:
                continue
            # A file of the recorded size was made by a batch; a smaller one is cut short.
            if row is None or (row[3] is not None and size > row[3]):
                return ClaimRefusal("foreign_file", path=path)
        return None

    def note_workers(self, pids: Iterable[int]) -> None:
        """Record which processes write for this batch; if it dies, others clear up after them."""
        with transaction(self._database):
            self._database.execute(
                "UPDATE batches SET workers = ? WHERE owner = ?",
                (" ".join(map(str, pids)), self._owner.name),
            )

    def _leftovers(self, entry: int, owner: str) -> list[tuple[list[Location], int]]:
        """Return a song's files with each dead worker, if its batch died on this machine."""
        row = self._database.execute(
            "SELECT host, workers FROM batches WHERE owner = ?", (owner,)
        ).fetchone()
        if row is None or row[0] != self._owner.host:
            return []
        files = self._database.execute("SELECT path FROM files WHERE entry = ?", (entry,))
        paths: list[Location] = [self._folder / readable(path) for (path,) in files]
        # A silent batch may still live: after a jump of the clock, or in a debugger.
        pids = [pid for pid in map(int, row[1].split()) if os.name == "nt" or not runs(pid)]
        return [(paths, pid) for pid in pids]

    def finish(
        self,
        claim: Claim,
        *,
        stamp: Stamp,
        sha256: str,
        duration_s: float,
        took_s: float,
        n_jobs: int,
        sizes: Mapping[str, int],
    ) -> bool:
        """Record that a song is done, and the sizes of its files; False if the claim was lost.

        Parameters
        ----------
        sizes : mapping of str to int
            Sizes of objects in a store, as the worker reports them; the sizes of files on a disk
            are read from the disk.

        Raises
        ------
        OSError
            If a file is missing.
        """
        found = [
            (self._size_now(claim.files[stem], sizes.get(stem)), _key(path), claim.entry)
            for stem, path in claim.files.items()
        ]
        with transaction(self._database):
            n_changed = self._database.execute(
                "UPDATE entries SET state = 'done', n_bytes = ?, mtime_ns = ?, version = ?,"
                " sha256 = ?, duration_s = ?, took_s = ?, host = ?, n_jobs = ?, ended_s = ?"
                " WHERE id = ? AND owner = ? AND state = 'claimed'",
                (
                    *(stamp.n_bytes, stamp.mtime_ns, stamp.version, sha256, duration_s, took_s),
                    *(self._owner.host, n_jobs, time.time(), claim.entry, self._owner.name),
                ),
            ).rowcount
            if n_changed:
                self._database.executemany(
                    "UPDATE files SET n_bytes = ? WHERE key = ? AND entry = ?", found
                )
        return bool(n_changed)

    def _size_now(self, path: Path, reported: int | None) -> int:
        if reported is not None and isinstance(self._folder, Address):
            return reported
        size = _size(self._folder / path)
        if size is None:
            why = "No such file or directory"
            raise FileNotFoundError(errno.ENOENT, why, str(self._folder / path))
        return size

    def fail(self, claim: Claim, *, kind: str, reason: str) -> None:
        """Record why a song failed; release its files that do not exist."""
        there = self._there(claim.files.values())  # outside the lock: only we write them
        with transaction(self._database):
            n_changed = self._database.execute(
                "UPDATE entries SET state = 'failed', kind = ?, reason = ?, ended_s = ?"
                " WHERE id = ? AND owner = ? AND state = 'claimed'",
                (kind, storable(reason), time.time(), claim.entry, self._owner.name),
            ).rowcount
            if n_changed:
                self._free(path for path in claim.files.values() if path not in there)

    def release(self) -> None:
        """Release all songs that are still claimed."""
        claimed = self._claimed_files()
        there = self._there(claimed)  # outside the lock
        with transaction(self._database):
            # Another batch may have thought this one dead and taken its claims.
            still_ours = self._claimed_files()
            self._free(path for path in claimed if path in still_ours and path not in there)
            self._database.execute(
                "UPDATE entries SET state = 'open' WHERE owner = ? AND state = 'claimed'",
                (self._owner.name,),
            )

    def _claimed_files(self) -> set[Path]:
        """Return the files of the songs that this batch has claimed now."""
        rows = self._database.execute(
            "SELECT path FROM files JOIN entries ON entries.id = entry"
            " WHERE owner = ? AND state = 'claimed'",
            (self._owner.name,),
        )
        return {Path(readable(path)) for (path,) in rows}

    def _free(self, paths: Iterable[Path]) -> None:
        """Release files, so that other songs may have them."""
        self._database.executemany("DELETE FROM files WHERE key = ?", [(_key(p),) for p in paths])

    def _there(self, paths: Iterable[Path]) -> dict[Path, int]:
        """Return the sizes of the files that exist."""
        paths = list(paths)
        places = [self._folder / path for path in paths]
        if isinstance(self._folder, Address) and places:
            # Nearly all the time is spent waiting for the store.
            with ThreadPoolExecutor(min(len(places), _QUESTIONS)) as pool:
                sizes = list(pool.map(_size, places))
        else:
            sizes = [_size(place) for place in places]
        return {p: size for p, size in zip(paths, sizes, strict=True) if size is not None}


def remove_hidden(paths: Iterable[Location], pid: int) -> None:
    """Remove the unfinished files that a dead process left beside these files."""
    for folder in {path.parent for path in paths}:
        with suppress(OSError, VisoError):
            if isinstance(folder, Address):
                for name, _ in listing(folder, recursive=False):
                    if name.startswith(f".viso-{pid}-"):
                        remove(folder / name)
                continue
            clear(folder, [path.name for path in folder.glob(f".viso-{pid}-*")])


def _key(path: Path) -> str | bytes:
    return storable(name_key(path))


def _size(place: Location) -> int | None:
    try:
        return Stamp.of(place).n_bytes
    except OSError:
        return None

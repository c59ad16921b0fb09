"""Answers of many listeners in one SQLite file; each is on disk as soon as it is given.

A listener is a number and a random name. The hash of the key in a personal link identifies the
listener. Real names, addresses and the keys themselves are not stored.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import sqlite3
import stat
import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from viso.config import parse_json
from viso.errors import ConfigError, DataError, VisoError
from viso.listening.definition import ListeningTest
from viso.listening.records import Choice, Listener, Ratings

__all__ = ["Answers", "Begun", "ListenerProgress", "Page", "Record", "Stored", "read_answers"]

Record = Listener | Ratings | Choice
Page = tuple[str, str]
"""A trial and a question; the question is empty where a test has none."""
Stored = Literal["stored", "known", "another", "nobody"]

_APPLICATION = 0x7669736F  # "viso", in the file's header
_FORMAT = 1
_TABLES = """
CREATE TABLE test (id TEXT NOT NULL);
CREATE TABLE listeners (
    number INTEGER PRIMARY KEY,
    key_hash BLOB NOT NULL UNIQUE,
    name TEXT NOT NULL UNIQUE,
    place INTEGER UNIQUE,
    about TEXT,
    consent TEXT,
    began_at TEXT,
    finished_at TEXT
);
CREATE TABLE answers (
    listener INTEGER NOT NULL REFERENCES listeners (number) ON DELETE CASCADE,
    trial TEXT NOT NULL,
    question TEXT NOT NULL,
    record TEXT,
    PRIMARY KEY (listener, trial, question)
) WITHOUT ROWID;
"""


@dataclass(frozen=True)
class Begun:
    """How far a listener is; `order` is ``None`` before the listener begins."""

    name: str
    order: int | None
    answered: frozenset[Page]
    is_finished: bool


@dataclass(frozen=True)
class ListenerProgress:
    """A listener as the author of the test sees it; times are UTC, to the minute, or empty."""

    name: str
    began_at: str
    finished_at: str
    n_answered: int


class Answers:
    """The answers to one test. Every method is one transaction, and any thread may call it.

    Parameters
    ----------
    path : Path
        Created if missing. Afterwards only its owner can read it.
    test : ListeningTest

    Raises
    ------
    DataError
        If the file holds something else, or the answers to another test.
    ConfigError
        If it cannot be created, is a link, or others can read it and this user cannot change that.
    """

    def __init__(self, path: Path, test: ListeningTest) -> None:
        self._test = test
        self._n_pages = len(test.pages)
        self._lock = threading.Lock()
        _make_file(path)
        self._connection = _connect(path)
        try:
            _prepare(self._connection)
            with self._transaction() as sql:
                if sql.execute("PRAGMA application_id").fetchone()[0] == 0:
                    _make(sql, path, test)
            _check(self._connection, path, test)
            _close_to_others(path)
        except sqlite3.Error as error:
            self._connection.close()
            raise DataError(f"{path}: {error}; name another file for the answers") from error
        except VisoError:
            self._connection.close()
            raise

    def close(self) -> None:
        """Close the file; it already holds all answers."""
        with self._lock:
            self._connection.close()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
            except BaseException:
                self._connection.rollback()
                raise
            self._connection.commit()

    def invite(self, count: int) -> list[str]:
        """Return link keys for `count` new listeners; nobody can look them up later."""
        keys = [secrets.token_urlsafe(16) for _ in range(count)]
        with self._transaction() as sql:
            for key in keys:
                _add(sql, key)
        return keys

    def begin(self, key: str, *, is_open: bool, most: int, about: dict[str, str]) -> bool | None:
        """Let a listener begin with the smallest free order; a second call changes nothing.

        Parameters
        ----------
        key : str
            Key of the listener's link.
        is_open : bool
            Whether a key that is not known may begin too.
        most : int
            Largest number of listeners.
        about : dict of str to str
            ``device`` and ``age``, if the test asks for them.

        Returns
        -------
        bool or None
            ``True`` if the listener has begun, ``False`` if there is no room, ``None`` if the key
            is not known.
        """
        with self._transaction() as sql:
            row = _row(sql, key)
            if row is not None and row["place"] is not None:
                return True
            if row is None and not is_open:
                return None
            taken = {place for (place,) in sql.execute(
                "SELECT place FROM listeners WHERE place IS NOT NULL")}  # fmt: skip
            if len(taken) >= most:
                return False
            if row is None:
                _add(sql, key)
            place = next(number for number in range(len(taken) + 1) if number not in taken)
            sql.execute(
                "UPDATE listeners SET place = ?, about = ?, consent = ?, began_at = ?"
                " WHERE key_hash = ?",
                (place, json.dumps(about), self._test.consent, _now(), _hash(key)),
            )
        return True

    def find(self, key: str) -> Begun | None:
        """Return how far the listener with that key is, or ``None`` if there is none."""
        with self._transaction() as sql:
            row = _row(sql, key)
            if row is None:
                return None
            pages = sql.execute(
                "SELECT trial, question FROM answers WHERE listener = ?", (row["number"],)
            )
            answered = frozenset((trial, question) for trial, question in pages)
        return Begun(row["name"], row["place"], answered, row["finished_at"] is not None)

    def answer(self, key: str, page: Page, record: Ratings | Choice | None) -> Stored:
        """Store a listener's answer to a page; an earlier answer stays.

        Parameters
        ----------
        key : str
            Key of a listener who has begun.
        page : Page
        record : Ratings or Choice or None
            ``None`` for training, of which only the completion is stored.

        Returns
        -------
        {"stored", "known", "another", "nobody"}
            ``known`` if the same answer is stored already, ``another`` if a different one is,
            ``nobody`` if there is no such listener.
        """
        text = None if record is None else record.model_dump_json(exclude_none=True)
        with self._transaction() as sql:
            row = _row(sql, key)
            if row is None or row["place"] is None:
                return "nobody"
            number = row["number"]
            found = sql.execute(
                "SELECT record FROM answers WHERE (listener, trial, question) = (?, ?, ?)",
                (number, *page),
            ).fetchone()
            if found is not None:
                return "known" if found[0] == text else "another"
            sql.execute("INSERT INTO answers VALUES (?, ?, ?, ?)", (number, *page, text))
            sql.execute(
                "UPDATE listeners SET finished_at = ? WHERE number = ? AND"
                " (SELECT count(*) FROM answers WHERE listener = number) = ?",
                (_now(), number, self._n_pages),
            )
        return "stored"

    def forget(self, key: str) -> bool:
        """Delete a listener's data and link; return ``False`` if there were none."""
        with self._transaction() as sql:
            found = sql.execute("DELETE FROM listeners WHERE key_hash = ?", (_hash(key),))
            return found.rowcount > 0

    def remove(self, names: Collection[str]) -> int:
        """Delete the data and links of listeners.

        Parameters
        ----------
        names : collection of str
            Names from `progress`; unknown names are ignored.

        Returns
        -------
        int
            Number of deleted listeners.
        """
        with self._transaction() as sql:
            found = sql.executemany(
                "DELETE FROM listeners WHERE name = ?", [(name,) for name in names]
            )
            return max(0, found.rowcount)

    def progress(self) -> tuple[list[ListenerProgress], int]:
        """Return the listeners who have begun, and the number of unused links."""
        with self._transaction() as sql:
            rows = sql.execute(
                "SELECT name, began_at, coalesce(finished_at, ''),"
                " (SELECT count(*) FROM answers WHERE listener = number)"
                " FROM listeners WHERE place IS NOT NULL ORDER BY began_at, number"
            ).fetchall()
            waiting = sql.execute("SELECT count(*) FROM listeners WHERE place IS NULL").fetchone()
        return [ListenerProgress(*row) for row in rows], waiting[0]

    def records(self, *, with_unfinished: bool) -> list[Record]:
        """Return the records of listeners and their answers, for `as_lines`."""
        with self._transaction() as sql:
            return _records_of(sql, self._test, with_unfinished=with_unfinished)


def read_answers(
    path: Path, test: ListeningTest, *, with_unfinished: bool = False
) -> tuple[list[Record], int]:
    """Read the answers that a server stored; it may still be running.

    Returns
    -------
    records : list
        Records of listeners who finished the test, or of all listeners.
    n_unfinished : int
        Number of listeners who have begun and not finished.

    Raises
    ------
    DataError
        If the file cannot be read, has another format, or belongs to another test.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file; name the answers that viso listen serve stored")
    try:
        connection = _connect(path)
    except sqlite3.Error as error:
        raise DataError(f"{path}: cannot be opened ({error})") from error
    try:
        connection.execute("BEGIN")  # one consistent state of a file that grows
        _check(connection, path, test)
        n_unfinished = connection.execute(
            "SELECT count(*) FROM listeners WHERE place IS NOT NULL AND finished_at IS NULL"
        ).fetchone()[0]
        return _records_of(connection, test, with_unfinished=with_unfinished), n_unfinished
    except (sqlite3.Error, ValueError, TypeError) as error:
        raise DataError(f"{path}: {error!s:.120}; get the file again") from error
    finally:
        connection.close()


def _make_file(path: Path) -> None:
    """Create an empty file that only its owner can read, if there is none."""
    # A test folder may come from somebody else: a link in it could name any file of the user.
    if path.is_symlink():
        raise ConfigError(f"{path}: a link; name the file itself, or another one with --data")
    flags = os.O_CREAT | os.O_RDWR | getattr(os, "O_NOFOLLOW", 0)
    try:
        os.close(os.open(path, flags, 0o600))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written ({error.strerror})") from error


def _close_to_others(path: Path) -> None:
    """Remove other users' access, which a copy or an earlier creator may have allowed."""
    if stat.S_IMODE(path.stat().st_mode) & 0o077 == 0 or os.name == "nt":
        return
    try:
        path.chmod(0o600)
    except OSError as error:
        raise ConfigError(
            f"{path}: others can read it, and its mode cannot be changed ({error.strerror}); "
            "name a file of your own with --data"
        ) from error


def _add(sql: sqlite3.Connection, key: str) -> None:
    sql.execute(
        "INSERT INTO listeners (key_hash, name) VALUES (?, ?)", (_hash(key), secrets.token_hex(8))
    )


def _row(sql: sqlite3.Connection, key: str) -> sqlite3.Row | None:
    found = sql.execute("SELECT * FROM listeners WHERE key_hash = ?", (_hash(key),)).fetchone()
    return found if isinstance(found, sqlite3.Row) else None


def _hash(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="minutes")


def _connect(path: Path) -> sqlite3.Connection:
    """Open the file; outside of BEGIN, every statement is a transaction."""
    connection = sqlite3.connect(
        path, timeout=30, isolation_level=None, check_same_thread=False, cached_statements=32
    )
    connection.row_factory = sqlite3.Row
    return connection


def _prepare(connection: sqlite3.Connection) -> None:
    """Make deletions erase the data, and make stored data survive a power cut."""
    for pragma in ("foreign_keys = ON", "secure_delete = ON", "synchronous = FULL"):
        connection.execute(f"PRAGMA {pragma}")


def _make(sql: sqlite3.Connection, path: Path, test: ListeningTest) -> None:
    """Create the tables in an empty file.

    Raises
    ------
    DataError
        If the file is not empty.
    """
    if sql.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
        raise DataError(f"{path}: a database of something else; name another file")
    for statement in _TABLES.split(";"):
        sql.execute(statement)
    sql.execute("INSERT INTO test VALUES (?)", (test.id,))
    sql.execute(f"PRAGMA user_version = {_FORMAT}")
    sql.execute(f"PRAGMA application_id = {_APPLICATION}")


def _check(sql: sqlite3.Connection, path: Path, test: ListeningTest) -> None:
    """Raise if the file has another format or belongs to another test.

    Raises
    ------
    DataError
    """
    found = tuple(
        sql.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version")
    )
    if found != (_APPLICATION, _FORMAT):
        raise DataError(f"{path}: no answers of viso listen serve; name another file")
    (test_id,) = sql.execute("SELECT id FROM test").fetchone()
    if test_id != test.id:
        raise DataError(f"{path}: of test {test_id}, but this is test {test.id}")


def _records_of(
    sql: sqlite3.Connection, test: ListeningTest, *, with_unfinished: bool
) -> list[Record]:
    """Return the records of listeners and their answers, in the listeners' order."""
    found: list[Record] = []
    form = Ratings if test.kind == "mushra" else Choice
    for row in sql.execute("SELECT * FROM listeners WHERE place IS NOT NULL ORDER BY place"):
        if row["finished_at"] is None and not with_unfinished:
            continue
        about = parse_json(row["about"])
        found.append(Listener(test=test.id, listener=row["name"], order=row["place"], **about))
        answers = sql.execute(
            "SELECT record FROM answers WHERE listener = ? AND record IS NOT NULL",
            (row["number"],),
        )
        found += [form.model_validate_json(text) for (text,) in answers.fetchall()]
    return found

"""The SQLite file of a listening test's answers: what it is made of, and how it is read."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from viso.config import parse_json
from viso.errors import DataError
from viso.listening.definition import ListeningTest
from viso.listening.records import Choice, Listener, Ratings

__all__ = ["Record", "check", "connect", "make", "prepare", "read_answers", "records_of"]

Record = Listener | Ratings | Choice

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


def read_answers(
    path: Path, test: ListeningTest, *, with_unfinished: bool = False
) -> tuple[list[Record], int]:
    """Read the answers that a server stored; it may go on meanwhile.

    Returns
    -------
    records : list
        Of listeners who finished the test, or of all.
    n_unfinished : int
        How many have begun and not finished.

    Raises
    ------
    DataError
        If the file cannot be read, is something else, or belongs to another test.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file; name the answers that viso listen serve stored")
    try:
        connection = connect(path)
    except sqlite3.Error as error:
        raise DataError(f"{path}: cannot be opened ({error})") from error
    try:
        connection.execute("BEGIN")  # one moment of a file that grows
        check(connection, path, test)
        n_unfinished = connection.execute(
            "SELECT count(*) FROM listeners WHERE place IS NOT NULL AND finished_at IS NULL"
        ).fetchone()[0]
        return records_of(connection, test, with_unfinished=with_unfinished), n_unfinished
    except (sqlite3.Error, ValueError, TypeError) as error:
        raise DataError(f"{path}: {error!s:.120}; get the file again") from error
    finally:
        connection.close()


def connect(path: Path) -> sqlite3.Connection:
    """Open the file, in which every statement is a transaction unless one is begun."""
    connection = sqlite3.connect(
        path, timeout=30, isolation_level=None, check_same_thread=False, cached_statements=32
    )
    connection.row_factory = sqlite3.Row
    return connection


def prepare(connection: sqlite3.Connection) -> None:
    """Let what is deleted be gone, and what is kept survive a power cut."""
    for pragma in ("foreign_keys = ON", "secure_delete = ON", "synchronous = FULL"):
        connection.execute(f"PRAGMA {pragma}")


def make(sql: sqlite3.Connection, path: Path, test: ListeningTest) -> None:
    """Make the tables in an empty file.

    Raises
    ------
    DataError
        If it is not empty.
    """
    if sql.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
        raise DataError(f"{path}: a database of something else; name another file")
    for statement in _TABLES.split(";"):
        sql.execute(statement)
    sql.execute("INSERT INTO test VALUES (?)", (test.id,))
    sql.execute(f"PRAGMA user_version = {_FORMAT}")
    sql.execute(f"PRAGMA application_id = {_APPLICATION}")


def check(sql: sqlite3.Connection, path: Path, test: ListeningTest) -> None:
    """Refuse a file of something else, or of another test.

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


def records_of(
    sql: sqlite3.Connection, test: ListeningTest, *, with_unfinished: bool
) -> list[Record]:
    """Return who listened and what they answered, by their order."""
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

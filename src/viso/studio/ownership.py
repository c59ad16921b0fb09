"""Which folder a studio may use: one that is new, empty, or marked as a studio's."""

from __future__ import annotations

import json
import logging
import os
import shutil
import sqlite3
import stat
import tempfile
from contextlib import closing, suppress
from pathlib import Path

from viso.errors import ConfigError
from viso.studio.tables import is_studio

__all__ = ["DATABASE", "MARKER", "keep_private", "take_folder"]

DATABASE = "studio.sqlite"
MARKER = "viso-studio.json"

_VERSION = 1
_KIND = "viso studio"
_UNFINISHED = f"{MARKER}.part"

_log = logging.getLogger(__name__)


def take_folder(folder: Path) -> None:
    """Mark a folder as a studio's, unless it is marked already; nothing else in it changes.

    A folder without a marker is taken if it is new or empty, or if its list of songs has the
    tables of a studio's: versions before the marker made it.

    Parameters
    ----------
    folder : Path
        Made if missing, for this account alone.

    Raises
    ------
    ConfigError
        If the folder cannot be made or read, or holds anything else.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        names = {path.name for path in folder.iterdir()}
        if MARKER in names:
            _check(folder / MARKER)
        elif not names - {_UNFINISHED} or _is_studio_file(folder / DATABASE):
            _mark(folder)
        else:
            raise ConfigError(
                f"{folder}: holds other files and is no studio's folder; choose an empty or a new "
                "folder with --data"
            )
        _warn_of_readers(folder)
    except OSError as error:
        raise ConfigError(
            f"{folder}: cannot be made or used ({error.strerror or error}); choose another --data"
        ) from error


def _check(marker: Path) -> None:
    try:
        content = json.loads(marker.read_text(encoding="utf-8"))
    except ValueError:
        content = None
    version = content.get("version") if isinstance(content, dict) else None
    if marker.is_symlink() or not isinstance(version, int) or content.get("kind") != _KIND:
        raise ConfigError(f"{marker}: is no marker of a studio; choose another --data")
    if version > _VERSION:
        raise ConfigError(
            f"{marker}: was made by a later version of viso; install that, or choose another --data"
        )


def _mark(folder: Path) -> None:
    unfinished = folder / _UNFINISHED
    text = json.dumps({"kind": _KIND, "version": _VERSION}) + "\n"
    unfinished.write_text(text, encoding="utf-8")
    unfinished.replace(folder / MARKER)


def _is_studio_file(path: Path) -> bool:
    """Read a copy: opening another program's SQLite file may change the files beside it."""
    if path.is_symlink() or not path.is_file():
        return False
    with tempfile.TemporaryDirectory(prefix="viso-studio-") as scratch:
        copy = Path(scratch) / path.name
        for end in ("", "-wal"):
            with suppress(FileNotFoundError):
                shutil.copyfile(f"{path}{end}", f"{copy}{end}")
        try:
            with closing(sqlite3.connect(copy)) as database:
                return is_studio(database)
        except sqlite3.Error:
            return False


def _warn_of_readers(folder: Path) -> None:
    mode = stat.S_IMODE(folder.stat().st_mode)
    if os.name == "posix" and mode & 0o077:
        _log.warning(
            "%s: others on this machine may look into it (mode %o); chmod 700 keeps them out",
            folder,
            mode,
        )


def keep_private(path: Path) -> None:
    """Make an SQLite file, and the files that SQLite puts beside it, private to this account.

    Parameters
    ----------
    path : Path
        Made, empty, if missing.

    Raises
    ------
    ConfigError
        If it is a link, or no file.
    OSError
        If it cannot be made or changed.
    """
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    for one in (path, Path(f"{path}-wal"), Path(f"{path}-shm")):
        try:
            mode = one.lstat().st_mode
        except FileNotFoundError:
            continue
        if not stat.S_ISREG(mode):
            raise ConfigError(f"{one}: is no file of its own; choose another --data")
        if stat.S_IMODE(mode) & 0o077:
            one.chmod(0o600)

"""Removing files: only those that the studio made and recorded."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from viso.studio.folders import Folders
from viso.studio.store import Store
from viso.studio.tables import Kind

__all__ = ["Remover"]

_LONGEST_DOWNLOAD_S = 3600.0

_log = logging.getLogger(__name__)


class Remover:
    """Removes songs, stems and temporary files; any thread may use it.

    Every file has a row in the store from before it is made until it is gone. After a crash, the
    next start removes the files that have such a row, and no others.

    Parameters
    ----------
    store : Store
    folders : Folders
    """

    def __init__(self, store: Store, folders: Folders) -> None:
        self._store, self._folders = store, folders

    def record(self, kind: Kind, name: str) -> None:
        """Record a file that is about to be made, for removal.

        Raises
        ------
        sqlite3.Error
            If the store cannot be written.
        """
        self._store.note_removal(kind, name)

    def remove(self, kind: Kind, name: str, *, is_over: bool = True) -> None:
        """Remove files; unless `is_over`, a worker may still write, and they stay recorded."""
        is_gone = self._folders.remove(kind, name)
        if not (is_gone and is_over):
            return
        try:
            self._store.forget_removal(kind, name)
        except sqlite3.Error:  # the next start finds no such file
            _log.exception("a removed file cannot be crossed off the list")

    def remove_recorded(self) -> None:
        """Remove all recorded files. Call it only before new ones are made."""
        for kind, name in self._store.removals():
            self.remove(kind, name)

    def remove_old_downloads(self) -> None:
        """Remove downloads of visitors who left early."""
        for name in self._store.old_downloads(_LONGEST_DOWNLOAD_S):
            self.remove("download", name)

    @contextmanager
    def arriving(self, song_id: str) -> Iterator[Path]:
        """Reserve the path of an upload for the block; then remove a file that is still there."""
        self.record("upload", song_id)
        try:
            yield self._folders.upload(song_id)
        finally:
            self.remove("upload", song_id)

    def new_download(self, download_id: str) -> Path:
        """Make a folder for a file to be sent."""
        self.record("download", download_id)
        return self._folders.new_download(download_id)

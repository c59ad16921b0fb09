"""Removing files: only what the studio made, by the ids that its list of files notes."""

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
    """Removes songs, stems and what passes through; may be used from any thread.

    Every file has a row in the store before it is made, and until it is gone. What a studio
    leaves that is killed is removed at its next start by these rows, and nothing else is.

    Parameters
    ----------
    store : Store
    folders : Folders
    """

    def __init__(self, store: Store, folders: Folders) -> None:
        self._store, self._folders = store, folders

    def note(self, kind: Kind, name: str) -> None:
        """Note that what is about to be made is to be removed again.

        Raises
        ------
        sqlite3.Error
            If it cannot be noted.
        """
        self._store.note_removal(kind, name)

    def remove(self, kind: Kind, name: str, *, is_over: bool = True) -> None:
        """Remove files; unless all is over, a worker may still write, and they stay noted."""
        is_gone = self._folders.remove(kind, name)
        if not (is_gone and is_over):
            return
        try:
            self._store.forget_removal(kind, name)
        except sqlite3.Error:  # the next start finds nothing there
            _log.exception("a removed file cannot be crossed off the list")

    def remove_noted(self) -> None:
        """Remove all that is noted; only before anything new is made."""
        for kind, name in self._store.removals():
            self.remove(kind, name)

    def remove_old_downloads(self) -> None:
        """Remove what was left by visitors who went away."""
        for name in self._store.old_downloads(_LONGEST_DOWNLOAD_S):
            self.remove("download", name)

    @contextmanager
    def arriving(self, song_id: str) -> Iterator[Path]:
        """Hold the place of an upload in the block; what is not kept by its end is removed."""
        self.note("upload", song_id)
        try:
            yield self._folders.upload(song_id)
        finally:
            self.remove("upload", song_id)

    def new_download(self, download_id: str) -> Path:
        """Make a folder for a file to be sent."""
        self.note("download", download_id)
        return self._folders.new_download(download_id)

"""Which batches work on an output folder, and which of them have died."""

from __future__ import annotations

import os
import secrets
import sqlite3
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Self

from viso.batch.database import connected
from viso.errors import VisoError
from viso.processes import runs, this_host

__all__ = ["STALE_S", "Owner", "is_alive", "runs", "this_host"]

STALE_S = 120.0
"""A batch that gives no sign of life for this many seconds is dead, and its claims are free."""

_BEAT_S = 15.0


class Owner:
    """A running batch; inside the ``with`` block a thread records its signs of life.

    Parameters
    ----------
    folder : Path
        The manifest's folder.
    """

    def __init__(self, folder: Path) -> None:
        self.name, self.host = secrets.token_hex(8), this_host()
        self._folder = folder
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="viso-beat", daemon=True)

    def __enter__(self) -> Self:
        with connected(self._folder, is_new=True) as database:
            database.execute(
                "DELETE FROM batches WHERE beat_s < ? AND NOT EXISTS"
                " (SELECT 1 FROM entries WHERE owner = batches.owner AND state = 'claimed')",
                (time.time() - STALE_S,),
            )
            values = (self.name, self.host, os.getpid(), time.time())
            database.execute(
                "INSERT INTO batches (owner, host, pid, beat_s) VALUES (?, ?, ?, ?)", values
            )
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()
        with suppress(VisoError), connected(self._folder, is_new=False) as database:
            database.execute(
                "DELETE FROM batches WHERE owner = ?"
                " AND NOT EXISTS (SELECT 1 FROM entries WHERE owner = ? AND state = 'claimed')",
                (self.name, self.name),
            )

    def _beat(self) -> None:
        while not self._is_over.wait(_BEAT_S):
            # A full disk or a drive that is briefly away must not end the batch here.
            with suppress(VisoError), connected(self._folder, is_new=False) as database:
                database.execute(
                    "UPDATE batches SET beat_s = ? WHERE owner = ?", (time.time(), self.name)
                )


def is_alive(database: sqlite3.Connection, owner: str | None) -> bool:
    """Tell whether the batch of this name still runs, as far as this machine can tell."""
    found = database.execute(
        "SELECT host, pid, beat_s FROM batches WHERE owner = ?", (owner,)
    ).fetchone()
    if found is None:
        return False
    host, pid, beat_s = found
    if time.time() - beat_s > STALE_S:
        return False
    return host != this_host() or runs(pid)

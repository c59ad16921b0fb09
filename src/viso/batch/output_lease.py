"""Bind an output in a store to one manifest: a small object there names the manifest.

A store has no locks, so its manifest lies on a file system, where batches can share it safely. A
batch refuses an output that has another manifest.
"""

from __future__ import annotations

import json
import secrets
import sqlite3
import tempfile
import time
from pathlib import Path

from viso.batch.database import transaction
from viso.batch.owners import this_host
from viso.config import parse_json
from viso.errors import DataError
from viso.stores import objects
from viso.stores.address import Address

__all__ = ["MARK", "OutputLease"]

MARK = "viso-batch.json"
"""Name of the object that names the output's manifest."""

_LOOK_S = 60.0  # between two looks at it


class OutputLease:
    """Binds an output to a manifest, and checks now and then that this still holds.

    Parameters
    ----------
    out : Address
    folder : Path
        The manifest's folder.
    database : sqlite3.Connection
        See `database.connected`.

    Raises
    ------
    ConfigError, DataError
        If another manifest keeps the output, or nothing can be written there.
    """

    def __init__(self, out: Address, folder: Path, database: sqlite3.Connection) -> None:
        self._out, self._name = out, _name_of(out, database)
        if self._read() is None:
            facts = {
                "manifest": self._name,
                "folder": str(folder.absolute()),
                "host": this_host().split()[0],
            }
            with tempfile.TemporaryDirectory(prefix="viso-") as scratch:
                file = Path(scratch) / MARK
                file.write_text(json.dumps(facts, indent=1), encoding="utf-8")
                objects.upload(file, out / MARK)
        self.check()

    def check(self) -> None:
        """Raise an error if the output belongs to another manifest now.

        Raises
        ------
        DataError
            If it does, or its store does not answer.
        """
        found = self._read()
        self._looked_s = time.monotonic()
        if found is None or found.get("manifest") == self._name:
            return
        host, folder = found.get("host", "?"), found.get("folder", "?")
        raise DataError(
            f"{self._out}: is kept by another manifest, in {folder} on {host}; go on with that one "
            f"(--manifest), take another output, or remove {self._out / MARK} if it is no more"
        )

    def check_if_time(self) -> None:
        """Call `check` if the last look was over a minute ago."""
        if time.monotonic() - self._looked_s > _LOOK_S:
            self.check()

    def _read(self) -> dict[str, str] | None:
        content = objects.read_bytes(self._out / MARK)
        if content is None:
            return None
        try:
            found = parse_json(content)
            return {str(key): str(value) for key, value in found.items()}
        except (ValueError, AttributeError) as error:
            raise DataError(
                f"{self._out / MARK}: does not say which manifest keeps this output; remove it, "
                "or take another output"
            ) from error


def _name_of(out: Address, database: sqlite3.Connection) -> str:
    """Return the manifest's name; a manifest keeps one output only."""
    with transaction(database):
        database.execute(
            "INSERT INTO outputs (name, address) SELECT ?, ? WHERE NOT EXISTS"
            " (SELECT 1 FROM outputs)",
            (secrets.token_hex(8), str(out)),
        )
        name, address = database.execute("SELECT name, address FROM outputs").fetchone()
    if address != str(out):
        raise DataError(f"{out}: this manifest keeps {address}; name another folder for it")
    return str(name)

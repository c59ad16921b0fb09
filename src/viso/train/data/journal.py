"""The journal of unfinished work: one JSON object a line; the first one identifies the work."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from viso.config import parse_json

__all__ = ["Journal"]


class Journal:
    """Entries that outlive the process that wrote them.

    Parameters
    ----------
    path : Path
    header : dict
        The facts that the work depends on; a journal with another header counts as empty.
    """

    def __init__(self, path: Path, header: dict[str, Any]) -> None:
        self.path = path
        self._header = header

    def read(self) -> list[dict[str, Any]]:
        """Return the entries before the first damaged line; a killed process may leave one."""
        try:
            lines = self.path.read_bytes().split(b"\n")
        except FileNotFoundError:
            return []
        entries: list[dict[str, Any]] = []
        for line in lines[:-1]:  # a line without an end is incomplete
            try:
                entry = parse_json(line)
            except ValueError:
                break
            if not isinstance(entry, dict):
                break
            entries.append(entry)
        return entries[1:] if entries and entries[0] == self._header else []

    def begin(self, entries: Iterable[dict[str, Any]]) -> None:
        """Start over with these entries; the old ones stay until the new ones are written."""
        beside = self.path.with_name(self.path.name + ".part")
        with beside.open("w", encoding="utf-8") as file:
            file.writelines(json.dumps(entry) + "\n" for entry in (self._header, *entries))
        beside.replace(self.path)

    def append(self, entry: dict[str, Any]) -> None:
        """Add one entry; on return it is with the operating system."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")

    def remove(self) -> None:
        """Delete the journal, when the work is done or none of it is left."""
        self.path.unlink(missing_ok=True)
